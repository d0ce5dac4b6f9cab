namespace Cluster.Node.Store;

/// <summary>Names of the checkpoint.</summary>
public static class CheckpointFile
{
    public const string Name = "checkpoint";
}
