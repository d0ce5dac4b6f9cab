using Cluster.Node.Chaos;
using Xunit.Abstractions;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>The checker agrees with a search through all orders, on random histories that are small enough for one.</summary>
public sealed class BlockHistoryRandomSpecs(ITestOutputHelper output)
{
    private const int Histories = 60_000;
    private const int TimeMax = 14;

    private sealed record Draft(int Asked, int Answered, int Point, CellRange Range, bool IsWrite, bool Lost, uint Value);

    [Theory(DisplayName = "On tiny random histories the checker finds fault exactly when no order of the operations exists")]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(3, 3)]
    [InlineData(4, 4)]
    public void Agrees_with_brute_force(int seed, int cells)
    {
        var (legal, illegal) = (0, 0);
        for (var run = 0; run < Histories / 4; run++)
        {
            var random = new Random((seed * 1_000_003) + run);
            var operations = Generate(random, cells);
            var expected = BruteForce.IsLinearizable(operations, cells);
            var found = Check(operations, cells, out var violation);
            Assert.True(expected == found, $"seed {seed}, run {run}: {(expected ? "legal" : "illegal")}, "
                + $"but the checker says {violation?.Text ?? "legal"}:\n{string.Join('\n', operations)}");
            if (expected) legal++;
            else illegal++;
        }
        output.WriteLine($"{legal} legal, {illegal} illegal");
        Assert.True(legal > Histories / 40 && illegal > Histories / 40, $"{legal} legal and {illegal} illegal histories show little");
    }

    /// <summary>
    /// Reads mostly show what the operations, put in order of random points, show; sometimes something else.
    /// </summary>
    private static List<TinyOperation> Generate(Random random, int cells)
    {
        var count = random.Next(3, 8);
        var drafts = new List<Draft>();
        for (var index = 0; index < count; index++)
        {
            var asked = random.Next(TimeMax);
            var answered = asked + random.Next(random.Next(2) == 0 ? 3 : TimeMax);
            var first = random.Next(cells);
            var range = random.Next(2) == 0 ? new CellRange(0, cells) : new CellRange(first, random.Next(1, cells - first + 1));
            var isWrite = random.Next(100) < 55;
            var value = random.Next(8) == 0 ? 0u : (uint)index + 1;
            drafts.Add(new Draft(asked, answered, asked + random.Next(answered - asked + 1), range, isWrite, random.Next(5) == 0, value));
        }
        return Fill(random, drafts, cells);
    }

    private static List<TinyOperation> Fill(Random random, List<Draft> drafts, int cells)
    {
        var state = new uint[cells];
        var operations = new List<TinyOperation>();
        foreach (var draft in drafts.OrderBy(draft => draft.Point))
        {
            var answered = draft.Lost ? TinyOperation.Never : draft.Answered;
            var read = state.AsSpan(draft.Range.First, draft.Range.Count).ToArray();
            if (draft.IsWrite)
            {
                // A lost write may show late, or not at all.
                if (!draft.Lost || random.Next(2) == 0) state.AsSpan(draft.Range.First, draft.Range.Count).Fill(draft.Value);
            }
            else if (random.Next(4) == 0) read[random.Next(read.Length)] = (uint)random.Next(drafts.Count + 1);
            operations.Add(new TinyOperation(draft.Asked, answered, draft.Range.First, draft.Range.Count, draft.IsWrite, draft.Value, read));
        }
        return operations;
    }

    private static bool Check(List<TinyOperation> operations, int cells, out Violation? violation)
    {
        violation = null;
        var history = new BlockHistory(0, new uint[cells]);
        var open = new Dictionary<TinyOperation, RegisterOperation>();
        var events = operations.SelectMany(operation => new[]
        {
            (At: operation.Asked * 2, Operation: operation, Ask: true),
            (At: operation.Answered == TinyOperation.Never ? int.MaxValue : (operation.Answered * 2) + 1, Operation: operation, Ask: false),
        }).OrderBy(item => item.At);
        foreach (var (_, operation, ask) in events)
        {
            var range = new CellRange(operation.First, operation.Count);
            if (ask) open[operation] = operation.IsWrite ? history.BeginWrite(range, operation.Value) : history.BeginRead(range);
            else violation ??= End(history, open[operation], operation);
        }
        Assert.False(history.GivenUp);
        return violation is null;
    }

    private static Violation? End(BlockHistory history, RegisterOperation open, TinyOperation operation)
    {
        if (operation.IsWrite) return history.EndWrite(open, operation.Answered != TinyOperation.Never);
        return operation.Answered == TinyOperation.Never ? history.DropRead(open) : history.EndRead(open, operation.Read, final: false);
    }
}
