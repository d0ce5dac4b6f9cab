using System.Numerics;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Node.Owner;

// P6: blocks that are bad on one copy are served from another one, and written anew where they are bad.
public sealed partial class VolumeMachine
{
    /// <summary>Ranges gathered from all copies at once; readers beyond that are told to ask again.</summary>
    private const int GathersMax = 64;

    private readonly Dictionary<ulong, Gather> _gathers = [];
    private readonly Dictionary<ulong, Mend> _mends = [];
    private readonly List<IoBuffer> _mendRecords = [];
    private ulong _repairNumber;

    /// <summary>A range that every in-sync copy is asked for. All are asked for the same watermark or a later one, so that any good answer is one that a read may get.</summary>
    private sealed class Gather(ulong number, RepairCause cause, BlockGather blocks, ReadInFlight? reader, ulong watermark)
    {
        public ulong Number => number;

        public RepairCause Cause => cause;

        public BlockGather Blocks => blocks;

        /// <summary>Who waits for the range; null once answered.</summary>
        public ReadInFlight? Reader { get; set; } = reader;

        /// <summary>The link over which a copy was asked: one that returns over another one is asked again.</summary>
        public Dictionary<NodeId, IFrameLink> Asked { get; } = [];

        /// <summary>All copies were asked for one and the same watermark: where they differ, one of them is wrong.</summary>
        public bool IsOfOneMoment { get; private set; } = true;

        public void OnAsked(IFrameLink link, ulong committed)
        {
            Asked[link.Peer] = link;
            IsOfOneMoment &= committed == watermark;
        }
    }

    /// <summary>A repair record on its way to a copy.</summary>
    private readonly record struct Mend(ReplicaSession Copy, RepairCause Cause, BlockRange Range);

    /// <summary>The local copy could not give what a client wants to read.</summary>
    private void ReadElsewhere(ReadInFlight read)
    {
        if (!BeginGather(RepairCause.Read, read.Range, 0, read)) SendReadFailed(read, IoStatus.Busy);
    }

    private bool BeginGather(RepairCause cause, BlockRange range, ulong snapshot, ReadInFlight? reader)
    {
        if (!IsServing || _gathers.Count >= GathersMax) return false;
        var gather = new Gather(++_repairNumber, cause, new BlockGather(Volume, range, snapshot, _effects.Node), reader, Committed);
        _gathers.Add(gather.Number, gather);
        AskCopies(gather);
        return true;
    }

    /// <summary>Asks every member that can answer and was not asked yet. One that can't now is waited for until it can, or is out of the set.</summary>
    private void AskCopies(Gather gather)
    {
        Span<byte> body = stackalloc byte[BlockRangeBody.SizeBytes];
        var range = new BlockRangeBody(gather.Blocks.Range, gather.Blocks.Snapshot).Encode(body);
        foreach (var session in _replicas.Values)
        {
            if (!IsMember(session) || session is not { Phase: ReplicaPhase.InSync, Aligned: true, Link: { IsUp: true } link }) continue;
            if (gather.Blocks.HasAnswered(link.Peer) || gather.Asked.GetValueOrDefault(link.Peer) == link) continue;
            gather.OnAsked(link, Committed);
            link.Send(Frame(FrameKind.ReadReplica, gather.Number), range);
        }
    }

    private void OnReplicaBlocks(ReplicaSession session, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (!_gathers.TryGetValue(header.RequestId, out var gather) || gather.Blocks.HasAnswered(session.Placement.Node)) return;
        if (header.Status == IoStatus.Busy)
        {
            // Asked again at the next tick.
            gather.Asked.Remove(session.Placement.Node);
            return;
        }
        if (header.Status != IoStatus.Ok) gather.Blocks.AddFailed(session.Placement.Node);
        else if (buffer is not null) gather.Blocks.Add(session.Placement.Node, header.Argument, buffer);
        else
        {
            var copy = BufferPool.Shared.Rent(body.Length);
            body.CopyTo(copy.Span);
            gather.Blocks.Add(session.Placement.Node, header.Argument, copy);
            copy.Release();
        }
        Advance(gather);
    }

