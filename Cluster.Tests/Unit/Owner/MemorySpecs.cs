using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>What an owner does while its node has little memory left.</summary>
public sealed class MemorySpecs
{
    [Fact(DisplayName = "While memory is short a volume takes one write at a time; what is refused is done when it comes again, once, and a trim waits for nothing")]
    public void Writes()
    {
        using var rig = OwnerRig.Serving(1);
        rig.IsMemoryTight = true;
        rig.Write(1, 1);
        rig.Write(2, 2);
        Assert.Equal((1UL, 1), (rig.Machine.Sequence, rig.RefusedForMemory));
        Assert.Equal(IoStatus.Busy, rig.AnswerTo(2));
        Trim(rig, 3);
        Assert.Equal(2UL, rig.Machine.Sequence);
        rig.Appended(0, 2);
        Assert.Equal((IoStatus.Ok, IoStatus.Ok), (rig.AnswerTo(1), rig.AnswerTo(3)));
        rig.Write(2, 2);
        rig.Appended(0, 3);
        Assert.Equal(3UL, rig.Machine.Sequence);
        Assert.Equal([IoStatus.Busy, IoStatus.Ok], rig.Front.Of(FrameKind.ClientAck).Where(answer => answer.Header.RequestId == 2).Select(answer => answer.Header.Status));
        Assert.Equal(1, rig.RefusedForMemory);
    }

    [Fact(DisplayName = "While memory is short a volume has one read at a time")]
    public void Reads()
    {
        using var rig = OwnerRig.Serving(1);
        rig.IsMemoryTight = true;
        Read(rig, 1);
        Read(rig, 2);
        Assert.Equal(1, rig.ReadsWaiting);
        Assert.Equal(IoStatus.Busy, rig.Front.Of(FrameKind.ClientReadReply).Single().Header.Status);
        rig.AnswerRead();
        Read(rig, 2);
        Assert.Equal(1, rig.ReadsWaiting);
        rig.AnswerRead();
        Assert.Equal(2, rig.Front.Of(FrameKind.ClientReadReply).Count(reply => reply.Header.Status == IoStatus.Ok));
    }

    [Fact(DisplayName = "A read that is sent back for want of memory has not paid the volume's limit")]
    public void Sent_back_unpaid()
    {
        using var rig = OwnerRig.Serving(1);
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume,
            rig.State.Spec! with { Labels = ImmutableSortedDictionary<string, string>.Empty.Add("myrmidon.dev/iops-max", "10") }, rig.State.SpecRevision + 1));
        rig.Journal();
        rig.Stamped(0);
        Read(rig, 1);
        rig.IsMemoryTight = true;
        for (ulong id = 2; id <= 100; id++) Read(rig, id);
        Assert.Equal((1, 99, 0), (rig.ReadsWaiting, rig.RefusedForMemory, rig.Machine.ThrottledNow));
    }

    [Fact(DisplayName = "A volume whose writes fill its part of the node's memory has further ones sent back, memory or not, until some are done; a trim waits for nothing")]
    public void Part_of_a_volume()
    {
        using var rig = OwnerRig.Serving(1);
        var one = SimRecords.Write(new RecordHeader { Session = rig.Session, RequestId = 1, AnsweredBelow = 1, Range = new BlockRange(1, 1) }, 1);
        rig.VolumeBytesMax = 3 * one.Length;
        one.Release();
        for (ulong id = 1; id <= 8; id++) rig.Write(id, id);
        var taken = rig.Machine.Sequence;
        Assert.Equal((3UL, 5), (taken, rig.RefusedForMemory));
        Assert.Equal(IoStatus.Busy, rig.AnswerTo(8));
        Trim(rig, 9);
        Assert.Equal(taken + 1, rig.Machine.Sequence);
        rig.Appended(0, taken + 1);
        rig.Write(8, 8);
        Assert.Equal(taken + 2, rig.Machine.Sequence);
    }

    [Fact(DisplayName = "Pending records keep their places while their ring grows, wherever it stands, up to its bound")]
    public void Growth()
    {
        var (pool, ring, sequence, taken) = (new BufferPool(), new PendingRing(), 0UL, 0UL);
        ring.Restart(0);
        for (var round = 1; round <= Limits.PendingRecordsMax; round *= 2)
        {
            while (ring.Count < round)
            {
                var header = new RecordHeader { Kind = RecordKind.Trim, Sequence = ++sequence, RequestId = sequence * 3, Range = new BlockRange(sequence, 1) };
                ring.Add(pool.Rent(100), in header, default);
            }
            for (var at = ring.Base + 1; at <= ring.Last; at++) Assert.Equal((at, at * 3), (ring[at].Header.Sequence, ring[at].Header.RequestId));
            for (var left = ring.Count / 3; left > 0; left--, taken++) ring.Remove();
            Assert.Equal((taken, sequence), (ring.Base, ring.Last));
        }
        while (ring.Count < Limits.PendingRecordsMax)
        {
            var header = new RecordHeader { Kind = RecordKind.Trim, Sequence = ++sequence };
            ring.Add(pool.Rent(100), in header, default);
        }
        Assert.True(ring.IsFull);
        // What is used stays; when less is, the ring gets smaller under it, step by step.
        while (ring.Count > 5)
        {
            ring.Remove();
            if (ring.Count % 97 == 0) ring.Trim();
        }
        for (var look = 0; look < 20; look++) ring.Trim();
        for (var at = ring.Base + 1; at <= ring.Last; at++) Assert.Equal(at, ring[at].Header.Sequence);
        ring.Restart(ring.Last);
        Assert.Equal(0, pool.RentedBytes);
    }

    private static void Read(OwnerRig rig, ulong id) =>
        rig.Client(null, FrameKind.ClientRead, id, new ClientReadBody(rig.Session, new BlockRange(0, 1)).Encode(new byte[32]));

    private static void Trim(OwnerRig rig, ulong id)
    {
        var trim = SimRecords.Trim(new RecordHeader { Session = rig.Session, RequestId = id, AnsweredBelow = 1, Range = new BlockRange(0, 64) });
        rig.Machine.OnClientFrame(rig.Front, FrameHeader.Of(FrameKind.ClientWrite, rig.Machine.Volume, 0, id), trim.Span, trim);
        trim.Release();
    }
}
