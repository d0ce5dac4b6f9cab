using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Database;

/// <summary>A PostgreSQL server with its data on the file system under test, reached through a socket beside it.</summary>
internal sealed class Postgres(string directory, string mount) : IAsyncDisposable
{
    public const string User = "postgres";
    private const string Port = "5432";
    private const int EndMs = 30_000;
    private static readonly string? Programs = Directory.Exists("/usr/lib/postgresql")
        ? Directory.GetFiles("/usr/lib/postgresql", "initdb", SearchOption.AllDirectories).Order(StringComparer.Ordinal).LastOrDefault() : null;

    private int? _pid;

    private string Data => Path.Combine(mount, "data");

    private string Sockets => Path.Combine(directory, "sockets");

    private string LogPath => Path.Combine(Sockets, "log");

    /// <summary>Of the server that was started; null when it has ended.</summary>
    public int? Pid => _pid is { } pid && IsThere(pid) ? pid : null;

    public static void Require() => Assert.True(Programs is not null, "This test needs PostgreSQL: ./test installs it.");

    public static string Program(string name) => Path.Combine(Path.GetDirectoryName(Programs!)!, name);

    public string Log() => File.Exists(LogPath) ? File.ReadAllText(LogPath) : "";

    public async Task CreateAsync()
    {
        Directory.CreateDirectory(Sockets);
        Directory.CreateDirectory(Data);
        await RootTools.RunAsync("chown", User, Sockets, Data);
        await AsUserAsync(Program("initdb"), "--data-checksums", "--no-sync", "-A", "trust", "-D", Data);
        await RootTools.RunAsync("sync", "-f", Data);
    }

    /// <summary>Returns when it answers, after the recovery that a crash made necessary.</summary>
    public async Task StartAsync()
    {
        await AsUserAsync(Program("pg_ctl"), "-D", Data, "-l", LogPath, "-w", "-t", "60", "-o",
            $"-p {Port} -k {Sockets} -c listen_addresses= -c checkpoint_timeout=30s -c max_wal_size=128MB", "start");
        _pid = int.Parse(File.ReadLines(Path.Combine(Data, "postmaster.pid")).First(), CultureInfo.InvariantCulture);
    }

    public Task StopAsync() => AsUserAsync(Program("pg_ctl"), "-D", Data, "-w", "-m", "fast", "stop");

    /// <summary>kill -9 of all of its processes.</summary>
    public async Task KillAsync()
    {
        if (Pid is not { } server) return;
        var all = ChildrenOf(server).Prepend(server).ToArray();
        foreach (var pid in all) NodeProcess.Signal(pid, NodeProcess.KillNow);
        for (var waited = Stopwatch.StartNew(); all.Any(IsThere); await Task.Delay(10))
        {
            Assert.True(waited.ElapsedMilliseconds < EndMs, "PostgreSQL does not end on kill -9.");
        }
    }

    public IEnumerable<string> ConnectionOf(string database) => ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", Sockets, "-p", Port, "-U", User, "-d", database];

    /// <summary>The rows that the statements answer, a line each.</summary>
    public async Task<string[]> AskAsync(string database, string sql)
    {
        var run = (await Tool.RunAsync(Program("psql"), [.. ConnectionOf(database), "-c", sql])).Ok();
        return run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    /// <summary>Reads every table and index of the database, each row against each index.</summary>
    public async Task CheckAsync(string database) => (await Tool.RunAsync(Program("pg_amcheck"), "-h", Sockets, "-p", Port, "-U", User,
        "-d", database, "--install-missing", "--heapallindexed", "--parent-check")).Ok();

    public async ValueTask DisposeAsync() => await KillAsync();

    private static bool IsThere(int pid) => Directory.Exists(FormattableString.Invariant($"/proc/{pid}"));

    private static IEnumerable<int> ChildrenOf(int parent)
    {
        foreach (var directory in Directory.GetDirectories("/proc"))
        {
            if (!int.TryParse(Path.GetFileName(directory), CultureInfo.InvariantCulture, out var pid)) continue;
            string stat;
            try
            {
                stat = File.ReadAllText(Path.Combine(directory, "stat"));
            }
            catch (IOException)
            {
                continue; // It has ended.
            }
            var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
            if (fields[1] == parent.ToString(CultureInfo.InvariantCulture)) yield return pid;
        }
    }

    private static Task AsUserAsync(params string[] command) => RootTools.RunAsync("runuser", ["-u", User, "--", .. command]);
}
