namespace Cluster.Tests.Unit.Chaos;

/// <summary>One operation of a tiny history: when it was asked and answered (never: <see cref="Never"/>), and on which cells.</summary>
internal sealed record TinyOperation(int Asked, int Answered, int First, int Count, bool IsWrite, uint Value, uint[] Read)
{
    public const int Never = int.MaxValue;

    public override string ToString() => $"{Asked}-{(Answered == Never ? "never" : Answered)} "
        + (IsWrite ? $"write {Value}" : $"read {string.Join(',', Read)}") + $" in {First}..{First + Count - 1}";
}

/// <summary>
/// Tries every order of a history of a few operations; the checker is compared with it. A write that was never answered may be left out.
/// </summary>
internal static class BruteForce
{
    public static bool IsLinearizable(IReadOnlyList<TinyOperation> operations, int cells) =>
        Try([.. operations.Where(operation => operation.IsWrite || operation.Answered != TinyOperation.Never)], new uint[cells]);

    private static bool Try(List<TinyOperation> left, uint[] state)
    {
        if (left.TrueForAll(operation => operation.Answered == TinyOperation.Never)) return true;
        var firstAnswer = left.Min(operation => operation.Answered);
        foreach (var next in left)
        {
            if (next.Asked > firstAnswer) continue;
            var rest = left.Where(operation => !ReferenceEquals(operation, next)).ToList();
            if (next.IsWrite)
            {
                var after = (uint[])state.Clone();
                after.AsSpan(next.First, next.Count).Fill(next.Value);
                if (Try(rest, after)) return true;
            }
            else if (state.AsSpan(next.First, next.Count).SequenceEqual(next.Read) && Try(rest, state)) return true;
        }
        return false;
    }
}
