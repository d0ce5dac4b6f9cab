using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>Labels iops-max, bandwidth-max and burst, kept by the owner. Time is virtual: the machine is woken when it asked to be.</summary>
public sealed class ThrottleSpecs
{
    private const string Iops = "myrmidon.dev/iops-max", Bandwidth = "myrmidon.dev/bandwidth-max", Burst = "myrmidon.dev/burst";
    private const int WindowMs = 10_000;

    [Theory(DisplayName = "Clients that always have so much on its way get the limit, within 5 % over 10 s, reads and writes alike")]
    [InlineData(Iops, "60", 1, false, 600)]
    [InlineData(Iops, "60", 32, false, 600)]
    [InlineData(Iops, "60", 1, true, 600)]
    [InlineData(Iops, "60", 32, true, 600)]
    [InlineData(Bandwidth, "1MiB", 1, false, 2560)]
    [InlineData(Bandwidth, "1MiB", 32, false, 2560)]
    [InlineData(Bandwidth, "1MiB", 1, true, 2560)]
    [InlineData(Bandwidth, "1MiB", 32, true, 2560)]
    public void Exact(string label, string value, int depth, bool writes, int expected)
    {
        using var rig = Limited((label, value));
        var (next, answered) = (0UL, 0UL);
        var passed = 0;
        for (var end = rig.NowMs + 1000 + WindowMs; rig.NowMs < end; Wake(rig))
        {
            var before = answered;
            // What was answered is followed by the next one, at the same moment.
            for (var done = false; !done;)
            {
                while (next - answered < (ulong)depth) Send(rig, ++next, writes, answered);
                var now = Answer(rig, writes, answered, next);
                (done, answered) = (now == answered, now);
            }
            if (rig.NowMs >= end - WindowMs) passed += (int)(answered - before);
        }
        Assert.InRange(passed, expected * 0.95, expected * 1.05);
    }

    [Fact(DisplayName = "Two front ends together get no more than the limit, and share it, however deep their queues are")]
    public void Sum_and_share()
    {
        using var rig = Limited((Iops, "100"));
        var (other, session) = (new RecordingLink(rig.Nodes[0]), new SessionId(0, 6));
        rig.Open(session, other);
        for (ulong id = 1; id <= 900; id++) Read(rig, id, 1);
        for (ulong id = 1; id <= 90; id++) Read(rig, id, 1, session, other);
        for (var end = rig.NowMs + 1000; rig.NowMs < end; Wake(rig)) AnswerReads(rig);
        var (deep, shallow) = (CountReads(rig.Front), CountReads(other));
        Assert.InRange(deep + shallow, 95, 115);
        Assert.InRange(shallow, 45, 55);
    }

