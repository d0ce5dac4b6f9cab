using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Simulation.Volumes;
using Cluster.Tests.Unit.Owner;

namespace Cluster.Tests.Unit.Replica;

/// <summary>A replica's machine over a simulated store, with its owners played by hand.</summary>
[Collection("Cluster simulation")]
public sealed class ReplicaMachineRuleSpecs : IDisposable
{
    private readonly SimWorld _world = new(1, new SimProfile { Directed = false, Replicas = 2, Clients = 0, KeepsRoom = false });
    private readonly SimNode _node;
    private readonly RecordingLink _one = new(new NodeId(new Guid(1, 0, 0, new byte[8])));
    private readonly RecordingLink _two = new(new NodeId(new Guid(2, 0, 0, new byte[8])));

    public ReplicaMachineRuleSpecs() => _node = _world.Nodes[0];

    private SimDisk Disk => ((SimModelStorage)_node.Storage).Disk;

    public void Dispose()
    {
        foreach (var request in _asked) request.Record?.Release();
        _world.End();
    }

    private readonly List<SimRequest> _asked = [];

    private void Tell(RecordingLink from, FrameKind kind, ulong epoch, ReadOnlySpan<byte> body, ulong argument = 0, ulong requestId = 0, IoBuffer? buffer = null)
    {
        var copy = body.ToArray();
        _node.Post(0, () => _node.Dispatch(from, FrameHeader.Of(kind, SimWorld.Volume, epoch, requestId, argument), copy, buffer));
        _world.Run(1);
    }

    private void Promise(RecordingLink owner, ulong epoch, long waitMs = 4000, bool create = true)
    {
        Tell(owner, FrameKind.Promise, epoch, new PromiseBody(owner.Peer, _node.Replica, _node.Identity, create, []).Encode(new byte[64]), requestId: 1);
        _world.Run(waitMs);
    }

    private static PromisedBody PromisedAt(RecordingLink owner)
    {
        Assert.True(PromisedBody.TryDecode(owner.Of(FrameKind.Promised).Last().Body, out var promised));
        return promised;
    }

    private void Align(RecordingLink owner, ulong epoch, ulong to) => Tell(owner, FrameKind.Truncate, epoch, BitConverter.GetBytes(to));

    private void Append(RecordingLink owner, ulong epoch, ulong sequence, ulong watermark = 0)
    {
        var client = new SimClient(_node, 0);
        client.OnNodeStarted();
        var request = client.Ask(SimKind.Write, new BlockRange(sequence, 1));
        _asked.Add(request);
        var record = request.Record!;
        RecordHeader.TryDecode(record.Span, out var header);
        (header.Epoch, header.Sequence) = (epoch, sequence);
        header.Encode(record.Span);
        Tell(owner, FrameKind.Append, epoch, record.Span, watermark, buffer: record);
    }

    /// <summary>Epoch 1 of the first owner, with three records of which two are committed.</summary>
    private void Fill()
    {
        Promise(_one, 1);
        Align(_one, 1, 0);
        Append(_one, 1, 1);
        Append(_one, 1, 2);
        Append(_one, 1, 3, watermark: 2);
        Assert.Equal(2UL, _node.Store!.CommitWatermark);
    }

    [Fact(DisplayName = "R5: a damaged copy is lost to a takeover, and is mended by a copy in full only")]
    public void R5_a_damaged_copy_is_lost_until_it_is_copied_in_full()
    {
        // Guards OnPromise: Damage is not null; OnCatchUpBegin: isDamaged; SendPromised: nothing of it is reported.
        Fill();
        ((SimVolumeStore)_node.Store!).Damage = "bytes below the flush watermark do not match";
        Promise(_two, 2, create: false);
        Assert.Equal(IoStatus.Missing, _two.Of(FrameKind.Promised).Last().Header.Status);

        Promise(_two, 2, create: true);
        Assert.Equal((0UL, 0UL, 0UL), (PromisedAt(_two).LastSequence, PromisedAt(_two).LastRecordEpoch, PromisedAt(_two).CommitWatermark));
        Tell(_two, FrameKind.CatchUpBegin, 2, new CatchUpBody(2, 9, 1, false, 0, 0, 0).Encode(new byte[CatchUpBody.SizeBytes]));
        Assert.Equal(IoStatus.OutOfRange, _two.Of(FrameKind.CatchUpAck).Last().Header.Status);
        Tell(_two, FrameKind.CatchUpBegin, 2, new CatchUpBody(0, 9, 1, true, 0, 0, 0).Encode(new byte[CatchUpBody.SizeBytes]));
        _world.Run(4000);
        Assert.Equal(IoStatus.Ok, _two.Of(FrameKind.CatchUpAck).Last().Header.Status);
        Assert.Null(_node.Store!.Damage);
        Assert.Equal(9UL, _node.Store.CommitWatermark);
    }

