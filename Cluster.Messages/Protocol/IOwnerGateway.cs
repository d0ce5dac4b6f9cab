using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Protocol;

/// <summary>What a front end knows of a volume before it opens a session.</summary>
public sealed record VolumeInfo(VolumeId Id, string FullName, ulong SizeBytes, int HoldMs, bool Compression, Attachment Attachment, bool SingleCopy);

/// <summary>Answer of a look-up: the volume, or the reason in one sentence that names the input and what would be right.</summary>
public sealed record VolumeLookup(IoStatus Status, VolumeInfo? Volume, string Reason);

/// <summary>
/// The front ends' way to volumes and their owners, given by the node that hosts them. It hides whether the owner is in this process or behind the mesh.
/// </summary>
public interface IOwnerGateway
{
    NodeId Node { get; }

    string NodeName { get; }

    /// <summary>
    /// A random number, never 0 and never given twice: the incarnation part of one session. Each VolumeSession object takes one when it is made. Its request ids
    /// start anew, so one that was used before would let the exactly-once window (R12) answer writes that were never applied. Any thread.
    /// </summary>
    ulong NewIncarnation();

    /// <summary>The loop that the volume is pinned to. Any thread.</summary>
    ILoop LoopOf(VolumeId volume);

    /// <summary>Finds a volume by "NAME" or "NAMESPACE/NAME". Any thread.</summary>
    Task<VolumeLookup> LookupAsync(string fullName, CancellationToken cancellation);

    /// <summary>Full names of all volumes, sorted. Any thread.</summary>
    Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation);

    /// <summary>
    /// Links to the volume's owner as soon as there is one: answers once, by <see cref="IOwnerEvents.OnLinked"/>, or after some seconds by
    /// <see cref="IOwnerEvents.OnNotLinked"/>, on the volume's loop, where this too is called. The caller tries again after a refusal.
    /// </summary>
    void Connect(VolumeId volume, IOwnerEvents events);
}

/// <summary>A front end's link to an owner. Closing it ends what arrives on it; frames already on their way are dropped.</summary>
public interface IOwnerLink : IFrameLink
{
    void Close();
}

public interface IOwnerEvents : IFrameHandler
{
    /// <summary>
    /// Frames for the volume (kinds 10-23) may be sent and will arrive; the front end opens its session first, and closes the link when it gives it up.
    /// </summary>
    void OnLinked(IOwnerLink link);

    /// <summary>No owner now. Status Deleted is final; all others are not.</summary>
    void OnNotLinked(IoStatus status, string reason);

    /// <summary>The link is gone; what was not answered may or may not have been applied, and is sent again over the next one.</summary>
    void OnLinkLost(IOwnerLink link, string reason);
}
