namespace Cluster.Messages.Wire;

/// <summary>
/// The log of mesh versions. A node says its range in Hello; both use the highest that both speak.
/// 1: first version (0.1.0). Added before its release: kinds 51-57 (reading, mending and scrubbing one copy).
/// </summary>
public static class WireVersion
{
    public const byte Current = 1;
    public const byte Oldest = 1;
}
