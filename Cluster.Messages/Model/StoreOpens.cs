using System.Collections.Immutable;

namespace Cluster.Messages.Model;

/// <summary>Whether a store comes from another one of the same id, as that was at a given open.</summary>
public enum StoreDescent : byte
{
    Unset = 0,
    /// <summary>It was that very store at that open.</summary>
    Proven,
    /// <summary>So many opens ago that nothing here says so any more.</summary>
    Unknown,
    /// <summary>It is a copy from before that open, which was opened by itself since.</summary>
    Foreign,
}

/// <summary>
/// The opens of a store (R5): how many there were, and of each of the newest ones a random mark that was chosen at it, newest first; 0: not known. A copy of a store that is put
/// back and opened counts on, but chooses other marks than the store itself did.
/// </summary>
public sealed record StoreOpens(ulong Count, ImmutableArray<ulong> Marks)
{
    public const int MarksMax = 32;

    public static readonly StoreOpens None = new(0, []);

    /// <summary>Of the newest open.</summary>
    public ulong Mark => MarkOf(Count);

    public StoreOpens Next(ulong mark) => new(Count + 1, Marks.Length < MarksMax ? Marks.Insert(0, mark) : Marks.RemoveAt(MarksMax - 1).Insert(0, mark));

    /// <summary>0: not known.</summary>
    public ulong MarkOf(ulong count) => count <= Count && Count - count < (ulong)Marks.Length ? Marks[(int)(Count - count)] : 0;

    /// <summary>
    /// With a mark of 0, from a journal that knew none, the count says all. A header in the store that names the open proves as much as the store's own memory, and does not forget.
    /// </summary>
    public StoreDescent DescentFrom(ulong count, ulong mark, StoreOpenStamp stamped)
    {
        if (count > Count) return StoreDescent.Foreign;
        if (mark == 0 || stamped.Names(count, mark)) return StoreDescent.Proven;
        var here = MarkOf(count);
        return here == 0 ? StoreDescent.Unknown : here == mark ? StoreDescent.Proven : StoreDescent.Foreign;
    }

    public bool Equals(StoreOpens? other) => other is not null && Count == other.Count && Marks.SequenceEqual(other.Marks);

    public override int GetHashCode() => HashCode.Combine(Count, Marks.Length, Mark);
}

/// <summary>An open of a store, as a replica's header names it. Mark 0: it names none.</summary>
public readonly record struct StoreOpenStamp(ulong Count, ulong Mark)
{
    public bool Names(ulong count, ulong mark) => Mark != 0 && Count == count && Mark == mark;
}
