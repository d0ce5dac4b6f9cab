using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Replica;

/// <summary>What a node does when an owner asks one of its copies for a promise.</summary>
public enum AdmissionStep : byte
{
    Unset = 0,
    /// <summary>The copy that is held answers.</summary>
    Answer,
    /// <summary>A new, empty copy is made, and answers.</summary>
    Make,
    /// <summary>No such copy was ever here, or it is lost.</summary>
    Missing,
    /// <summary>Another copy of the volume is held, which only the journal may let go (R22).</summary>
    Held,
}

/// <summary>Which copy of a volume a node answers for. Pure.</summary>
public static class ReplicaAdmission
{
    /// <summary>
    /// R5: a copy that the journal says was never in sync is made; any other without a header is missing. R22: a copy that is held under another number stays, whatever
    /// the epoch: an owner's wish for a new one here does not say that the journal has let the old one go. A node that lost its journal, and has a new name since, may
    /// hold the last good copy under the old one. The node's reaper deletes it once the journal has dropped it.
    /// </summary>
    public static AdmissionStep Decide(ReplicaHeader? held, in PromiseBody promise)
    {
        if (held is null) return promise.Create ? AdmissionStep.Make : AdmissionStep.Missing;
        return held.Replica != promise.Replica && promise.Create ? AdmissionStep.Held : AdmissionStep.Answer;
    }

    /// <summary>
    /// Whether a copy of a clone may begin from this one of its origin. Busy: not now. A snapshot on a copy that catches up may be half of what it is (R8), and one that has failed takes nothing.
    /// To make the clone's copy empty meanwhile would be for good: were it so on every node, none could ever begin. Missing: the origin is not here.
    /// </summary>
    public static IoStatus BeginFrom(ReplicaHeader? origin, bool isFailed) => origin is null ? IoStatus.Missing : origin.CatchingUp || isFailed ? IoStatus.Busy : IoStatus.Ok;
}
