using Cluster.Messages.Model;
using Cluster.Node.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>Bytes in, violations out: a memory plays the volume.</summary>
public sealed class VolumeHistorySpecs
{
    private const int Block = Limits.BlockBytes;
    private const int Area = 16 * Block;

    private readonly VolumeHistory _history = new(Area, 512, salt: 99);
    private readonly byte[] _volume = new byte[Area];

    [Theory(DisplayName = "Stamps are read back as they were written, in cells of any size, compressible or not")]
    [InlineData(16)]
    [InlineData(512)]
    [InlineData(4096)]
    public void Stamps(int bytes)
    {
        var cell = new byte[bytes];
        foreach (var value in new uint[] { 1, 2, 77, 1_000_000 })
        {
            CellStamp.Write(cell, salt: 5, index: 12, value);
            Assert.Equal(value, CellStamp.Read(cell, 5, 12));
            Assert.Equal(CellStamp.Foreign, CellStamp.Read(cell, 6, 12));
            Assert.Equal(CellStamp.Foreign, CellStamp.Read(cell, 5, 13));
            for (var at = 0; at < bytes; at += 7)
            {
                cell[at] ^= 1;
                Assert.Equal(CellStamp.Foreign, CellStamp.Read(cell, 5, 12));
                cell[at] ^= 1;
            }
        }
        CellStamp.Write(cell, 5, 12, 0);
        Assert.Equal(0u, CellStamp.Read(cell, 5, 12));
    }

    [Fact(DisplayName = "Writes over several blocks, trims and reads at any cell are right")]
    public void Round_trip()
    {
        var random = new Random(1);
        for (var round = 0; round < 2000; round++)
        {
            var first = random.Next(Area / 512);
            var cells = random.Next(1, Math.Min(40, (Area / 512) - first) + 1);
            if (random.Next(2) == 0) Write(first * 512, cells * 512, zeroes: random.Next(5) == 0);
            else Assert.Null(Read(first * 512, cells * 512));
        }
        Assert.Null(Read(0, Area, final: true));
        Assert.Empty(_history.Violations);
    }

    [Fact(DisplayName = "One flipped bit is foreign data")]
    public void Bit_flip()
    {
        Write(0, 2 * Block);
        _volume[Block + 1234] ^= 4;
        Assert.Equal(ViolationKind.ForeignData, Read(0, 2 * Block)!.Kind);
        Assert.Equal(1, _history.Count(ViolationKind.ForeignData));
        Assert.Equal(1ul, _history.Violations[0].Block);
    }

    [Fact(DisplayName = "A block that was written to another place is foreign there")]
    public void Misplaced()
    {
        Write(0, Block);
        _volume.AsSpan(0, Block).CopyTo(_volume.AsSpan(Block));
        Assert.Equal(ViolationKind.ForeignData, Read(Block, Block)!.Kind);
    }

    [Fact(DisplayName = "Blocks are judged one by one: of a write of two, one may be seen before the other, and one may be lost")]
    public void Blocks_are_registers()
    {
        Assert.True(_history.TryBeginWrite(0, 2 * Block, zeroes: false, out var write));
        _history.Fill(write, _volume.AsSpan(0, 2 * Block));
        _volume.AsSpan(Block, Block).Clear();
        Assert.Null(Read(0, 2 * Block));
        _history.Acknowledge(write);
        Assert.Equal(ViolationKind.LostWrite, Read(0, 2 * Block, final: true)!.Kind);
        Assert.Equal(1, _history.Count(ViolationKind.LostWrite));
    }

    [Fact(DisplayName = "The same fault counts once while the run goes on, and once at its end")]
    public void Counted_once()
    {
        Write(0, Block);
        Array.Clear(_volume);
        for (var look = 0; look < 5; look++) Assert.NotNull(Read(0, Block));
        Assert.Equal(1, _history.Count(ViolationKind.StaleRead));
        Read(0, Block, final: true);
        Assert.Equal(1, _history.Count(ViolationKind.LostWrite));
        Assert.Equal(2, _history.Violations.Count);
    }

    [Fact(DisplayName = "A read that is dropped and a write that is lost leave the block usable")]
    public void Unanswered()
    {
        Assert.True(_history.TryBeginRead(0, Block, out var read));
        Assert.True(_history.TryBeginWrite(0, Block, zeroes: false, out var write));
        _history.Drop(read);
        _history.Lose(write);
        Assert.Null(Read(0, Block));
        Write(0, Block);
        Assert.Null(Read(0, Block));
        Assert.Equal(1, _history.WritesUnknown);
        Assert.Equal(1, _history.WritesAcknowledged);
    }

    [Fact(DisplayName = "A place with too much uncertain refuses writes, and only that place")]
    public void Refuses()
    {
        for (var lost = 0; lost < BlockHistory.LostMax; lost++)
        {
            Assert.True(_history.TryBeginWrite(Block, 512, zeroes: false, out var write));
            _history.Lose(write);
        }
        Assert.False(_history.TryBeginWrite(0, 2 * Block, zeroes: false, out _));
        Assert.True(_history.TryBeginRead(0, 2 * Block, out _));
        Assert.True(_history.TryBeginWrite(0, Block, zeroes: false, out _));
    }

    private void Write(int offset, int length, bool zeroes = false)
    {
        Assert.True(_history.TryBeginWrite((ulong)offset, length, zeroes, out var write));
        _history.Fill(write, _volume.AsSpan(offset, length));
        _history.Acknowledge(write);
    }

    private Violation? Read(int offset, int length, bool final = false)
    {
        Assert.True(_history.TryBeginRead((ulong)offset, length, out var read));
        return _history.Answer(read, _volume.AsSpan(offset, length), final);
    }
}
