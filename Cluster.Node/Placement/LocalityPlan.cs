using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>An owner is to move to the node that uses its volume.</summary>
/// <param name="Owner">Where it is now.</param>
public sealed record FollowMove(AwayVolume Away, NodeId Owner);

/// <summary>
/// Decides when the owner of a volume follows the node that uses it: after that has been the only one for a settling time, a few volumes at one time, and no volume to and fro. Owners say
/// which of their volumes are used elsewhere (<see cref="AwayVolume"/>). Pure: time is what it is told. A new one knows nothing, and settles anew. One actor's.
/// </summary>
/// <param name="settle">The unit of all its times but two.</param>
public sealed class LocalityPlan(TimeSpan settle)
{
    /// <summary>Moves under way at one time in the whole cluster: each pauses its volume for a moment.</summary>
    public const int MovesMax = 4;

    /// <summary>A move that has not come to its end by then is taken back. Longer than a shard's handoff may take.</summary>
    public const int MoveMs = 20_000;

    /// <summary>What a node has not said again for so long counts for nothing: it may be gone.</summary>
    public const int SaidMs = 5000;

    /// <summary>Settling times between two moves of one volume; doubled each time that it was moved to the same node again or that a move failed...</summary>
    public const int PauseMin = 3;

    /// <summary>...up to so many, and the first one again after <see cref="Quiet"/> without a move.</summary>
    public const int PauseMax = 60;

    public const int Quiet = 60;

    /// <summary>An operator's move that this plan found in its way is asked after again so often, in settling times.</summary>
    public const int PinnedAgain = 6;

    /// <summary>Volumes kept in mind; of more, later ones wait until others are forgotten.</summary>
    private const int VolumesMax = 16_384;

    private readonly Dictionary<VolumeId, Entry> _volumes = [];
    private readonly long _settleMs = (long)settle.TotalMilliseconds;
    private int _underWay;

    private sealed class Entry
    {
        /// <summary>As its owner said last; null: it is not away.</summary>
        public FollowMove? Away { get; set; }

        public long SinceMs { get; set; }

        public long SaidMs { get; set; }

        /// <summary>For <see cref="Away"/> alone.</summary>
        public long PinnedUntilMs { get; set; } = long.MinValue;

        /// <summary>The move under way, or null.</summary>
        public FollowMove? Move { get; set; }

        public long MoveSinceMs { get; set; }

        /// <summary>Where it was moved last.</summary>
        public NodeId Last { get; set; }

        public long PauseMs { get; set; }

        public long NotBeforeMs { get; set; } = long.MinValue;
    }

    /// <summary>Volumes kept in mind.</summary>
    public int Count => _volumes.Count;

    /// <summary>Moves under way: whoever asked for them tells of each where the volume is served (<see cref="OnServed"/>).</summary>
    public IEnumerable<VolumeId> UnderWay => _volumes.Where(volume => volume.Value.Move is not null).Select(volume => volume.Key);

    /// <summary>What a node owns and is used elsewhere, in place of what it said before.</summary>
    public void OnReport(NodeId owner, IReadOnlyCollection<AwayVolume> volumes, long nowMs)
    {
        var said = volumes.Select(away => away.Volume).ToHashSet();
        foreach (var (id, volume) in _volumes)
        {
            if (volume.Away?.Owner == owner && !said.Contains(id)) volume.Away = null;
        }
        foreach (var away in volumes) Note(new FollowMove(away, owner), nowMs);
    }

    private void Note(FollowMove away, long nowMs)
    {
        if (!_volumes.TryGetValue(away.Away.Volume, out var volume))
        {
            if (_volumes.Count >= VolumesMax) Forget(nowMs);
            if (_volumes.Count >= VolumesMax) return;
            _volumes.Add(away.Away.Volume, volume = new Entry());
        }
        if (volume.Away != away || nowMs - volume.SaidMs > SaidMs) (volume.Away, volume.SinceMs, volume.PinnedUntilMs) = (away, nowMs, long.MinValue);
        volume.SaidMs = nowMs;
    }