    [Fact(DisplayName = "R2: a promise is on media before it is answered")]
    public void R2_a_promise_is_on_media_before_it_is_answered()
    {
        // Guards OnPromise: _promise waits for OnDurable.
        Promise(_one, 1);
        _node.HasSlowDisk = true;
        Promise(_two, 2, waitMs: 200);
        Assert.Empty(_two.Of(FrameKind.Promised));
        Assert.True(Disk.Durable < Disk.Appended);
        _world.Run(6000);
        Assert.Equal(2UL, PromisedAt(_two).PromisedEpoch);
        Assert.Equal(Disk.Durable, Disk.Appended);
    }

    [Fact(DisplayName = "R2: asked again while a slow disk syncs, it answers with the first sync, not with ever later ones")]
    public void R2_a_repeated_promise_does_not_start_anew()
    {
        // Guards OnPromise: the same promise that waits already.
        Promise(_one, 1);
        var staged = Disk.Log.Count;
        _node.HasSlowDisk = true;
        Promise(_two, 2, waitMs: 100);
        Promise(_two, 2, waitMs: 100);
        Assert.Equal(staged + 1, Disk.Log.Count);
    }

    [Fact(DisplayName = "R2: after a promise the lower epoch is refused, its owner is told, and in this process too nothing is committed for it")]
    public void R2_a_lower_epoch_is_refused()
    {
        // Guards OnFrame: the epoch; OnPromise: Deposed; CommitFor: the epoch.
        Fill();
        Promise(_two, 2);
        Assert.Equal(2UL, _one.LastOf(FrameKind.Deposed).Epoch);
        Append(_one, 1, 4, watermark: 3);
        Assert.Equal(IoStatus.StaleEpoch, _one.LastOf(FrameKind.AppendAck).Status);
        Assert.Equal((3UL, 2UL), (_node.Store!.LastSequence, _node.Store.CommitWatermark));
        Assert.False(_node.Local!.Commit(1, 3));
        Promise(_one, 1);
        Assert.Equal(IoStatus.StaleEpoch, _one.LastOf(FrameKind.Promised).Status);
    }

    [Fact(DisplayName = "I4: a new owner's watermark commits nothing of a tail before that was cut to its order")]
    public void I4_a_divergent_tail_is_cut_before_commit()
    {
        // Guards CommitUpTo: _aligned.
        Fill();
        Promise(_two, 2);
        Tell(_two, FrameKind.Sync, 2, new byte[8], argument: 3);
        Assert.False(_node.Local!.Commit(2, 3));
        Assert.Equal(2UL, _node.Store!.CommitWatermark);
        Align(_two, 2, 2);
        Append(_two, 2, 3, watermark: 3);
        Assert.Equal((3UL, 2UL), (_node.Store.CommitWatermark, _node.Store.LastRecordEpoch));
    }

    [Fact(DisplayName = "R4: what is committed is never cut")]
    public void R4_committed_records_are_not_cut()
    {
        // Guards OnTruncate: the commit watermark.
        Fill();
        Promise(_two, 2);
        Align(_two, 2, 1);
        Assert.Equal(IoStatus.OutOfRange, _two.LastOf(FrameKind.Truncated).Status);
        Assert.Equal(3UL, _node.Store!.LastSequence);
    }

    [Fact(DisplayName = "R8: after a crash in the middle of a catch-up the replica reports where that began, and can't be elected")]
    public void R8_a_crash_in_mid_catch_up()
    {
        // Guards OnCatchUpBegin: the header before SetPosition; SendPromised: CatchUpFrom.
        Fill();
        Promise(_two, 2);
        Tell(_two, FrameKind.CatchUpBegin, 2, new CatchUpBody(2, 40, 2, false, 0, 0, 0).Encode(new byte[CatchUpBody.SizeBytes]));
        _world.Run(1000);
        Assert.Equal(IoStatus.Ok, _two.LastOf(FrameKind.CatchUpAck).Status);
        _node.Kill();
        _node.Start();
        Assert.Equal(40UL, _node.Store!.LastSequence);
        Promise(_two, 3);
        var promised = PromisedAt(_two);
        Assert.Equal((true, 2UL), (promised.CatchingUp, promised.LastSequence));
        Tell(_two, FrameKind.CatchUpBegin, 3, new CatchUpBody(3, 50, 3, false, 0, 0, 0).Encode(new byte[CatchUpBody.SizeBytes]));
        Assert.Equal(IoStatus.OutOfRange, _two.LastOf(FrameKind.CatchUpAck).Status);
    }

