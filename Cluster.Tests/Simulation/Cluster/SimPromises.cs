namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// Under losses of power: which of the writes that a client has seen must still be there. A write that was flushed, for ever. Any other as long as one member of
/// the in-sync set has it: was in the set ever since, and did not lose it with its host's power (P1, R9).
/// </summary>
internal sealed class SimPromises(SimWorld world)
{
    private readonly List<Write> _writes = [];
    private readonly Dictionary<SimRequest, Write> _byRequest = [];
    private readonly Dictionary<ulong, ulong> _onMedia = [];

    private sealed class Write(SimRequest request, ulong sequence)
    {
        public SimRequest Request => request;

        public ulong Sequence => sequence;

        /// <summary>Bit by node: it holds the write for certain.</summary>
        public int Holders { get; set; }

        /// <summary>Acknowledged, or read by somebody.</summary>
        public bool IsSeen { get; set; }
    }

    /// <summary>Committed for the first time, or anew after it was lost.</summary>
    public void OnCommitted(SimRequest request, ulong sequence)
    {
        if (_byRequest.Remove(request, out var old)) _writes.Remove(old);
        var write = new Write(request, sequence) { Holders = MembersWith(sequence) };
        _byRequest.Add(request, write);
        _writes.Add(write);
    }

    public void OnSeen(SimRequest request)
    {
        if (_byRequest.TryGetValue(request, out var write)) write.IsSeen = true;
    }

    /// <summary>False: it was lost before, so that this flush says nothing of it.</summary>
    public bool OnMedia(SimRequest request)
    {
        if (!_byRequest.Remove(request, out var write)) return false;
        _writes.Remove(write);
        for (ulong index = 0; index < request.Range.Count; index++) OnMedia(request.Range.First + index, write.Sequence);
        return true;
    }

    /// <summary>What the block became there is on media everywhere.</summary>
    public void OnMedia(ulong block, ulong sequence) => _onMedia[block] = Math.Max(_onMedia.GetValueOrDefault(block), sequence);

    /// <summary>A promised write above that sequence, or null.</summary>
    public ulong? FirstAbove(ulong sequence) => _writes.Find(write => write.IsSeen && write.Sequence > sequence)?.Sequence;

    /// <summary>The last write that somebody has seen and a member holds.</summary>
    public ulong HighestSeen => _writes.Where(write => write.IsSeen).Select(write => write.Sequence).DefaultIfEmpty().Max();

    public List<SimRequest> SeenOf(SimClient client) => [.. _writes.Where(write => write.IsSeen && write.Request.Client == client).Select(write => write.Request)];

    /// <summary>How often a write that somebody had seen was lost with the last of its holders.</summary>
    public int Drops { get; private set; }

    public ulong MediaFloorOf(ulong block) => _onMedia.GetValueOrDefault(block);

    public ulong FloorOf(ulong block)
    {
        var floor = _onMedia.GetValueOrDefault(block);
        foreach (var write in _writes)
        {
            if (write.IsSeen && write.Request.Range.Contains(block)) floor = Math.Max(floor, write.Sequence);
        }
        return floor;
    }

    public void OnDied(SimNode node)
    {
        if (!world.Profile.PowerLoss) return;
        var left = node.Storage.AppendedSequence;
        foreach (var write in _writes)
        {
            if (write.Sequence > left) write.Holders &= ~(1 << node.Index);
        }
        Review();
    }

    /// <summary>Who left the in-sync set holds nothing; what nobody holds is not promised any more.</summary>
    public void Review()
    {
        if (!world.Profile.PowerLoss) return;
        var members = 0;
        foreach (var node in world.Replicas)
        {
            if (world.Journal.State.Member(node.Replica) is not null) members |= 1 << node.Index;
        }
        for (var index = _writes.Count - 1; index >= 0; index--)
        {
            var write = _writes[index];
            write.Holders &= members;
            if (write.Holders != 0) continue;
            if (write.IsSeen) Drops++;
            _byRequest.Remove(write.Request);
            _writes.RemoveAt(index);
        }
    }

    private int MembersWith(ulong sequence)
    {
        var holders = 0;
        foreach (var node in world.Replicas)
        {
            if (world.Journal.State.Member(node.Replica) is not null && node.Storage.AppendedSequence >= sequence) holders |= 1 << node.Index;
        }
        return holders;
    }
}
