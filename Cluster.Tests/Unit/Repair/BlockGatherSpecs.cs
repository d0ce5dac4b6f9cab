using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;
using Cluster.Tests.Simulation.Store;

namespace Cluster.Tests.Unit.Repair;

[Collection("Cluster simulation")]
public sealed class BlockGatherSpecs
{
    private static readonly NodeId One = new(new Guid(1, 0, 0, new byte[8]));
    private static readonly NodeId Two = new(new Guid(2, 0, 0, new byte[8]));
    private static readonly NodeId Three = new(new Guid(3, 0, 0, new byte[8]));

    /// <summary>An answer: per block its sequence and the seed of its bytes (0: a zero block); the bytes of bad ones are left out.</summary>
    private static IoBuffer Answer(ulong first, ulong bad, params (ulong Sequence, ulong Seed)[] blocks)
    {
        var bytes = blocks.Select(block => block.Seed == 0 ? [] : StoreRig.Bytes(block.Seed)).ToArray();
        var sent = bytes.Where((_, index) => (bad & (1UL << index)) == 0).Sum(each => each.Length);
        var reply = BufferPool.Shared.Rent((blocks.Length * ReadDescriptor.SizeBytes) + sent);
        var at = blocks.Length * ReadDescriptor.SizeBytes;
        for (var index = 0; index < blocks.Length; index++)
        {
            var encoding = bytes[index].Length == 0 ? BlockEncoding.Zero : BlockEncoding.Raw;
            var descriptor = BlockDescriptor.Of(encoding, StoreRig.Volume, 0, first + (ulong)index, bytes[index]);
            new ReadDescriptor(descriptor, blocks[index].Sequence).Write(reply.Span[(index * ReadDescriptor.SizeBytes)..]);
            if ((bad & (1UL << index)) != 0) continue;
            bytes[index].CopyTo(reply.Span[at..]);
            at += bytes[index].Length;
        }
        return reply;
    }

    private static void Add(BlockGather gather, NodeId node, ulong bad, params (ulong, ulong)[] blocks)
    {
        var answer = Answer(gather.Range.First, bad, blocks);
        gather.Add(node, bad, answer);
        answer.Release();
    }

    private static List<(RecordKind Kind, BlockRange Range, ulong Sequence)> Records(BlockGather gather, NodeId node)
    {
        var records = new List<IoBuffer>();
        gather.BuildRecords(gather.Mendable(node), records);
        return
        [
            .. records.Select(record =>
            {
                Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
                Assert.Equal(record.Length, header.TotalBytes);
                Assert.Equal(RecordFlags.Resync, header.Flags);
                record.Release();
                return (header.Kind, header.Range, header.Sequence);
            }),
        ];
    }

    [Fact(DisplayName = "What a snapshot keeps is mended as its version: the record names the snapshot, and zeroes are a write of no bytes, not a trim that others would see")]
    public void What_a_snapshot_keeps()
    {
        using var gather = new BlockGather(StoreRig.Volume, new BlockRange(8, 3), 40, One);
        Add(gather, One, 0b001, (5, 1), (7, 0), (0, 0));
        Add(gather, Two, 0, (5, 1), (6, 3), (0, 0));
        Assert.Equal((0b010UL, 0b001UL), (gather.Differing(Two), gather.Mendable(One)));
        var records = new List<IoBuffer>();
        gather.BuildRecords(0b111, records);
        var headers = records.ConvertAll(record =>
        {
            Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
            record.Release();
            return header;
        });
        Assert.Equal([(RecordKind.Write, 8UL, 5UL, 40UL, (uint)StoreRig.Bytes(1).Length), (RecordKind.Write, 9UL, 7UL, 40UL, 0U)],
            headers.Select(header => (header.Kind, header.Range.First, header.Sequence, header.ExpectedSequence, (uint)header.PayloadLength)));
    }

    [Fact(DisplayName = "Blocks that are bad on one copy come from the other, also when each has bad ones of its own")]
    public void Blocks_come_from_where_they_are_good()
    {
        using var gather = new BlockGather(StoreRig.Volume, new BlockRange(8, 3), 0, One);
        Add(gather, One, 0b001, (5, 1), (6, 2), (7, 3));
        Assert.Equal(1, gather.MissingCount);
        Add(gather, Two, 0b110, (5, 1), (6, 2), (7, 3));
        Assert.Equal(0UL, gather.Missing);
        var reply = gather.BuildReply();
        var at = 3 * ReadDescriptor.SizeBytes;
        for (var index = 0; index < 3; index++)
        {
            Assert.Equal((ulong)index + 5, ReadDescriptor.Read(reply.Span[(index * ReadDescriptor.SizeBytes)..]).Sequence);
            Assert.Equal(StoreRig.Bytes((ulong)index + 1), reply.Span.Slice(at, Limits.BlockBytes).ToArray());
            at += Limits.BlockBytes;
        }
        Assert.Equal(at, reply.Length);
        reply.Release();
        Assert.Equal([(RecordKind.Write, new BlockRange(8, 1), 5UL)], Records(gather, One));
        Assert.Equal([(RecordKind.Write, new BlockRange(9, 1), 6UL), (RecordKind.Write, new BlockRange(10, 1), 7UL)], Records(gather, Two));
    }

    [Fact(DisplayName = "Neighbours of one sequence are mended by one record; a version without bytes by a trim; a block never written by none")]
    public void Records_are_runs()
    {
        using var gather = new BlockGather(StoreRig.Volume, new BlockRange(0, 5), 0, One);
        Add(gather, One, 0b11111, (4, 1), (4, 2), (3, 9), (3, 9), (2, 9));
        Add(gather, Two, 0, (4, 1), (4, 2), (6, 0), (6, 0), (0, 0));
        Assert.Equal([(RecordKind.Write, new BlockRange(0, 2), 4UL), (RecordKind.Trim, new BlockRange(2, 2), 6UL)], Records(gather, One));
    }

    [Fact(DisplayName = "Of two good versions the newer one is answered")]
    public void The_newer_version_wins()
    {
        using var gather = new BlockGather(StoreRig.Volume, new BlockRange(0, 1), 0, One);
        Add(gather, One, 0, (4, 1));
        Add(gather, Two, 0, (9, 2));
        Add(gather, Three, 0, (4, 1));
        var reply = gather.BuildReply();
        Assert.Equal(9UL, ReadDescriptor.Read(reply.Span).Sequence);
        reply.Release();
    }

    [Fact(DisplayName = "What no copy has good is missing; an answer that contradicts itself counts as none, and its buffer is not kept")]
    public void What_is_good_nowhere_is_missing()
    {
        var before = BufferPool.Shared.RentedBytes;
        using (var gather = new BlockGather(StoreRig.Volume, new BlockRange(0, 64), 0, One))
        {
            var torn = Answer(0, 0, [.. Enumerable.Repeat((4UL, 1UL), 64)]);
            torn.Span[^1] ^= 1;
            Assert.False(gather.Add(One, 0, torn));
            torn.Length--;
            Assert.False(gather.Add(Two, 0, torn));
            torn.Release();
            gather.AddFailed(Three);
            Assert.Equal((64, true), (gather.MissingCount, gather.HasAnswered(One)));
            Assert.Equal(0UL, gather.Mendable(Three));
        }
        Assert.True(BufferPool.Shared.RentedBytes <= before);
    }
}
