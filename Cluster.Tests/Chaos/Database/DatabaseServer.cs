using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Database;

/// <summary>A database server with its data on the file system under test, reached through a socket beside it.</summary>
/// <param name="directory">Of its sockets and its log: not on the volume.</param>
/// <param name="mount">Where the volume is mounted.</param>
internal abstract class DatabaseServer(string directory, string mount) : IAsyncDisposable
{
    private const int EndMs = 60_000;

    protected string Data => Path.Combine(mount, "data");

    protected string Sockets => Path.Combine(directory, "sockets");

    protected string LogPath => Path.Combine(Sockets, "log");

    protected int? Started { get; set; }

    /// <summary>Of the server that was started; null when it has ended.</summary>
    public int? Pid => Started is { } pid && IsThere(pid) ? pid : null;

    /// <summary>The user that the server runs as.</summary>
    public abstract string User { get; }

    public static DatabaseServer Create(string kind, string directory, string mount) => kind switch
    {
        "PostgreSQL" => new Postgres(directory, mount),
        "MariaDB" => new MariaDb(directory, mount),
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "PostgreSQL or MariaDB"),
    };

    /// <summary>Lines of its log that a server without trouble does not write.</summary>
    public abstract IEnumerable<string> Troubles();

    /// <summary>Makes its files, and has them on the volume when it returns.</summary>
    public abstract Task CreateAsync();

    /// <summary>Returns when it answers, after the recovery that a crash made necessary.</summary>
    public abstract Task StartAsync();

    public abstract Task StopAsync();

    /// <summary>The files are a copy of a server's that still runs on this host: what keeps a second one from its files says nothing here.</summary>
    public virtual void Unlock()
    {
    }

    /// <summary>A client that reads statements from its input, answers each row on a line of its own as it comes, and ends at the first error.</summary>
    public abstract ProcessStartInfo Session(string database);

    /// <summary>Reads every table and index of the database; fails the test if they are not whole.</summary>
    public abstract Task CheckAsync(string database);

    public abstract Task CreateDatabaseAsync(string database);

    /// <summary>The rows that the statements answer, a line each.</summary>
    public abstract Task<string[]> AskAsync(string database, string sql);

    /// <summary>kill -9 of all of its processes.</summary>
    public async Task KillAsync()
    {
        if (Pid is not { } server) return;
        var all = ChildrenOf(server).Prepend(server).ToArray();
        foreach (var pid in all) NodeProcess.Signal(pid, NodeProcess.KillNow);
        await UntilGoneAsync(all, "kill -9");
    }

    public async ValueTask DisposeAsync() => await KillAsync();

    protected static async Task UntilGoneAsync(IReadOnlyList<int> pids, string after)
    {
        for (var waited = Stopwatch.StartNew(); pids.Any(IsThere); await Task.Delay(10))
            Assert.True(waited.ElapsedMilliseconds < EndMs, $"the database does not end within {EndMs} ms of its {after}");
    }

    protected string[] LogLines() => File.Exists(LogPath) ? File.ReadAllLines(LogPath) : [];

    protected static string[] Lines(ToolRun run) => run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);

    protected Task AsUserAsync(params string[] command) => RootTools.RunAsync("runuser", ["-u", User, "--", .. command]);

    protected static ProcessStartInfo Piped(string program, IEnumerable<string> arguments) => new(program, arguments)
    {
        RedirectStandardInput = true,
        RedirectStandardOutput = true,
        RedirectStandardError = true,
    };

    /// <summary>False for one that has ended and that nobody has waited for yet, too.</summary>
    private static bool IsThere(int pid) => StatOf(pid) is { } fields && fields[0] is not ("Z" or "X");

    private static IEnumerable<int> ChildrenOf(int parent) => Directory.GetDirectories("/proc").Select(path => Path.GetFileName(path)!).Where(name => name.All(char.IsAsciiDigit))
        .Select(name => int.Parse(name, CultureInfo.InvariantCulture)).Where(pid => StatOf(pid) is { } fields && fields[1] == parent.ToString(CultureInfo.InvariantCulture));

    /// <summary>What /proc/PID/stat has behind the name: state, parent and so on; null when the process has ended.</summary>
    private static string[]? StatOf(int pid)
    {
        try
        {
            var stat = File.ReadAllText(FormattableString.Invariant($"/proc/{pid}/stat"));
            return stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        }
        catch (IOException)
        {
            return null; // It has ended.
        }
    }
}
