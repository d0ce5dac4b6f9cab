using System.Collections.Immutable;
using Cluster.Messages.Model;

namespace Cluster.Node.Owner;

/// <summary>Why a node believes that a volume has lost its owner.</summary>
public enum OwnerLoss : byte
{
    None = 0,
    /// <summary>Its connection ended, and none has come back since.</summary>
    Lost = 1,
    /// <summary>Its host answers that nobody listens: the process is dead.</summary>
    Dead = 2,
    /// <summary>Nothing was heard of it for <see cref="Limits.MeshSilenceMs"/>.</summary>
    Silent = 3,
    /// <summary>It is connected again and does not say that it serves: its process is a new one.</summary>
    Restarted = 4,
    /// <summary>It has stopped in order, and left the volume to whoever holds a copy in sync.</summary>
    Released = 5,
}

/// <summary>What the journal says of a volume whose owner seems lost.</summary>
/// <param name="Epoch">The newest one claimed.</param>
/// <param name="Owner">Who claimed it.</param>
/// <param name="InSync">Nodes of the in-sync set, the one that should own the volume next first.</param>
/// <param name="Needed">Members of the set without which no takeover opens.</param>
public sealed record ClaimFacts(ulong Epoch, NodeId Owner, ImmutableArray<NodeId> InSync, int Needed);

/// <summary>What the machine needs of the world. Called on the loop.</summary>
public interface IClaimEffects
{
    bool IsLinked(NodeId node);

    /// <summary>Whether this node holds a copy.</summary>
    bool Holds(VolumeId volume);

    /// <summary>Asks the journal; answered by <see cref="ClaimMachine.OnLooked"/>.</summary>
    void Look(VolumeId volume);

    /// <summary>Takes the volume over, unless the journal knows a newer epoch than this one by then (R1).</summary>
    void Claim(VolumeId volume, ulong epoch, OwnerLoss loss);
}

/// <summary>An owner that was lost, for the breakdown of the pause.</summary>
/// <param name="HeardMs">When it was last heard of.</param>
/// <param name="FoundMs">When it was found lost.</param>
/// <param name="OutMs">When the cluster took the node out; 0 while it has not.</param>
public readonly record struct LostOwner(NodeId Node, ulong Epoch, OwnerLoss Loss, long HeardMs, long FoundMs, long OutMs);

/// <summary>
/// Decides for one node when it claims a volume whose owner it has lost sight of, before the cluster has noticed: the nodes with a copy in
/// sync watch the owner over the mesh, and of those that are connected one begins, in an order that all compute alike; each next one waits
/// for longer. A claim needs a reason, is made once per loss, and pauses grow while they do not last, so that nobody fights: a wrong one costs
/// a pause and no data, since the journal's compare and set and the epochs fence (R1, R18). Pure. Loop thread only.
/// </summary>
public sealed class ClaimMachine(NodeId self, IClaimEffects effects)
{
    /// <summary>A connection that ended, with neither silence nor a refusal, may come back within this.</summary>
    public const int LostMs = 1000;

    /// <summary>An owner that is connected again says within this that it serves.</summary>
    public const int AnnounceMs = 300;

    /// <summary>
    /// A silent owner hears nothing either: it takes this node out of the set at about the same time, and then there is nothing to claim.
    /// </summary>
    public const int SilentHeadStartMs = 300;

    /// <summary>Each next node in the order leaves those before it this long to journal a claim.</summary>
    public const int StaggerMs = 750;

    /// <summary>Between two looks at the journal, or at who is connected, that led to nothing.</summary>
    public const int LookAgainMs = 250;

    /// <summary>Who has claimed is given this long to serve before it is looked at again.</summary>
    public const int TakeoverMs = 5000;

    /// <summary>A node whose own loop stood still for this long has heard nobody: it is to blame.</summary>
    public const int OwnPauseMs = 1000;

    /// <summary>
    /// Pause after a claim of a volume before the next one of the same; doubled while claims follow each other, up to the longest; the first
    /// one again once a pause and then <see cref="QuietMs"/> have passed.
    /// </summary>
    public const int BackOffMsMin = 2000;
    public const int BackOffMsMax = 60_000;
    public const int QuietMs = 10_000;

