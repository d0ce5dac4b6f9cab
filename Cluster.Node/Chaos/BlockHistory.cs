using Cluster.Messages.Model;

namespace Cluster.Node.Chaos;

/// <summary>
/// Checks, while it goes on, that one block of several cells is a linearizable register: that all operations on it can be put in one
/// order in which each lies between its asking and its answer and every read shows the last write before it, cell by cell.
///
/// Exact, for operations that overlap, for writes of parts of the block, and for writes that were never answered (they may have
/// happened, or may happen at any later time, at most once). The method is Lowe's "just-in-time" linearization: a set of
/// configurations, each one way in which things may have gone; an operation is put in order only when it is answered. The answer of
/// a read must be known by then, so events wait in a log until the reads asked before them are answered.
///
/// Pure and not thread-safe. Bounded: <see cref="MayBegin"/> says when a block has no room for a further operation.
/// </summary>
internal sealed class BlockHistory
{
    /// <summary>Cells of a block at most: of 16 bytes each.</summary>
    public const int CellsMax = Limits.BlockBytes / 16;

    /// <summary>Operations that are asked and unanswered, or lost and still possible. Bits of a mask.</summary>
    public const int LiveMax = 32;

    /// <summary>Lost writes above which a block takes no further writes: each doubles what may have happened.</summary>
    public const int LostMax = 8;

    /// <summary>Writes in flight at one block.</summary>
    public const int WritesMax = 8;

    /// <summary>Events that may wait for the answer of a read.</summary>
    public const int LogMax = 512;

    /// <summary>Configurations that are looked at for one event; above it the block is given up, and counted as such.</summary>
    public const int SearchMax = 50_000;

    private readonly Queue<(RegisterOperation Operation, bool Answer)> _log = [];
    private readonly RegisterOperation?[] _slots = new RegisterOperation?[LiveMax];
    private readonly ulong _block;
    private Configuration[] _ways;
    private uint _lost;
    private int _readsOpen;
    private int _writesOpen;
    private int _lostWrites;
    private bool _toldGivenUp;

    public BlockHistory(ulong block, uint[] state) => (_block, _ways) = (block, [new Configuration(state, 0, 0)]);

    /// <summary>Too much was uncertain at one time to follow it: nothing is known about this block from here on.</summary>
    public bool GivenUp { get; private set; }


    /// <summary>The cells, when nothing is open and nothing uncertain; else null.</summary>
    public uint[]? Settled => _log.Count == 0 && _readsOpen + _writesOpen + _lostWrites == 0 && _ways.Length == 1 && !GivenUp
        ? _ways[0].State : null;

    /// <summary>True once, when the block was given up since it was last asked.</summary>
    public bool TakeGivenUp()
    {
        var told = _toldGivenUp;
        _toldGivenUp = GivenUp;
        return GivenUp && !told;
    }

    /// <summary>Whether there is room for one more operation.</summary>
    public bool MayBegin(bool isWrite) => !GivenUp && _log.Count < LogMax && _readsOpen + _writesOpen + _lostWrites < LiveMax
        && (!isWrite || (_writesOpen < WritesMax && _lostWrites < LostMax));

    /// <summary>Before the write is sent. The value is not written anywhere else in the block's life, unless it is 0.</summary>
    public RegisterOperation BeginWrite(CellRange cells, uint value)
    {
        Invariant.That(MayBegin(isWrite: true), "a block was asked to follow more writes than it can");
        _writesOpen++;
        return Begin(new RegisterOperation(cells, isWrite: true, value));
    }

    /// <summary>Before the read is sent.</summary>
    public RegisterOperation BeginRead(CellRange cells)
    {
        Invariant.That(MayBegin(isWrite: false), "a block was asked to follow more reads than it can");
        _readsOpen++;
        return Begin(new RegisterOperation(cells, isWrite: false, 0));
    }

    /// <summary>The write was acknowledged, or its connection is gone and nobody knows. Answers as <see cref="EndRead"/>.</summary>
    public Violation? EndWrite(RegisterOperation write, bool acknowledged)
    {
        _writesOpen--;
        write.Lost = !acknowledged;
        if (write.Lost) _lostWrites++;
        _log.Enqueue((write, true));
        return Advance();
    }