    /// <summary>Epoch 2 catches the copy up from 2 to 40, and has one item, the mark, behind it.</summary>
    private void Mark(ulong watermark, ulong cursor = 7)
    {
        Fill();
        Promise(_two, 2);
        Tell(_two, FrameKind.CatchUpBegin, 2, new CatchUpBody(2, 40, 1, false, 0, 0, 0).Encode(new byte[CatchUpBody.SizeBytes]));
        _world.Run(1000);
        Tell(_two, FrameKind.CatchUpMark, 2, BitConverter.GetBytes(cursor), argument: watermark, requestId: 1);
    }

    [Fact(DisplayName = "R8, I5: a cursor that is in the log outlives the process, and the catch-up goes on from it and no further")]
    public void R8_a_cursor_is_kept()
    {
        // Guards OnCatchUpMark; OnCatchUpBegin: isCursor; SendPromised: the cursor.
        Mark(watermark: 40);
        _world.Run(1000);
        Assert.Equal(1UL, _two.LastOf(FrameKind.CatchUpAck).RequestId);
        _node.Kill();
        _node.Start();
        Promise(_two, 3);
        var promised = PromisedAt(_two);
        Assert.Equal((true, 2UL, 40UL, 7UL), (promised.CatchingUp, promised.LastSequence, promised.CatchUpTo, promised.CatchUpCursor));
        foreach (var (cursor, to) in new[] { (8UL, 40UL), (7UL, 41UL) })
        {
            Tell(_two, FrameKind.CatchUpBegin, 3, new CatchUpBody(2, 50, 1, false, cursor, to, 0).Encode(new byte[CatchUpBody.SizeBytes]));
            Assert.Equal(IoStatus.OutOfRange, _two.LastOf(FrameKind.CatchUpAck).Status);
        }
        Tell(_two, FrameKind.CatchUpBegin, 3, new CatchUpBody(2, 50, 1, false, 7, 40, 0).Encode(new byte[CatchUpBody.SizeBytes]));
        _world.Run(1000);
        Assert.Equal(IoStatus.Ok, _two.LastOf(FrameKind.CatchUpAck).Status);
        // The part above the cursor has not begun: an attempt after this one starts where this one did.
        _node.Kill();
        _node.Start();
        Promise(_two, 4);
        Assert.Equal((40UL, 7UL), (PromisedAt(_two).CatchUpTo, PromisedAt(_two).CatchUpCursor));
    }

    [Fact(DisplayName = "I5: a copy that lacks what the owner had committed keeps no cursor: what hid a block from the owner's scan may be just that")]
    public void I5_a_cursor_needs_what_was_committed()
    {
        // Guards OnCatchUpMark: the watermark.
        Mark(watermark: 41);
        _world.Run(1000);
        Promise(_two, 3);
        Assert.Equal((true, 0UL), (PromisedAt(_two).CatchingUp, PromisedAt(_two).CatchUpCursor));
    }

    [Fact(DisplayName = "I5: a loss of power takes a cursor that was not on media, or leaves it with all that it covers")]
    public void I5_a_cursor_and_power()
    {
        Mark(watermark: 40);
        var staged = Disk.Log.Count;
        _node.LosePower();
        Assert.True(Disk.Log.Count <= staged);
        _node.Start();
        Promise(_two, 3);
        var promised = PromisedAt(_two);
        Assert.True(promised.CatchUpCursor == 0 || (promised.CatchUpTo == 40 && _node.Store!.CommitWatermark == 40));
    }

