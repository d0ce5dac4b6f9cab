using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R21: the owner sequences only what every required copy has promised room for.</summary>
public sealed class RoomSpecs
{
    private static readonly long Cost = Limits.CreditOf(RecordHeader.SizeBytes + BlockDescriptor.SizeBytes + SimRecords.EncodedBytesMin);

    [Fact(DisplayName = "R21: a write beyond what one copy has promised room for is held and not sequenced; it goes on by itself when that copy has room")]
    public void Held_for_want_of_credit()
    {
        using var rig = Full(copies: 3);
        rig.Write(2, 2);
        Assert.Equal(1UL, rig.Machine.Sequence);
        Assert.Equal(1, rig.Machine.HeldWrites);
        Assert.All(rig.Links, link => Assert.Single(link.Of(FrameKind.Append)));
        Acknowledge(rig, 1, 3);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1));
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(2));

        Grant(rig, index: 0, appended: 1, records: 9);
        Grant(rig, index: 1, appended: 1, records: 9);
        Assert.Equal(1UL, rig.Machine.Sequence);
        Grant(rig, index: 2, appended: 1, records: 1);
        Assert.Equal(2UL, rig.Machine.Sequence);
        Acknowledge(rig, 2, 3);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
        Assert.Equal(0, rig.Machine.HeldWrites);
    }

    [Fact(DisplayName = "R21: a trim is sequenced past writes that are held for want of room")]
    public void A_trim_passes()
    {
        using var rig = Full(copies: 3);
        rig.Write(2, 2);
        Trim(rig, 3, new BlockRange(5, 8));
        Assert.Equal(2UL, rig.Machine.Sequence);
        Acknowledge(rig, 2, 3);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(3));
        Assert.Equal(1, rig.Machine.HeldWrites);
    }

    [Fact(DisplayName = "R21: small writes do not pass a held one for ever: each waits for its turn")]
    public void In_turn()
    {
        using var rig = Full(copies: 1);
        rig.Write(2, 2);
        rig.Write(3, 3);
        Grant(rig, index: 0, appended: 1, records: 1);
        Assert.Equal(2UL, rig.Machine.Sequence);
        Assert.Equal(2UL, RecordOf(rig.Links[0].Of(FrameKind.Append).Last()).RequestId);
        Assert.Equal(1, rig.Machine.HeldWrites);
    }

    [Fact(DisplayName = "R12 with R21: a held request that is sent again over a new link is applied once and answered there")]
    public void A_held_request_is_replayed()
    {
        using var rig = Full(copies: 1);
        rig.Write(2, 2);
        rig.Write(2, 2);
        Assert.Equal(1, rig.Machine.HeldWrites);
        var front = new RecordingLink(rig.Front.Peer);
        rig.Machine.OnLinkDown(rig.Front);
        Assert.Equal(0, rig.Machine.HeldWrites);
        rig.Open(rig.Session, front);
        rig.Write(2, 2, from: front);
        Grant(rig, index: 0, appended: 1, records: 9);
        Assert.Equal(2UL, rig.Machine.Sequence);
        rig.Appended(0, 2);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2, front));
    }

    [Fact(DisplayName = "R11 with R21: a write that is held when its session is closed is never applied")]
    public void A_held_request_of_a_session_that_is_gone()
    {
        using var rig = Full(copies: 1);
        rig.Write(2, 2);
        rig.Client(null, FrameKind.SessionClose, 0, new SessionOpenBody(rig.Session, 1).Encode(new byte[SessionOpenBody.SizeBytes]));
        Grant(rig, index: 0, appended: 1, records: 9);
        Assert.Equal(1UL, rig.Machine.Sequence);
        Assert.Equal(0, rig.Machine.HeldWrites);
    }

    [Fact(DisplayName = "R15 with R21: a conditional write that was held is refused when its block changed meanwhile")]
    public void A_held_conditional_write()
    {
        using var rig = Full(copies: 1);
        rig.Write(2, 2, RecordFlags.Conditional, expected: 0);
        Trim(rig, 3, new BlockRange(2, 1));
        Grant(rig, index: 0, appended: 1, records: 9);
        Assert.Equal(IoStatus.Conflict, rig.AnswerTo(2));
        Assert.Equal(2UL, rig.Machine.Sequence);
    }

    [Fact(DisplayName = "R21: a held write that its client has given up is never applied over a trim that was answered since, and gets no answer")]
    public void A_held_request_that_was_given_up()
    {
        using var rig = Full(copies: 1);
        rig.Write(2, 2);
        Trim(rig, 3, new BlockRange(2, 1), answeredBelow: 3);
        rig.Appended(0, 2);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(3));
        Grant(rig, index: 0, appended: 2, records: 9);
        Assert.Equal(2UL, rig.Machine.Sequence);
        Assert.Equal(0, rig.Machine.HeldWrites);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(2));
    }

    [Fact(DisplayName = "R21: what is held of a session that opens again, over the same link too, is dropped: it sends again what it still waits for")]
    public void A_held_request_of_a_session_that_opens_again()
    {
        using var rig = Full(copies: 1);
        rig.Write(2, 2);
        rig.Write(3, 3);
        rig.Open(rig.Session);
        Assert.Equal(0, rig.Machine.HeldWrites);
        rig.Write(3, 3);
        Grant(rig, index: 0, appended: 1, records: 9);
        Assert.Equal(2UL, rig.Machine.Sequence);
        rig.Appended(0, 2);
        Assert.Equal((IoStatus.Unset, IoStatus.Ok), (rig.AnswerTo(2), rig.AnswerTo(3)));
    }

    [Fact(DisplayName = "R7 with R21: a copy that has no room for 3 s while the others have leaves the set, and writes go on")]
    public void One_copy_is_full()
    {
        using var rig = Full(copies: 3);
        Acknowledge(rig, 1, 3);
        Grant(rig, index: 0, appended: 1, records: 9);
        Grant(rig, index: 1, appended: 1, records: 9);
        rig.Write(2, 2);
        Pass(rig, Limits.ReplicaAckMs - 200);
        Assert.Empty(rig.Proposals);
        Pass(rig, 600);
        Assert.Equal(["r1", "r2"], Assert.IsType<InSyncChanged>(rig.Journal()).Members.Select(member => member.Id.ToString()));
        Assert.Equal(2UL, rig.Machine.Sequence);
    }

    [Fact(DisplayName = "R21: when no copy has room, nobody leaves: writes are held, the volume says so and names the nodes, and it ends by itself")]
    public void All_are_full()
    {
        using var rig = Full(copies: 3);
        Acknowledge(rig, 1, 3);
        rig.Write(2, 2);
        Pass(rig, 10 * Limits.ReplicaAckMs);
        Assert.Empty(rig.Proposals);
        var view = rig.Machine.View();
        Assert.Equal("held", view.State);
        Assert.Contains("1 writes are held until there is room on node n0 and n1 and n2", view.Reason, StringComparison.Ordinal);
        Assert.Equal(view.Reason, Assert.Single(rig.HeldForRoom));
        for (var index = 0; index < 3; index++) Grant(rig, index, appended: 1, records: 9);
        Acknowledge(rig, 2, 3);
        rig.Tick();
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
        Assert.Equal("healthy", rig.Machine.View().State);
        Assert.Null(rig.HeldForRoom[^1]);
    }

    [Fact(DisplayName = "R21: what a copy promised in an earlier process does not count once it is aligned anew")]
    public void A_promise_ends_with_its_process()
    {
        using var rig = OwnerRig.Serving(2, FailureModeKind.AlwaysOn);
        rig.CreditBytes = 0;
        rig.LinkDown(1);
        rig.LinkUp(1);
        rig.Promised(1);
        rig.Truncated(1, 0);
        rig.Write(1, 1);
        Assert.Equal(0UL, rig.Machine.Sequence);
        Assert.Equal(1, rig.Machine.HeldWrites);
    }

    [Fact(DisplayName = "What is held is bounded: beyond that a write is answered Busy")]
    public void Bounded()
    {
        using var rig = Full(copies: 1);
        const int each = Limits.PendingRecordsMax / 4;
        for (var client = 0; client < 4; client++)
        {
            var session = new SessionId(0, (ulong)(10 + client));
            rig.Open(session);
            for (var request = 1UL; request <= each; request++) rig.Write(request, request % 60, session: session);
        }
        Assert.Equal(Limits.PendingRecordsMax, rig.Machine.HeldWrites);
        rig.Write(5, 1);
        Assert.Equal(IoStatus.Busy, rig.AnswerTo(5));
        Assert.Equal(Limits.PendingRecordsMax, rig.Machine.HeldWrites);
    }

    [Fact(DisplayName = "R21: trims have room of their own among what is held: also behind as many writes as may be held, and a marker on its way, one is sequenced; and it has a bound")]
    public void Trims_have_room_of_their_own()
    {
        using var rig = Full(copies: 1);
        const int each = Limits.PendingRecordsMax / 4;
        for (var client = 0; client < 4; client++)
        {
            var session = new SessionId(0, (ulong)(10 + client));
            rig.Open(session);
            for (var request = 1UL; request <= each; request++) rig.Write(request, request % 60, session: session);
        }
        Acknowledge(rig, 1, 1);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("monday").Status);
        Assert.Equal(2UL, rig.Machine.Sequence);
        var trims = (ulong)VolumeMachine.HeldTrimsMax;
        for (var request = 1UL; request <= trims; request++) Trim(rig, 9 + request, new BlockRange(5, 8));
        Assert.Equal(2UL, rig.Machine.Sequence);
        Assert.Equal(IoStatus.Unset, rig.AnswerTo(10));
        Trim(rig, 10 + trims, new BlockRange(5, 8));
        Assert.Equal(IoStatus.Busy, rig.AnswerTo(10 + trims));
        rig.Appended(0, 2, durable: 2);
        rig.Journal();
        Assert.Equal(2 + trims, rig.Machine.Sequence);
        Assert.Equal(Limits.PendingRecordsMax, rig.Machine.HeldWrites);
    }

    /// <summary>One write is sequenced, and no copy has promised room for another.</summary>
    private static OwnerRig Full(int copies)
    {
        var rig = OwnerRig.Serving(copies, grants: (ulong)Cost);
        rig.CreditBytes = 0;
        rig.Write(1, 1);
        Assert.Equal(1UL, rig.Machine.Sequence);
        return rig;
    }

    private static void Trim(OwnerRig rig, ulong requestId, BlockRange range, ulong answeredBelow = 1)
    {
        var trim = SimRecords.Trim(new RecordHeader { Session = rig.Session, RequestId = requestId, AnsweredBelow = answeredBelow, Range = range });
        rig.Machine.OnClientFrame(rig.Front, FrameHeader.Of(FrameKind.ClientWrite, rig.Machine.Volume, 0, requestId), trim.Span, trim);
        trim.Release();
    }

    private static void Grant(OwnerRig rig, int index, ulong appended, long records)
    {
        rig.CreditBytes = (ulong)(records * Cost);
        rig.Appended(index, appended);
        rig.CreditBytes = 0;
    }

    private static void Acknowledge(OwnerRig rig, ulong appended, int copies)
    {
        for (var index = 0; index < copies; index++) rig.Appended(index, appended);
    }

    private static void Pass(OwnerRig rig, long ms)
    {
        for (; ms > 0; ms -= 100) rig.Tick();
    }

    private static RecordHeader RecordOf((FrameHeader Header, byte[] Body) frame)
    {
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(frame.Body, out var record));
        return record;
    }
}