    [Fact(DisplayName = "Bytes count in whole blocks; trims count as one I/O of no bytes, flushes for nothing")]
    public void Charges()
    {
        using var rig = Limited((Bandwidth, "1MiB"));
        for (ulong id = 1; id <= 64; id++) Read(rig, id, 16);
        for (var end = rig.NowMs + 1000; rig.NowMs < end; Wake(rig)) AnswerReads(rig);
        Assert.InRange(CountReads(rig.Front), 15, 19);
        rig.Flush(100);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(100));
        for (ulong id = 200; id < 300; id++) Trim(rig, id);
        // In their turn, and then all at once.
        Assert.Equal(0UL, rig.Machine.Sequence);
        while (rig.Machine.ThrottledNow > 0) Wake(rig);
        Assert.Equal(100UL, rig.Machine.Sequence);
        using var counted = Limited((Iops, "10"));
        for (ulong id = 1; id < 100; id++) Trim(counted, id);
        Assert.InRange(counted.Machine.Sequence, 1UL, 2UL);
    }

    [Fact(DisplayName = "Another limit counts at once for what waits, and none lets all of it go")]
    public void Live()
    {
        using var rig = Limited((Iops, "10"));
        for (ulong id = 1; id <= 200; id++) Read(rig, id, 1);
        Assert.InRange(rig.Machine.ThrottledNow, 198, 199);
        Relabel(rig, (Iops, "100"));
        for (var end = rig.NowMs + 1000; rig.NowMs < end; Wake(rig)) AnswerReads(rig);
        Assert.InRange(CountReads(rig.Front), 95, 115);
        Relabel(rig);
        AnswerReads(rig);
        Assert.Equal((200, 0), (CountReads(rig.Front), rig.Machine.ThrottledNow));
        Assert.Null(rig.Machine.View().Throttling);
    }

    [Fact(DisplayName = "Label burst: a volume at rest may do at once what its limits give in that time, and then what they give; it goes with the label")]
    public void Bursts()
    {
        using var rig = Limited((Iops, "100"), (Burst, "3s"));
        for (ulong id = 1; id <= 1000; id++) Read(rig, id, 1);
        AnswerReads(rig);
        Assert.InRange(CountReads(rig.Front), 300, 302);
        for (var end = rig.NowMs + 1000; rig.NowMs < end; Wake(rig)) AnswerReads(rig);
        Assert.InRange(CountReads(rig.Front), 395, 415);
        // The rest makes no credit any more.
        Relabel(rig, (Iops, "100"));
        while (rig.Machine.ThrottledNow > 0) Wake(rig);
        AnswerReads(rig);
        for (var end = rig.NowMs + 5000; rig.NowMs < end;) rig.Tick();
        for (ulong id = 1001; id <= 1100; id++) Read(rig, id, 1);
        AnswerReads(rig);
        Assert.InRange(CountReads(rig.Front), 1010, 1012);
    }

    [Fact(DisplayName = "What waits is bounded: more is refused as Busy, and the front end sends it again")]
    public void Bounded()
    {
        using var rig = Limited((Iops, "10"));
        for (ulong id = 1; id <= VolumeMachine.ThrottledMax + 10; id++) Read(rig, id, 1);
        Assert.Equal(VolumeMachine.ThrottledMax, rig.Machine.ThrottledNow);
        Assert.Equal(IoStatus.Busy, rig.AnswerTo(VolumeMachine.ThrottledMax + 10));
    }

    [Fact(DisplayName = "A front end gets its turn though others keep all places taken: one request of it waits in any case")]
    public void Never_starved()
    {
        using var rig = Limited((Iops, "10"));
        var (late, session) = (new RecordingLink(rig.Nodes[0]), new SessionId(0, 7));
        rig.Open(session, late);
        for (ulong id = 1; id <= VolumeMachine.ThrottledMax + 10; id++) Read(rig, id, 1);
        Read(rig, 1, 1, session, late);
        Read(rig, 2, 1, session, late);
        Assert.Equal(VolumeMachine.ThrottledMax + 1, rig.Machine.ThrottledNow);
        Assert.Equal((IoStatus.Unset, IoStatus.Busy), (rig.AnswerTo(1, late), rig.AnswerTo(2, late)));
        for (var end = rig.NowMs + 300; rig.NowMs < end; Wake(rig)) AnswerReads(rig);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(1, late));
    }

    [Fact(DisplayName = "A read of more than a record may have is refused at once and counts for nothing: the next one does not wait for it")]
    public void Refused_counts_not()
    {
        using var rig = Limited((Bandwidth, "1MiB"));
        Read(rig, 1, Limits.RecordBlocksMax + 1);
        Assert.Equal(IoStatus.OutOfRange, rig.AnswerTo(1));
        Read(rig, 2, 1);
        Assert.Equal(0, rig.Machine.ThrottledNow);
        AnswerReads(rig);
        Assert.Equal(IoStatus.Ok, rig.AnswerTo(2));
    }

    [Fact(DisplayName = "R12: what waited when its connection was lost is forgotten, and done once when it comes again")]
    public void Sent_again()
    {
        using var rig = Limited((Iops, "10"));
        for (ulong id = 1; id <= 8; id++) rig.Write(id, id);
        Assert.InRange(rig.Machine.ThrottledNow, 6, 7);
        rig.Machine.OnLinkDown(rig.Front);
        Assert.Equal(0, rig.Machine.ThrottledNow);
        var again = new RecordingLink(rig.Front.Peer);
        rig.Open(rig.Session, again);
        for (ulong id = 1; id <= 8; id++) rig.Write(id, id, from: again);
        for (var end = rig.NowMs + 2000; rig.NowMs < end; Wake(rig)) rig.Appended(0, rig.Machine.Sequence);
        Assert.Equal((8UL, 0), (rig.Machine.Sequence, rig.Machine.ThrottledNow));
        Assert.All(Enumerable.Range(1, 8), id => Assert.Equal(IoStatus.Ok, rig.AnswerTo((ulong)id, again)));
    }

    [Fact(DisplayName = "R11: what a fenced session had waiting is not done; R14: a planned stop does not wait for the limits, and answers nothing with an error")]
    public void Ends()
    {
        using var rig = Limited((Iops, "10"));
        for (ulong id = 1; id <= 8; id++) rig.Write(id, id);
        rig.Machine.Propose(new AttachmentChanged(rig.Machine.Volume, new Attachment(1, AttachmentMode.Exclusive, rig.Nodes[0], "n0")));
        rig.Journal();
        Assert.Equal(0, rig.Machine.ThrottledNow);
        using var other = Limited((Iops, "10"));
        for (ulong id = 1; id <= 8; id++) other.Write(id, id);
        other.Machine.Drain();
        other.Appended(0, other.Machine.Sequence);
        Assert.True(other.Machine.IsDrained);
        Assert.Equal(IoStatus.Unset, other.AnswerTo(8));
        other.Machine.OnWake();
        Assert.Equal(IoStatus.Unset, other.AnswerTo(8));
    }

    [Fact(DisplayName = "How many had to wait and for how long is told to metrics and to users")]
    public void Told()
    {
        using var rig = Limited((Iops, "10"));
        for (ulong id = 1; id <= 12; id++) Read(rig, id, 1);
        var waits = rig.Machine.ThrottledNow;
        while (rig.Machine.ThrottledNow > 0) Wake(rig);
        rig.Tick();
        var told = Assert.Single(rig.ThrottledTold);
        // Each waits for a tenth of a second longer than the one before.
        Assert.Equal((ulong)waits, told.Ios);
        Assert.InRange(told.Ms, (ulong)(waits * (waits - 1) * 50), (ulong)((waits + 1) * (waits + 1) * 50));
        Assert.Equal((told.Ios, told.Ms, 0), (rig.Machine.View().Throttling!.Ios, rig.Machine.View().Throttling!.WaitedMs, rig.Machine.View().Throttling!.Waiting));
    }

    private static OwnerRig Limited(params (string Key, string Value)[] labels)
    {
        var rig = OwnerRig.Serving(1);
        Relabel(rig, labels);
        return rig;
    }

    private static void Relabel(OwnerRig rig, params (string Key, string Value)[] labels)
    {
        var all = ImmutableSortedDictionary.CreateRange(StringComparer.Ordinal, labels.Select(label => KeyValuePair.Create(label.Key, label.Value)));
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, rig.State.Spec! with { Labels = all }, rig.State.SpecRevision + 1));
        rig.Journal();
        rig.Stamped(0);
    }

    /// <summary>Time passes until the machine wants to be woken, or its next tick.</summary>
    private static void Wake(OwnerRig rig)
    {
        if (rig.WakeAtMs is not { } at || at > rig.NowMs + 100)
        {
            rig.Tick();
            return;
        }
        (rig.WakeAtMs, rig.NowMs) = (null, at);
        rig.Machine.OnWake();
    }

    private static void Send(OwnerRig rig, ulong id, bool write, ulong answered)
    {
        if (write) rig.Write(id, id % 64, answeredBelow: answered + 1);
        else Read(rig, id, 1);
    }

    private static ulong Answer(OwnerRig rig, bool writes, ulong answered, ulong sent)
    {
        if (writes) rig.Appended(0, rig.Machine.Sequence);
        else AnswerReads(rig);
        while (answered < sent && rig.AnswerTo(answered + 1) == IoStatus.Ok) answered++;
        return answered;
    }

    private static void AnswerReads(OwnerRig rig)
    {
        while (rig.ReadsWaiting > 0) rig.AnswerRead();
    }

    private static int CountReads(RecordingLink link) => link.Of(FrameKind.ClientReadReply).Count(reply => reply.Header.Status == IoStatus.Ok);

    private static void Read(OwnerRig rig, ulong id, uint blocks, SessionId? session = null, RecordingLink? from = null) =>
        rig.Client(from, FrameKind.ClientRead, id, new ClientReadBody(session ?? rig.Session, new BlockRange(0, blocks)).Encode(new byte[32]));

    private static void Trim(OwnerRig rig, ulong id)
    {
        var trim = SimRecords.Trim(new RecordHeader { Session = rig.Session, RequestId = id, AnsweredBelow = 1, Range = new BlockRange(0, 64) });
        rig.Machine.OnClientFrame(rig.Front, FrameHeader.Of(FrameKind.ClientWrite, rig.Machine.Volume, 0, id), trim.Span, trim);
        trim.Release();
    }
}
