namespace Cluster.Csi.Nbd;

/// <summary>What a server's clients have asked for and got. Written on its loop; any thread reads, each number by itself.</summary>
public sealed class NbdStatistics
{
    private readonly long[] _commands = new long[(int)NbdCommandType.BlockStatus + 1];
    private readonly long[] _bytes = new long[(int)NbdCommandType.BlockStatus + 1];
    private long _failed;

    /// <summary>Names of the commands that are counted, as in metrics.</summary>
    public static IReadOnlyList<string> Commands { get; } = [.. Enum.GetValues<NbdCommandType>().Where(type => type != NbdCommandType.Disconnect).Select(NameOf)];

    /// <summary>Commands that ended, those that failed included.</summary>
    public long CountOf(string command) => Volatile.Read(ref _commands[(int)TypeOf(command)]);

    /// <summary>Bytes that they covered, those that failed left out.</summary>
    public long BytesOf(string command) => Volatile.Read(ref _bytes[(int)TypeOf(command)]);

    /// <summary>Commands that were answered with an error.</summary>
    public long Failed => Volatile.Read(ref _failed);

    internal void Ended(NbdCommandType type, uint lengthBytes, bool failed)
    {
        if (type > NbdCommandType.BlockStatus)
        {
            Volatile.Write(ref _failed, _failed + 1);
            return;
        }
        Volatile.Write(ref _commands[(int)type], _commands[(int)type] + 1);
        if (failed) Volatile.Write(ref _failed, _failed + 1);
        else Volatile.Write(ref _bytes[(int)type], _bytes[(int)type] + lengthBytes);
    }

    private static string NameOf(NbdCommandType type) => type switch
    {
        NbdCommandType.WriteZeroes => "write-zeroes",
        NbdCommandType.BlockStatus => "block-status",
        _ => type.ToString().ToLowerInvariant(),
    };

    private static NbdCommandType TypeOf(string command) => Enum.GetValues<NbdCommandType>().First(type => NameOf(type) == command);
}