    /// <summary>Answers what is wrong about this read, or about one before it that had to wait for this one.</summary>
    public Violation? EndRead(RegisterOperation read, uint[] values, bool final)
    {
        _readsOpen--;
        (read.Values, read.Final) = (values, final);
        _log.Enqueue((read, true));
        return Advance();
    }

    /// <summary>The read was never answered. Answers as <see cref="EndRead"/>.</summary>
    public Violation? DropRead(RegisterOperation read)
    {
        _readsOpen--;
        read.Dropped = true;
        return Advance();
    }

    private RegisterOperation Begin(RegisterOperation operation)
    {
        _log.Enqueue((operation, false));
        return operation;
    }

    private Violation? Advance()
    {
        Violation? found = null;
        while (_log.TryPeek(out var next))
        {
            var (operation, answer) = next;
            if (!answer && !operation.IsWrite && operation.Values is null && !operation.Dropped) break;
            _log.Dequeue();
            if (operation.Dropped || GivenUp) continue;
            if (!answer) OnAsked(operation);
            else if (operation.Lost) OnLost(operation);
            else found ??= OnAnswered(operation);
        }
        return found;
    }

    private void OnAsked(RegisterOperation operation)
    {
        operation.Slot = Array.IndexOf(_slots, null);
        Invariant.That(operation.Slot >= 0, "a block follows more operations than it has bits for");
        _slots[operation.Slot] = operation;
        for (var index = 0; index < _ways.Length; index++)
        {
            var way = _ways[index];
            _ways[index] = operation.IsWrite ? new Configuration(way.State, way.Pending | operation.Bit, way.Unread)
                : operation.Matches(way.State) ? way : new Configuration(way.State, way.Pending, way.Unread | operation.Bit);
        }
    }

    private void OnLost(RegisterOperation write)
    {
        _lost |= write.Bit;
        Prune([.. _ways]);
        ForgetImpossible();
    }

    private Violation? OnAnswered(RegisterOperation operation)
    {
        var ways = Search(operation);
        if (ways is null)
        {
            GivenUp = true;
            return null;
        }
        Violation? violation = null;
        if (ways.Count == 0)
        {
            violation = Describe(operation);
            // From here on as if it had not been asked, so that what follows is still checked.
            ways = [.. _ways.Select(way => new Configuration(way.State, way.Pending, way.Unread & ~operation.Bit))];
        }
        _slots[operation.Slot] = null;
        Prune(ways);
        ForgetImpossible();
        return violation;
    }

    /// <summary>Every way to put this operation in order, and before it what may be; null when there are too many.</summary>
    private List<Configuration>? Search(RegisterOperation operation)
    {
        var found = new List<Configuration>();
        var seen = new HashSet<Configuration>();
        var open = new Stack<Configuration>(_ways);
        while (open.TryPop(out var way))
        {
            if (((operation.IsWrite ? way.Pending : way.Unread) & operation.Bit) == 0)
            {
                found.Add(way);
                continue;
            }
            for (var pending = way.Pending; pending != 0; pending &= pending - 1)
            {
                var write = _slots[System.Numerics.BitOperations.TrailingZeroCount(pending)]!;
                if (IsUseless(write, operation, way.Unread)) continue;
                var next = After(way, write);
                if (!seen.Add(next)) continue;
                if (seen.Count > SearchMax) return null;
                open.Push(next);
            }
        }
        return found;
    }

    /// <summary>
    /// A lost write that no open read shows, and whose cells are all decided by the operation that is put in order now, would be
    /// invisible: leaving it for later allows everything that putting it in order here does.
    /// </summary>
    private bool IsUseless(RegisterOperation write, RegisterOperation operation, uint unread)
    {
        if ((_lost & write.Bit) == 0 || !operation.Cells.Covers(write.Cells)) return false;
        for (; unread != 0; unread &= unread - 1)
        {
            if (_slots[System.Numerics.BitOperations.TrailingZeroCount(unread)]!.Shows(write)) return false;
        }
        return true;
    }