    /// <summary>Volumes looked at or claimed at one time.</summary>
    public const int UnderWayMax = 32;

    /// <summary>Beyond this many those that are over are forgotten; the others are of volumes that this node holds.</summary>
    private const int BackOffsMax = 1024;

    private readonly Dictionary<VolumeId, Watch> _watches = [];
    private readonly Dictionary<VolumeId, BackOff> _backOffs = [];
    private readonly List<VolumeId> _due = [];
    private long _tickedMs = long.MinValue;
    private int _underWay;

    private sealed class Watch
    {
        public required NodeId Node { get; init; }

        public required ulong Epoch { get; init; }

        public OwnerLoss Loss { get; set; }

        public long HeardMs { get; set; }

        /// <summary>When the present loss was found.</summary>
        public long FoundMs { get; set; }

        public long OutMs { get; set; }

        public long DueMs { get; set; }

        public bool IsUnderWay { get; set; }
    }

    private readonly record struct BackOff(int PauseMs, long UntilMs);

    /// <summary>Volumes whose owner seems lost.</summary>
    public int Watched => _watches.Count;

    public LostOwner? LossOf(VolumeId volume) => _watches.TryGetValue(volume, out var watch)
        ? new LostOwner(watch.Node, watch.Epoch, watch.Loss, watch.HeardMs, watch.FoundMs, watch.OutMs) : null;

    /// <summary>Somebody serves it.</summary>
    public void OnServes(VolumeId volume, ulong epoch)
    {
        if (_watches.TryGetValue(volume, out var watch) && epoch >= watch.Epoch) Forget(volume, watch);
    }

    /// <summary>The owner stopped in order and leaves the volume to others.</summary>
    public void OnReleased(VolumeId volume, NodeId node, ulong epoch, long nowMs) => Begin(volume, node, epoch, OwnerLoss.Released, nowMs, nowMs, nowMs);

    /// <summary>The connection to a node is down.</summary>
    /// <param name="served">What it had said that it serves.</param>
    public void OnUnlinked(NodeId node, IReadOnlyList<(VolumeId Volume, ulong Epoch)> served, bool silent, long heardMs, long nowMs)
    {
        var isOwnFault = nowMs - _tickedMs > OwnPauseMs;
        var (loss, dueMs) = silent && !isOwnFault ? (OwnerLoss.Silent, nowMs) : (OwnerLoss.Lost, nowMs + LostMs);
        Change(node, loss, nowMs, dueMs);
        foreach (var (volume, epoch) in served) Begin(volume, node, epoch, loss, heardMs, nowMs, dueMs);
    }

    /// <summary>The node's process is dead.</summary>
    public void OnDead(NodeId node, long nowMs) => Change(node, OwnerLoss.Dead, nowMs, nowMs);

    /// <summary>The cluster has taken the node out: told for the breakdown only, a claim does not wait for it.</summary>
    public void OnTakenOut(NodeId node, long nowMs)
    {
        foreach (var watch in _watches.Values)
        {
            if (watch.Node == node) watch.OutMs = nowMs;
        }
    }

    public void OnLinked(NodeId node, long nowMs) => Change(node, OwnerLoss.Restarted, nowMs, nowMs + AnnounceMs);

    /// <summary>Called about every 100 ms, and after what was told in between.</summary>
    public void OnTick(long nowMs)
    {
        _tickedMs = nowMs;
        if (_watches.Count == 0) return;
        _due.Clear();
        foreach (var (volume, watch) in _watches)
        {
            if (!watch.IsUnderWay && watch.DueMs <= nowMs) _due.Add(volume);
        }
        foreach (var volume in _due)
        {
            if (_underWay >= UnderWayMax) return;
            (_watches[volume].IsUnderWay, _underWay) = (true, _underWay + 1);
            effects.Look(volume);
        }
    }