    [Fact(DisplayName = "A node takes part in so many long catch-ups at once; one that ends, or whose owner is lost, makes room")]
    public void Long_catch_ups_take_turns()
    {
        // Guards MayBegin, and LeaveCatchUp.
        var others = new[] { new object(), new object() };
        foreach (var other in others) Assert.True(_node.Repair.CatchUpsIn.TryEnter(other));
        Fill();
        Promise(_two, 2);
        var begin = new CatchUpBody(2, 40, 1, false, 0, 0, (ulong)_node.Repair.Options.CatchUpShortBytes + 1).Encode(new byte[CatchUpBody.SizeBytes]).ToArray();
        Tell(_two, FrameKind.CatchUpBegin, 2, begin);
        Assert.Equal(IoStatus.Busy, _two.LastOf(FrameKind.CatchUpAck).Status);
        Assert.False(_node.Machine!.Header.CatchingUp);
        _node.Repair.CatchUpsIn.Leave(others[0]);
        Tell(_two, FrameKind.CatchUpBegin, 2, begin);
        _world.Run(1000);
        Assert.Equal((IoStatus.Ok, 2), (_two.LastOf(FrameKind.CatchUpAck).Status, _node.Repair.CatchUpsIn.InsideCount));
        Tell(_two, FrameKind.CatchUpEnd, 2, [], requestId: 1);
        _world.Run(1000);
        Assert.Equal((false, 1), (_node.Machine.Header.CatchingUp, _node.Repair.CatchUpsIn.InsideCount));

        Promise(_two, 3);
        Tell(_two, FrameKind.CatchUpBegin, 3, new CatchUpBody(2, 50, 1, true, 0, 0, ulong.MaxValue).Encode(new byte[CatchUpBody.SizeBytes]));
        Assert.Equal(2, _node.Repair.CatchUpsIn.InsideCount);
        _node.Machine.OnLinkDown(_two);
        Assert.Equal(1, _node.Repair.CatchUpsIn.InsideCount);
    }

    [Fact(DisplayName = "R17: the lease left is reported again when the promise is asked for again, and after a restart")]
    public void R17_the_lease_is_reported_again()
    {
        // Guards _leaseHolders.
        Promise(_one, 1);
        _node.Kill();
        _node.Start();
        Promise(_two, 2, waitMs: 300);
        Assert.InRange(PromisedAt(_two).LeaseLeftMs, 1u, 1010u);
        Promise(_two, 2, waitMs: 300);
        Assert.Equal(2, _two.Of(FrameKind.Promised).Count());
        Assert.InRange(PromisedAt(_two).LeaseLeftMs, 1u, 1010u);
        _world.Run(1000);
        Promise(_two, 2, waitMs: 300);
        Assert.Equal(0u, PromisedAt(_two).LeaseLeftMs);
    }

    [Fact(DisplayName = "R17: a lease that was given back is waited for by nobody; it counts for that epoch's owner only")]
    public void R17_a_release_counts_once()
    {
        // Guards _releasedEpoch.
        Promise(_one, 1, waitMs: 50);
        Tell(_one, FrameKind.Release, 1, []);
        Promise(_two, 2, waitMs: 50);
        Assert.Equal(0u, PromisedAt(_two).LeaseLeftMs);
        // Of a deposed owner it counts for nothing, nor does the one before.
        Tell(_one, FrameKind.Release, 1, []);
        Promise(_one, 3, waitMs: 50);
        Assert.InRange(PromisedAt(_one).LeaseLeftMs, 1u, 1010u);
    }

    [Fact(DisplayName = "R17: an owner that was deposed is waited for as long as it may rely on its lease, not as long as its node is granted new ones")]
    public void R17_a_node_that_returned_is_not_waited_for()
    {
        // Guards NoteLease.
        var returned = new RecordingLink(_world.Nodes[1].Id);
        Promise(returned, 1, waitMs: 50);
        _world.Run(1000);
        _node.Grant(1);
        Promise(_one, 2, waitMs: 50);
        Assert.InRange(PromisedAt(_one).LeaseLeftMs, 900u, 1010u);
        for (var beat = 0; beat < 5; beat++)
        {
            _world.Run(300);
            _node.Grant(1);
        }
        Tell(_one, FrameKind.Release, 2, []);
        Promise(_two, 3, waitMs: 50);
        Assert.Equal(0u, PromisedAt(_two).LeaseLeftMs);
    }

    [Fact(DisplayName = "A refused record is reported as refused, not as the gap behind it")]
    public void A_refusal_is_not_hidden_by_the_gap_behind_it()
    {
        // Guards OnAppend: the first status of a turn is kept.
        Promise(_one, 1);
        Align(_one, 1, 0);
        _node.HasNoSpace = true;
        Append(_one, 1, 1);
        Assert.Equal(IoStatus.NoSpace, _one.LastOf(FrameKind.AppendAck).Status);
        Append(_one, 1, 2);
        Assert.Equal(IoStatus.Gap, _one.LastOf(FrameKind.AppendAck).Status);
    }
}
