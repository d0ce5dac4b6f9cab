namespace Cluster.Messages.Protocol;

/// <summary>What the disks of a node's store are told, and answer. Errors are <see cref="PlacementProtocol.Refused"/>. All commands are idempotent.</summary>
public static class DiskProtocol
{
    /// <summary>The disk is to be emptied, or used again. Answered by <see cref="Disk"/> once that is on the node's media; to empty it takes its time.</summary>
    public sealed record Drain(Guid Disk, bool Drains) : IControlMessage;

    public sealed record Disk(DiskReport Report) : IControlMessage;
}
