using System.Buffers.Binary;
using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Wire;

/// <summary>R19: the payload of a marker, and the list that a catch-up begins with.</summary>
public sealed class SnapshotMarkerSpecs
{
    private static readonly VolumeId Volume = new(7);

    [Theory(DisplayName = "A marker comes back as it was built, in a record that is accepted, however many snapshots it names")]
    [InlineData(0, 1)]
    [InlineData(1, 1)]
    [InlineData(510, 1)]
    [InlineData(511, 2)]
    [InlineData(Limits.SnapshotsMax, 5)]
    public void Round_trip(int count, int chunks)
    {
        var marker = new SnapshotMarker(count % 2 == 0, count % 2 == 0 ? 0UL : 3, Sequences(count));
        var record = marker.Build(Volume, out var header);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var decoded));
        Assert.Equal((RecordKind.Marker, default(BlockRange), (uint)chunks, default(SessionId)), (decoded.Kind, decoded.Range, decoded.DescriptorCount, decoded.Session));
        Assert.Equal(record.Length, decoded.TotalBytes);
        for (var index = 0; index < chunks; index++)
        {
            var descriptor = BlockDescriptor.Read(record.Span[(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes))..]);
            Assert.True(descriptor.Matches(Volume, 0, (ulong)index, record.Span.Slice(header.PayloadOffset + (index * Limits.BlockBytes), Limits.BlockBytes)));
        }
        var back = SnapshotMarker.TryDecode(record.Span[header.PayloadOffset..]);
        Assert.Equal((marker.Creates, marker.RestoreFrom), (back!.Creates, back.RestoreFrom));
        Assert.True(marker.Kept.SequenceEqual(back.Kept));
        record.Release();
    }

    [Theory(DisplayName = "A marker that puts back a part names it, however many snapshots it names, and is of the version that older nodes do not read")]
    [InlineData(0UL, 1UL, 1, 1)]
    [InlineData(512UL, ulong.MaxValue, 508, 1)]
    [InlineData(512UL, ulong.MaxValue, 509, 2)]
    [InlineData(0UL, 1UL << 40, Limits.SnapshotsMax, 5)]
    public void Parts(ulong first, ulong end, int count, int chunks)
    {
        var marker = new SnapshotMarker(false, 3, new BlockSpan(first, end), Sequences(count));
        var record = marker.Build(Volume, out var header);
        Assert.Equal((uint)chunks, header.DescriptorCount);
        Assert.Equal(2, record.Span[header.PayloadOffset]);
        var back = SnapshotMarker.TryDecode(record.Span[header.PayloadOffset..])!;
        Assert.Equal((false, 3UL, new BlockSpan(first, end)), (back.Creates, back.RestoreFrom, back.Part));
        Assert.True(marker.Kept.SequenceEqual(back.Kept));
        record.Release();
        var whole = Payload(new SnapshotMarker(false, 3, BlockSpan.All, Sequences(count)));
        Assert.Equal(1, whole[0]);
        Assert.Equal(BlockSpan.All, SnapshotMarker.TryDecode(whole)!.Part);
    }

    [Theory(DisplayName = "A marker of a part that is empty or everything, of no restore, or that makes a snapshot, is refused")]
    [InlineData(1, 1)]
    [InlineData(8, 0)]
    [InlineData(16, 7)]
    [InlineData(24, 5)]
    public void Wrong_parts(int at, byte value)
    {
        var payload = Payload(new SnapshotMarker(false, 3, new BlockSpan(5, 7), [3]));
        Assert.NotNull(SnapshotMarker.TryDecode(payload));
        payload[at] = value;
        Assert.Null(SnapshotMarker.TryDecode(payload));
        payload = Payload(new SnapshotMarker(false, 3, new BlockSpan(5, 7), [3]));
        payload.AsSpan(16, 8).Clear();
        payload.AsSpan(24, 8).Fill(0xFF);
        Assert.Null(SnapshotMarker.TryDecode(payload));
        for (var length = 0; length < 40; length++) Assert.Null(SnapshotMarker.TryDecode(Payload(new SnapshotMarker(false, 3, new BlockSpan(5, 7), [3])).AsSpan(0, length)));
    }

    [Theory(DisplayName = "A marker of another version, with unknown flags or reserved bytes, with wrong sequences, one that goes back to none of them, or that makes one too, is refused")]
    [InlineData(0, 2)]
    [InlineData(0, 3)]
    [InlineData(1, 1)]
    [InlineData(1, 2)]
    [InlineData(2, 1)]
    [InlineData(5, 9)]
    [InlineData(8, 4)]
    [InlineData(16, 0)]
    [InlineData(16, 5)]
    [InlineData(16, 6)]
    public void Refusals(int at, byte value)
    {
        var payload = Payload(new SnapshotMarker(false, 3, [3, 5]));
        Assert.NotNull(SnapshotMarker.TryDecode(payload));
        payload[at] = value;
        Assert.Null(SnapshotMarker.TryDecode(payload));
    }

    [Fact(DisplayName = "A marker whose payload ends before its sequences do is refused")]
    public void Cut()
    {
        var payload = Payload(new SnapshotMarker(true, 0, [3, 5]));
        Assert.NotNull(SnapshotMarker.TryDecode(payload.AsSpan(0, 32)));
        for (var length = 0; length < 32; length++) Assert.Null(SnapshotMarker.TryDecode(payload.AsSpan(0, length)));
    }

    [Fact(DisplayName = "A record of kind Marker that covers blocks, holds nothing, or is a copy or conditional, is refused at the link")]
    public void Records()
    {
        Assert.Equal(IoStatus.Ok, Decoded((ref RecordHeader header) => header.Epoch = 1));
        Assert.Equal(IoStatus.Malformed, Decoded((ref RecordHeader header) => header.Range = new BlockRange(0, 1)));
        Assert.Equal(IoStatus.Malformed, Decoded((ref RecordHeader header) => header.Range = new BlockRange(1, 0)));
        Assert.Equal(IoStatus.Malformed, Decoded((ref RecordHeader header) => header.Flags = RecordFlags.Resync));
        Assert.Equal(IoStatus.Malformed, Decoded((ref RecordHeader header) => header.Flags = RecordFlags.Conditional));
        Assert.NotEqual(IoStatus.Ok, Decoded((ref RecordHeader header) => (header.DescriptorCount, header.PayloadLength) = (0, 0)));
    }

    [Fact(DisplayName = "A catch-up's list of snapshots with too many, repeated, falling or zero sequences is refused")]
    public void Lists()
    {
        Assert.True(SnapshotsBody.TryDecode(List(2, 3, 5), out var body));
        Assert.Equal([3UL, 5UL], [.. body.Sequences]);
        Assert.True(SnapshotsBody.TryDecode(List(0), out _));
        Assert.False(SnapshotsBody.TryDecode(List(2, 5, 3), out _));
        Assert.False(SnapshotsBody.TryDecode(List(2, 5, 5), out _));
        Assert.False(SnapshotsBody.TryDecode(List(1, 0), out _));
        Assert.False(SnapshotsBody.TryDecode(List(3, 3, 5), out _));
        Assert.False(SnapshotsBody.TryDecode(List(1, 3, 5), out _));
        Assert.True(SnapshotsBody.TryDecode(List(Limits.SnapshotsMax, [.. Sequences(Limits.SnapshotsMax)]), out _));
        Assert.False(SnapshotsBody.TryDecode(List(Limits.SnapshotsMax + 1, [.. Sequences(Limits.SnapshotsMax + 1)]), out _));
    }

    private delegate void Change(ref RecordHeader header);

    private static IoStatus Decoded(Change change)
    {
        var record = new SnapshotMarker(true, 0, [3]).Build(Volume, out var header);
        change(ref header);
        header.Encode(record.Span);
        var status = RecordHeader.TryDecode(record.Span, out _);
        record.Release();
        return status;
    }

    private static byte[] Payload(SnapshotMarker marker)
    {
        var record = marker.Build(Volume, out var header);
        var payload = record.Span[header.PayloadOffset..].ToArray();
        record.Release();
        return payload;
    }

    private static byte[] List(int count, params ulong[] sequences)
    {
        var bytes = new byte[sizeof(uint) + (sequences.Length * sizeof(ulong))];
        BinaryPrimitives.WriteInt32LittleEndian(bytes, count);
        for (var index = 0; index < sequences.Length; index++) BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(sizeof(uint) + (index * sizeof(ulong))), sequences[index]);
        return bytes;
    }

    private static ImmutableArray<ulong> Sequences(int count) => [.. Enumerable.Range(0, count).Select(index => (ulong)(3 + (2 * index)))];
}
