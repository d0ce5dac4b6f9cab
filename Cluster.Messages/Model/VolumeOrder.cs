namespace Cluster.Messages.Model;

/// <summary>An epoch that was opened, and the sequence its order began after.</summary>
public readonly record struct OpenedEpoch(ulong Epoch, ulong StartSequence);

/// <summary>A snapshot by the sequence of its marker (R19).</summary>
public readonly record struct VolumeSnapshot(ulong Sequence, string Name, ulong UnixMs);

/// <summary>A clone that is being made from a snapshot.</summary>
public readonly record struct StartedClone(ulong Sequence, string Name, ulong UnixMs);
