using Cluster.Node.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>What the checker must find, and what it must let pass. One block of four cells.</summary>
public sealed class BlockHistorySpecs
{
    private const int Cells = 4;
    private static readonly CellRange Whole = new(0, Cells);
    private static readonly CellRange FirstHalf = new(0, 2);
    private static readonly CellRange SecondHalf = new(2, 2);

    private readonly BlockHistory _block = new(7, new uint[Cells]);

    [Fact(DisplayName = "A read of what was acknowledged last is right, and leaves nothing to remember")]
    public void Plain()
    {
        Write(1);
        Assert.Null(Read(1));
        Write(2);
        Assert.Null(Read(2));
        Assert.Equal([2u, 2, 2, 2], _block.Settled!);
    }

    [Fact(DisplayName = "A read of the value before the last acknowledged one is stale")]
    public void Stale()
    {
        Write(1);
        Write(2);
        Assert.Equal(ViolationKind.StaleRead, Read(1)!.Kind);
        Assert.Null(Read(2));
    }

    [Fact(DisplayName = "An acknowledged write that is gone at the end is lost")]
    public void Lost()
    {
        Write(1);
        Assert.Equal(ViolationKind.LostWrite, Read(0, final: true)!.Kind);
    }

    [Fact(DisplayName = "Halves of two writes of the whole block are a torn block")]
    public void Torn()
    {
        Write(1);
        var second = _block.BeginWrite(Whole, 2);
        var violation = _block.EndRead(_block.BeginRead(Whole), [2, 2, 1, 1], final: false);
        Assert.Equal(ViolationKind.TornBlock, violation!.Kind);
        _block.EndWrite(second, acknowledged: true);
        Assert.Null(Read(2));
    }

    [Fact(DisplayName = "Data that this history never wrote is foreign")]
    public void Foreign()
    {
        Write(1);
        var violation = _block.EndRead(_block.BeginRead(Whole), [1, 1, CellStamp.Foreign, 1], final: false);
        Assert.Equal(ViolationKind.ForeignData, violation!.Kind);
    }

    [Fact(DisplayName = "A read beside a write may show either; once one read has shown the new value, no later one may show the old")]
    public void No_way_back()
    {
        Write(1);
        var second = _block.BeginWrite(Whole, 2);
        Assert.Null(Read(1));
        Assert.Null(Read(2));
        Assert.Equal(ViolationKind.StaleRead, Read(1)!.Kind);
        _block.EndWrite(second, acknowledged: true);
        Assert.Null(Read(2));
    }

    [Fact(DisplayName = "Two writes side by side may end either way, but only one way")]
    public void Concurrent_writes()
    {
        var first = _block.BeginWrite(Whole, 1);
        var second = _block.BeginWrite(Whole, 2);
        _block.EndWrite(first, acknowledged: true);
        _block.EndWrite(second, acknowledged: true);
        Assert.Null(Read(1));
        Assert.NotNull(Read(2));
        Assert.Null(Read(1));
    }

    [Fact(DisplayName = "A write that was never answered may be missing, and may come at any later time")]
    public void Unanswered()
    {
        Write(1);
        Lose(Whole, 2);
        Assert.Null(Read(1));
        Write(3);
        Assert.Null(Read(3));
        Assert.Null(Read(2));
        Assert.Null(Read(2));
    }

    [Fact(DisplayName = "A write that was never answered happens at most once")]
    public void Unanswered_once()
    {
        Lose(Whole, 1);
        Assert.Null(Read(1));
        Write(2);
        Assert.Null(Read(2));
        Assert.Equal(ViolationKind.StaleRead, Read(1)!.Kind);
    }

    [Fact(DisplayName = "An acknowledged write that is applied a second time after a later one is found")]
    public void Applied_twice()
    {
        Write(1);
        Write(2);
        Assert.Null(Read(2));
        Assert.NotNull(Read(1));
    }

    [Fact(DisplayName = "Writes of halves leave the other half as it was")]
    public void Parts()
    {
        Write(1);
        _block.EndWrite(_block.BeginWrite(SecondHalf, 2), acknowledged: true);
        Assert.Null(_block.EndRead(_block.BeginRead(Whole), [1, 1, 2, 2], final: false));
        var violation = _block.EndRead(_block.BeginRead(Whole), [0, 0, 2, 2], final: true);
        Assert.Equal(ViolationKind.LostWrite, violation!.Kind);
    }