    private void Advance(Gather gather)
    {
        if (gather is { Blocks.Missing: 0, Reader: { } reader })
        {
            gather.Reader = null;
            Answer(reader, gather.Blocks.BuildReply());
        }
        foreach (var session in _replicas.Values)
        {
            if (IsMember(session) && !gather.Blocks.HasAnswered(session.Placement.Node)) return;
        }
        EndGather(gather);
    }

    /// <summary>Every copy has answered: what is bad on one and good on another is sent to it; what is good nowhere is lost.</summary>
    private void EndGather(Gather gather)
    {
        _gathers.Remove(gather.Number);
        foreach (var session in _replicas.Values)
        {
            // A copy whose link was made anew since it answered drops what comes before it is aligned again.
            if (IsMember(session) && session is { Aligned: true, Link.IsUp: true }) SendMends(gather, session);
        }
        if (gather.Reader is { } reader) SendReadFailed(reader, IoStatus.BadChecksum);
        if (gather.Blocks.Missing != 0) _effects.OnRepair(new RepairEvent(gather.Cause, "", gather.Blocks.Range, 0, gather.Blocks.MissingCount));
        if (gather.Cause == RepairCause.Scrub) OnScrubCompared(gather);
        gather.Blocks.Dispose();
    }

    private void SendMends(Gather gather, ReplicaSession session)
    {
        var blocks = gather.Blocks.Mendable(session.Placement.Node);
        if (gather is { Cause: RepairCause.Scrub, IsOfOneMoment: true })
        {
            var differing = gather.Blocks.Differing(session.Placement.Node);
            if (differing != 0)
                _effects.Log($"scrub: the copy on node {session.Placement.NodeName} holds other versions of {BitOperations.PopCount(differing)} of the blocks {gather.Blocks.Range} than the others");
            blocks |= differing;
        }
        gather.Blocks.BuildRecords(blocks, _mendRecords);
        foreach (var record in _mendRecords)
        {
            RecordHeader.TryDecode(record.Span, out var header);
            _mends.Add(++_repairNumber, new Mend(session, gather.Cause, header.Range));
            session.Link!.Send(Frame(FrameKind.RepairRecord, _repairNumber), record);
            record.Release();
        }
        _mendRecords.Clear();
    }

    private void OnRepairAck(ReplicaSession session, in FrameHeader header)
    {
        if (!_mends.Remove(header.RequestId, out var mend)) return;
        if (header.Status != IoStatus.Ok)
            _effects.Log($"blocks {mend.Range} of the copy on node {session.Placement.NodeName} are bad and could not be written anew: {header.Status}");
        if (header.Argument > 0 && mend.Cause == RepairCause.Scrub) _scrub?.OnMended((int)header.Argument);
        if (header.Argument > 0) _effects.OnRepair(new RepairEvent(mend.Cause, session.Placement.NodeName, mend.Range, (int)header.Argument, 0));
    }

    /// <summary>Each tick: copies that have returned or joined are asked too, and those that are out of the set are waited for no more.</summary>
    private void TickGathers()
    {
        if (_gathers.Count == 0) return;
        foreach (var gather in _gathers.Values.ToArray())
        {
            AskCopies(gather);
            Advance(gather);
        }
    }

    private void ForgetMendsOf(ReplicaSession session)
    {
        if (_mends.Count == 0) return;
        foreach (var (number, _) in _mends.Where(mend => mend.Value.Copy == session).ToArray()) _mends.Remove(number);
    }

    private void DropGathers()
    {
        foreach (var gather in _gathers.Values) gather.Blocks.Dispose();
        _gathers.Clear();
        _mends.Clear();
    }
}
