namespace Cluster.Messages.Wire;

/// <summary>The argument of <see cref="FrameKind.OwnerEnded"/>: who is to serve the volume next.</summary>
public enum OwnerEnding : ulong
{
    /// <summary>Whoever sharding says.</summary>
    Ended = 0,
    /// <summary>Its node stops in order and has given its leases back: any node with a copy in sync may claim the volume at once.</summary>
    Released = 1,
}