    [Fact(DisplayName = "A half that undoes a write of the other half, as an unguarded read-modify-write does, is found")]
    public void Unguarded_merge()
    {
        Write(1);
        var first = _block.BeginWrite(FirstHalf, 2);
        var second = _block.BeginWrite(SecondHalf, 3);
        _block.EndWrite(first, acknowledged: true);
        _block.EndWrite(second, acknowledged: true);
        Assert.Equal(ViolationKind.StaleRead, _block.EndRead(_block.BeginRead(Whole), [1, 1, 3, 3], final: false)!.Kind);
    }

    [Fact(DisplayName = "Zeroes are no unique value: a block may be zero before and after")]
    public void Zeroes()
    {
        Write(1);
        var trim = _block.BeginWrite(Whole, 0);
        Assert.Null(Read(1));
        _block.EndWrite(trim, acknowledged: true);
        Assert.Null(Read(0));
        Assert.NotNull(Read(1));
    }

    [Fact(DisplayName = "A read whose answer is late is judged by what was so while it was open")]
    public void Late_answer()
    {
        Write(1);
        var slow = _block.BeginRead(Whole);
        Write(2);
        Assert.Null(Read(2));
        Write(3);
        Assert.Null(_block.EndRead(slow, [2, 2, 2, 2], final: false));
        Assert.Null(Read(3));
        Assert.NotNull(_block.Settled);
    }

    [Fact(DisplayName = "A read that waits behind a dropped one is judged when that one is dropped")]
    public void Dropped()
    {
        Write(1);
        var dropped = _block.BeginRead(Whole);
        Write(2);
        Assert.Null(Read(1));
        Assert.Equal(ViolationKind.StaleRead, _block.DropRead(dropped)!.Kind);
    }

    [Fact(DisplayName = "After a violation the block is followed on from what was acknowledged")]
    public void Goes_on()
    {
        Write(1);
        Assert.NotNull(Read(0));
        Write(2);
        Assert.Null(Read(2));
    }

    [Fact(DisplayName = "A block takes a bounded number of writes that nobody knows about")]
    public void Bounded_losses()
    {
        for (uint value = 1; value <= BlockHistory.LostMax; value++)
        {
            Assert.True(_block.MayBegin(isWrite: true));
            Lose(Whole, value);
        }
        Assert.False(_block.MayBegin(isWrite: true));
        Assert.True(_block.MayBegin(isWrite: false));
        Assert.Null(Read(BlockHistory.LostMax));
        Assert.True(_block.MayBegin(isWrite: true));
    }

    [Fact(DisplayName = "A block takes a bounded number of operations while a read is unanswered")]
    public void Bounded_log()
    {
        var slow = _block.BeginRead(Whole);
        uint value = 0;
        while (_block.MayBegin(isWrite: true)) Write(++value);
        Assert.InRange(value, 100u, (uint)BlockHistory.LogMax);
        Assert.Null(_block.EndRead(slow, [1, 1, 1, 1], final: false));
        Assert.Null(Read(value));
        Assert.NotNull(_block.Settled);
    }

    [Fact(DisplayName = "Seven lost writes of parts and four writes in flight are followed without giving up")]
    public void Much_uncertain()
    {
        for (uint value = 1; value < BlockHistory.LostMax; value++)
        {
            Lose(new CellRange((int)value % Cells, 1 + ((int)value % Cells == 0 ? 2 : 0)), value);
        }
        uint last = 100;
        for (var round = 0; round < 20; round++)
        {
            var open = Enumerable.Range(0, 4).Select(cell => _block.BeginWrite(new CellRange(cell / 2, 2), ++last)).ToArray();
            foreach (var write in open) _block.EndWrite(write, acknowledged: true);
        }
        Write(++last);
        Assert.Null(Read(last));
        Assert.False(_block.GivenUp);
    }

    private void Write(uint value) => _block.EndWrite(_block.BeginWrite(Whole, value), acknowledged: true);

    private void Lose(CellRange cells, uint value) => _block.EndWrite(_block.BeginWrite(cells, value), acknowledged: false);

    private Violation? Read(uint value, bool final = false) =>
        _block.EndRead(_block.BeginRead(Whole), [value, value, value, value], final);
}