    /// <param name="facts">Null when the journal did not answer.</param>
    public void OnLooked(VolumeId volume, ClaimFacts? facts, long nowMs)
    {
        if (!_watches.TryGetValue(volume, out var watch) || !watch.IsUnderWay) return;
        (watch.IsUnderWay, _underWay) = (false, _underWay - 1);
        if (watch.DueMs > nowMs) return;
        if (facts is null) watch.DueMs = nowMs + LookAgainMs;
        else if (facts.Epoch != watch.Epoch) OnClaimedElsewhere(volume, watch, facts, nowMs);
        // Who took over and is connected may take its time; sharding looks after one that never gets there.
        else if (watch.Loss == OwnerLoss.None || !facts.InSync.Contains(self)) Forget(volume, watch);
        else if (CountLinked(facts) < facts.Needed) watch.DueMs = nowMs + LookAgainMs;
        else ClaimInTurn(volume, watch, facts, nowMs);
    }

    private void ClaimInTurn(VolumeId volume, Watch watch, ClaimFacts facts, long nowMs)
    {
        var rank = facts.InSync.TakeWhile(node => node != self).Count(node => node != watch.Node && effects.IsLinked(node));
        var headStartMs = watch.Loss == OwnerLoss.Silent ? SilentHeadStartMs : 0;
        var at = watch.FoundMs + headStartMs + (rank * StaggerMs);
        // With an owner that left by itself there is nobody to fight.
        if (watch.Loss != OwnerLoss.Released) at = Math.Max(at, _backOffs.GetValueOrDefault(volume).UntilMs);
        if (at > nowMs)
        {
            watch.DueMs = at;
            return;
        }
        if (_backOffs.Count >= BackOffsMax) ForgetOldBackOffs(nowMs);
        var pauseMs = PauseAfter(volume, nowMs);
        _backOffs[volume] = new BackOff(pauseMs, nowMs + pauseMs);
        // Until somebody serves: whoever claims, this node included, is given its time.
        watch.DueMs = nowMs + TakeoverMs;
        effects.Claim(volume, facts.Epoch, watch.Loss);
    }

    private int PauseAfter(VolumeId volume, long nowMs)
    {
        if (!_backOffs.TryGetValue(volume, out var last) || nowMs > last.UntilMs + QuietMs) return BackOffMsMin;
        return Math.Min(last.PauseMs * 2, BackOffMsMax);
    }

    private void ForgetOldBackOffs(long nowMs)
    {
        foreach (var (volume, last) in _backOffs)
        {
            if (nowMs > last.UntilMs + QuietMs) _backOffs.Remove(volume);
        }
    }

    private int CountLinked(ClaimFacts facts) => facts.InSync.Count(node => node == self || effects.IsLinked(node));

    /// <summary>The one that has claimed meanwhile is watched in its turn; what this node claimed is its actor's business.</summary>
    private void OnClaimedElsewhere(VolumeId volume, Watch watch, ClaimFacts facts, long nowMs)
    {
        Forget(volume, watch);
        if (facts.Epoch < watch.Epoch || facts.Owner == self) return;
        var loss = effects.IsLinked(facts.Owner) ? OwnerLoss.None : OwnerLoss.Lost;
        Begin(volume, facts.Owner, facts.Epoch, loss, nowMs, nowMs, nowMs + TakeoverMs);
    }

    private void Begin(VolumeId volume, NodeId node, ulong epoch, OwnerLoss loss, long heardMs, long nowMs, long dueMs)
    {
        if (node == self || !effects.Holds(volume)) return;
        if (_watches.TryGetValue(volume, out var known))
        {
            if (known.Epoch > epoch) return;
            Forget(volume, known);
        }
        _watches[volume] = new Watch { Node = node, Epoch = epoch, Loss = loss, HeardMs = heardMs, FoundMs = nowMs, DueMs = dueMs };
    }

    private void Change(NodeId node, OwnerLoss loss, long nowMs, long dueMs)
    {
        foreach (var watch in _watches.Values)
        {
            if (watch.Node != node || watch.Loss == OwnerLoss.Released) continue;
            (watch.Loss, watch.FoundMs, watch.DueMs) = (loss, nowMs, dueMs);
        }
    }

    private void Forget(VolumeId volume, Watch watch)
    {
        if (watch.IsUnderWay) _underWay--;
        _watches.Remove(volume);
    }
}
