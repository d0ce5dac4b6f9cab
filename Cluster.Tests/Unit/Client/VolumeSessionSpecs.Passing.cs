using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Client;

// R21: reads while the owner holds writes.
public partial class VolumeSessionSpecs
{
    private const int Large = 1 << 20;

    [Fact(DisplayName = "R21: reads and looks at what is allocated pass writes that fill the session's bytes, more of them than there are request ids; what was written and answered before is what they see")]
    public void Reads_pass_bytes()
    {
        Do(ProbeRequest.Write(50 * Large, Pattern(Block, 0x11)));
        var writes = HoldBytes();
        for (var number = 0; number < 2 * Limits.SessionWindowRequestsMax; number++)
        {
            var read = Submit(ProbeRequest.Of(BlockOperation.Read, 50 * Large, Block));
            var look = Submit(ProbeRequest.Of(BlockOperation.Status, 50 * Large, 2 * Block));
            Exchange();
            Assert.True(read is { IsDone: true, Status: IoStatus.Ok } && look is { IsDone: true, Status: IoStatus.Ok }, $"read {number} waits for the writes");
            Assert.Equal(Pattern(Block, 0x11), read.Data.ToArray());
        }
        Assert.DoesNotContain(writes, write => write.IsDone);
        Owner.Settle();
        Assert.All(writes, write => Assert.Equal(IoStatus.Ok, write.Status));
        Assert.Equal(0, _session.Pending);
    }

    [Fact(DisplayName = "R21: reads go on behind a single held write, when all ids of the window behind it were used by reads that are answered")]
    public void Reads_pass_ids()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        for (var number = 0; number < 3 * Limits.SessionWindowRequestsMax; number++)
        {
            var read = Submit(ProbeRequest.Of(BlockOperation.Read, Large, Block));
            Exchange();
            Assert.True(read.IsDone, $"read {number} waits for the write");
        }
        Assert.False(write.IsDone);
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
    }

    [Fact(DisplayName = "Reads that pass have a bound of their number and one of their bytes; where reads fill the window themselves none passes")]
    public void Reads_that_pass_are_bounded()
    {
        HoldBytes();
        var small = Enumerable.Range(0, 100).Select(_ => Submit(ProbeRequest.Of(BlockOperation.Read, 50 * Large, Block))).ToList();
        Assert.Equal(ClientLimits.PassingReadsMax, Owner.Link!.ToOwnerCount);
        Exchange();
        Assert.All(small, read => Assert.True(read.IsDone));
        var large = Submit(ProbeRequest.Of(BlockOperation.Read, 0, 16 * Large));
        Assert.Equal(ClientLimits.PassingReadBytesMax / (Limits.RecordBlocksMax * Block), Owner.Link.ToOwnerCount);
        Exchange();
        Assert.True(large.IsDone);
        Owner.Settle();
        Assert.Equal(0, _session.Pending);
    }

    [Fact(DisplayName = "Reads that pass are sent again to the next owner like all that is unanswered, and those that their client gave up are not")]
    public void Passing_reads_are_replayed()
    {
        var writes = HoldBytes();
        var read = Submit(ProbeRequest.Of(BlockOperation.Read, 50 * Large, Block));
        var left = Submit(ProbeRequest.Of(BlockOperation.Read, 51 * Large, Block));
        left.Abandoned = true;
        Owner.Kill(survive: 0);
        Owner.Arrived.Clear();
        Owner.Settle();
        Assert.Equal(IoStatus.Ok, read.Status);
        Assert.True(left.IsDone);
        Assert.Equal(1, Sent(FrameKind.ClientRead));
        Assert.All(writes, write => Assert.Equal(IoStatus.Ok, write.Status));
        Assert.Equal(0, _session.Pending);
    }

    [Fact(DisplayName = "A read that passed and is not answered for the hold time fails like any other, and its place is free again")]
    public void Passing_reads_expire()
    {
        HoldBytes();
        var reads = Enumerable.Range(0, ClientLimits.PassingReadsMax + 1).Select(_ => Submit(ProbeRequest.Of(BlockOperation.Read, 50 * Large, Block))).ToList();
        _loop.Advance(60_000 + ClientLimits.HoldCheckMs);
        Assert.All(reads, read => Assert.Equal(IoStatus.HoldExpired, read.Status));
        _loop.Advance(ClientLimits.ReconnectMsMax);
        Owner.Settle();
        Reads_pass_bytes();
    }

    /// <summary>As many writes as the session may have outstanding, and more, which the owner has and does not do.</summary>
    private List<ProbeRequest> HoldBytes()
    {
        var bytes = new byte[Large];
        new Random(1).NextBytes(bytes);
        var writes = Enumerable.Range(0, 40).Select(index => Submit(ProbeRequest.Write((ulong)index * Large, bytes))).ToList();
        Exchange();
        Assert.DoesNotContain(writes, write => write.IsDone);
        return writes;
    }

    /// <summary>All that is on its way arrives; the owner commits nothing.</summary>
    private void Exchange()
    {
        var link = Owner.Link!;
        while (link.StepIn() || link.StepOut())
        {
        }
    }
}
