namespace Cluster.Messages.Wire;

/// <summary>
/// The log of mesh versions. A node says its range in Hello; both use the highest that both speak.
/// 1: first version (0.1.0). Added before its release: kinds 51-57 (reading, mending and scrubbing one copy), kinds 58 and 59 (confirming a read), kind 60 and the
/// cursor in Promised and CatchUpBegin (a catch-up that goes on where it was interrupted), number and members in Stamp, marks of opens in Promised and Stamp,
/// kinds 24 and 25, the first compat bit and the flags in SessionOpened (reads by front ends that keep what they read),
/// kinds 21-23 (a session presents what it was answered and the owner lost), kind 62 and records of kind Marker (snapshots).
/// </summary>
public static class WireVersion
{
    public const byte Current = 1;
    public const byte Oldest = 1;
}
