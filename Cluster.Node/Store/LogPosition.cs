namespace Cluster.Node.Store;

/// <summary>A place in the log: the number of a segment's use, and an offset in it. Numbers only rise and are never used twice.</summary>
public readonly record struct LogPosition(ulong Number, uint OffsetBytes) : IComparable<LogPosition>
{
    public int CompareTo(LogPosition other) =>
        Number != other.Number ? Number.CompareTo(other.Number) : OffsetBytes.CompareTo(other.OffsetBytes);

    public static bool operator <(LogPosition left, LogPosition right) => left.CompareTo(right) < 0;

    public static bool operator >(LogPosition left, LogPosition right) => left.CompareTo(right) > 0;

    public static bool operator <=(LogPosition left, LogPosition right) => left.CompareTo(right) <= 0;

    public static bool operator >=(LogPosition left, LogPosition right) => left.CompareTo(right) >= 0;

    public override string ToString() => $"{Number}:{OffsetBytes}";
}
