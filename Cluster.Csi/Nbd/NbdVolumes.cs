using System.Collections.Concurrent;
using System.Diagnostics;

namespace Cluster.Csi.Nbd;

/// <summary>Commands as they are counted by volume: <see cref="NbdCommandType.WriteZeroes"/> is a write, and what only asks is left out.</summary>
public enum NbdVolumeCommand
{
    Read,
    Write,
    Flush,
    Trim,
}

/// <summary>What a server's clients did with one volume. Written on the server's loop; any thread reads, each number by itself.</summary>
public sealed class NbdVolumeStatistics
{
    private const int Kinds = (int)NbdVolumeCommand.Trim + 1;

    private readonly long[] _commands = new long[Kinds];
    private readonly long[] _bytes = new long[Kinds];
    private readonly long[] _waitTicks = new long[Kinds];
    private readonly long[] _waits = new long[Kinds];
    private long _failed;

    /// <summary>Commands that ended, those that failed included.</summary>
    public long CountOf(NbdVolumeCommand command) => Volatile.Read(ref _commands[(int)command]);

    /// <summary>Bytes that they covered, those that failed left out.</summary>
    public long BytesOf(NbdVolumeCommand command) => Volatile.Read(ref _bytes[(int)command]);

    /// <summary>Seconds from parsed to answered of those that were timed.</summary>
    public double WaitSecondsOf(NbdVolumeCommand command) => (double)Volatile.Read(ref _waitTicks[(int)command]) / Stopwatch.Frequency;

    /// <summary>Commands that were timed.</summary>
    public long WaitsOf(NbdVolumeCommand command) => Volatile.Read(ref _waits[(int)command]);

    /// <summary>Commands that were answered with an error.</summary>
    public long Failed => Volatile.Read(ref _failed);

    /// <param name="ticks">Of <see cref="Stopwatch"/>, from parsed to answered; 0: not timed.</param>
    internal void Ended(NbdCommandType type, uint lengthBytes, bool failed, long ticks)
    {
        if (failed) Volatile.Write(ref _failed, _failed + 1);
        if (KindOf(type) is not { } command) return;
        var at = (int)command;
        Volatile.Write(ref _commands[at], _commands[at] + 1);
        if (!failed) Volatile.Write(ref _bytes[at], _bytes[at] + lengthBytes);
        if (ticks == 0) return;
        Volatile.Write(ref _waitTicks[at], _waitTicks[at] + ticks);
        Volatile.Write(ref _waits[at], _waits[at] + 1);
    }

    private static NbdVolumeCommand? KindOf(NbdCommandType type) => type switch
    {
        NbdCommandType.Read => NbdVolumeCommand.Read,
        NbdCommandType.Write or NbdCommandType.WriteZeroes => NbdVolumeCommand.Write,
        NbdCommandType.Flush => NbdVolumeCommand.Flush,
        NbdCommandType.Trim => NbdVolumeCommand.Trim,
        _ => null,
    };
}

/// <summary>
/// The volumes that a server's clients have open, or had, by full name. Joined and left on the server's loop; any thread reads. Of volumes beyond <see cref="Max"/> those go that nobody has open, the
/// one that was left first before the others; if all are open the further ones are counted together.
/// </summary>
public sealed class NbdVolumes
{
    /// <summary>Volumes told apart.</summary>
    public const int Max = 1024;

    /// <summary>Name of all the others.</summary>
    public const string Others = "(others)";

    private readonly ConcurrentDictionary<string, NbdVolumeStatistics> _volumes = new(StringComparer.Ordinal);

    /// <summary>Connections of each; on the loop.</summary>
    private readonly Dictionary<string, int> _open = new(StringComparer.Ordinal);

    /// <summary>Left by all, in that order; on the loop.</summary>
    private readonly LinkedList<string> _left = [];

    public IEnumerable<KeyValuePair<string, NbdVolumeStatistics>> All => _volumes;

    /// <param name="volume">Its full name. The answer is left with the same.</param>
    internal NbdVolumeStatistics Join(string volume)
    {
        var connections = _open.GetValueOrDefault(volume);
        _open[volume] = connections + 1;
        if (connections == 0) _left.Remove(volume);
        if (_volumes.TryGetValue(volume, out var known)) return known;
        if (!HasPlace && _left.First is { } oldest)
        {
            _left.RemoveFirst();
            _volumes.TryRemove(oldest.Value, out _);
        }
        return _volumes.GetOrAdd(HasPlace ? volume : Others, _ => new NbdVolumeStatistics());
    }

    private bool HasPlace => _volumes.Count - (_volumes.ContainsKey(Others) ? 1 : 0) < Max;

    internal void Leave(string volume)
    {
        if (--_open[volume] > 0) return;
        _open.Remove(volume);
        if (_volumes.ContainsKey(volume)) _left.AddLast(volume);
    }
}