    private Configuration After(in Configuration way, RegisterOperation write)
    {
        var state = (uint[])way.State.Clone();
        state.AsSpan(write.Cells.First, write.Cells.Count).Fill(write.Value);
        var unread = way.Unread;
        for (var left = unread; left != 0; left &= left - 1)
        {
            var read = _slots[System.Numerics.BitOperations.TrailingZeroCount(left)]!;
            // A read changes nothing and its answer is known: the first state that matches is as good as any later one.
            if (read.Matches(state)) unread &= ~read.Bit;
        }
        return new Configuration(state, way.Pending & ~write.Bit, unread);
    }

    /// <summary>Keeps a way only if no other allows all that it allows.</summary>
    private void Prune(List<Configuration> ways)
    {
        if (ways.Count > 1)
        {
            var kept = new List<Configuration>(ways.Count);
            foreach (var way in ways)
            {
                if (kept.Exists(other => IsAtLeast(other, way))) continue;
                kept.RemoveAll(other => IsAtLeast(way, other));
                kept.Add(way);
            }
            ways = kept;
        }
        _ways = [.. ways];
    }

    /// <summary>The same block, no more reads to satisfy, the same writes to come, and no fewer that may come.</summary>
    private bool IsAtLeast(in Configuration better, in Configuration worse) =>
        (better.Unread & ~worse.Unread) == 0 && ((better.Pending ^ worse.Pending) & ~_lost) == 0
        && (worse.Pending & ~better.Pending) == 0 && better.SameState(worse);

    /// <summary>Lost writes that have happened in every way are lost no more.</summary>
    private void ForgetImpossible()
    {
        var possible = 0u;
        foreach (var way in _ways) possible |= way.Pending;
        for (var gone = _lost & ~possible; gone != 0; gone &= gone - 1)
        {
            _slots[System.Numerics.BitOperations.TrailingZeroCount(gone)] = null;
            _lostWrites--;
        }
        _lost &= possible;
    }

    private Violation Describe(RegisterOperation read)
    {
        var values = read.Values!;
        var bad = -1;
        for (var index = 0; index < values.Length && bad < 0; index++)
        {
            if (!IsPossible(new CellRange(read.Cells.First + index, 1), values[index])) bad = index;
        }
        var expected = string.Join(" or ", _ways.Take(3).Select(way => Text(way.State.AsSpan(read.Cells.First, read.Cells.Count))));
        var kind = values.Contains(CellStamp.Foreign) ? ViolationKind.ForeignData
            : bad < 0 ? ViolationKind.TornBlock
            : read.Final ? ViolationKind.LostWrite : ViolationKind.StaleRead;
        return new Violation(kind, _block, $"block {_block} was read as {Text(values)} in cells {read.Cells.First} to {read.Cells.End - 1}, "
            + $"but holds {expected}{(_ways.Length > 3 ? " or others" : "")}, and {PendingText()}");
    }

    /// <summary>Whether that cell alone may be read so now.</summary>
    private bool IsPossible(CellRange cell, uint value)
    {
        foreach (var way in _ways)
        {
            if (way.State[cell.First] == value) return true;
            for (var pending = way.Pending; pending != 0; pending &= pending - 1)
            {
                var write = _slots[System.Numerics.BitOperations.TrailingZeroCount(pending)]!;
                if (write.Value == value && write.Cells.Covers(cell)) return true;
            }
        }
        return false;
    }

    private string PendingText()
    {
        var pending = _ways.Aggregate(0u, (all, way) => all | way.Pending);
        var writes = _slots.Where(write => write is not null && write.IsWrite && (pending & write.Bit) != 0)
            .Select(write => $"{write!.Value} in {write.Cells.First} to {write.Cells.End - 1}{(write.Lost ? " (never answered)" : "")}");
        var text = string.Join(", ", writes);
        return text.Length == 0 ? "no write is open" : $"open are the writes {text}";
    }

    private static string Text(ReadOnlySpan<uint> values)
    {
        var first = values[0];
        if (!values.ContainsAnyExcept(first)) return Name(first);
        return "[" + string.Join(' ', values.ToArray().Select(Name)) + "]";
    }

    private static string Name(uint value) => value == CellStamp.Foreign ? "garbage" : value == 0 ? "zeroes" : $"#{value}";
}