    /// <summary>The moves to ask for now, those that have waited for longest first; each is under way from here on.</summary>
    /// <param name="isFit">Whether the node may own the volume now.</param>
    public IReadOnlyList<FollowMove> Next(long nowMs, Func<AwayVolume, bool> isFit)
    {
        Forget(nowMs);
        foreach (var volume in _volumes.Values)
        {
            // It settles anew once the node is fit: one that was drained for a restart is about to stop.
            if (volume.Away is { } away && !isFit(away.Away)) volume.SinceMs = nowMs;
        }
        if (_underWay >= MovesMax || _volumes.Count == 0) return [];
        var due = _volumes.Values.Where(volume => IsDue(volume, nowMs)).OrderBy(volume => volume.SinceMs).ThenBy(volume => volume.Away!.Away.Volume.Value)
            .Take(MovesMax - _underWay).ToList();
        foreach (var volume in due) Begin(volume, nowMs);
        return [.. due.Select(volume => volume.Move!)];
    }

    private bool IsDue(Entry volume, long nowMs) => volume is { Away: not null, Move: null } && nowMs - volume.SaidMs <= SaidMs && nowMs - volume.SinceMs >= _settleMs
        && nowMs >= volume.NotBeforeMs && nowMs >= volume.PinnedUntilMs;

    private void Begin(Entry volume, long nowMs)
    {
        var move = volume.Away!;
        var isAgain = volume.Last == move.Away.FrontEnd && volume.PauseMs > 0 && nowMs < volume.NotBeforeMs + (Quiet * _settleMs);
        volume.PauseMs = isAgain ? Longer(volume.PauseMs) : PauseMin * _settleMs;
        (volume.Move, volume.MoveSinceMs, volume.Last, volume.NotBeforeMs) = (move, nowMs, move.Away.FrontEnd, nowMs + volume.PauseMs);
        _underWay++;
    }

    private long Longer(long pauseMs) => Math.Min(pauseMs * 2, PauseMax * _settleMs);

    /// <summary>True when its move is made by this: it is served where it was to go.</summary>
    public bool OnServed(VolumeId id, NodeId node)
    {
        if (!_volumes.TryGetValue(id, out var volume) || volume.Move is not { } move || move.Away.FrontEnd != node) return false;
        End(volume);
        return true;
    }

    /// <summary>
    /// The move was not asked for: an operator had moved the owner to where it is, or wants it somewhere, or nobody took the request. It is no failure of the node's.
    /// </summary>
    public void OnNotAsked(VolumeId id, bool isPinned, long nowMs)
    {
        if (!_volumes.TryGetValue(id, out var volume) || volume.Move is not { } move) return;
        End(volume);
        if (isPinned && volume.Away == move) volume.PinnedUntilMs = nowMs + (PinnedAgain * _settleMs);
        // Nothing has moved. It goes behind those that have not been asked for yet.
        (volume.PauseMs, volume.SinceMs, volume.NotBeforeMs) = (0, nowMs, isPinned ? long.MinValue : nowMs + _settleMs);
    }

    /// <summary>Moves that took too long. They are not under way any more; the wish is to be taken back.</summary>
    public IReadOnlyList<FollowMove> TakeLate(long nowMs)
    {
        if (_underWay == 0) return [];
        var late = _volumes.Values.Where(volume => volume.Move is not null && nowMs - volume.MoveSinceMs >= MoveMs).ToList();
        List<FollowMove> moves = [.. late.Select(volume => volume.Move!)];
        foreach (var volume in late)
        {
            End(volume);
            volume.PauseMs = Longer(volume.PauseMs);
            volume.NotBeforeMs = nowMs + volume.PauseMs;
        }
        return moves;
    }

    private void End(Entry volume)
    {
        volume.Move = null;
        _underWay--;
    }

    /// <summary>What is at home, and has been for so long that its next move would be like its first.</summary>
    private void Forget(long nowMs)
    {
        foreach (var (id, volume) in _volumes)
        {
            if (volume.Away is not null && nowMs - volume.SaidMs > SaidMs) volume.Away = null;
            var isOver = volume.NotBeforeMs == long.MinValue || nowMs > volume.NotBeforeMs + (Quiet * _settleMs);
            if (volume is { Away: null, Move: null } && isOver) _volumes.Remove(id);
        }
    }
}
