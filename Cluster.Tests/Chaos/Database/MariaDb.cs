using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Database;

/// <summary>MariaDB with InnoDB, which syncs its log at each commit and writes around the page cache.</summary>
internal sealed class MariaDb(string directory, string mount) : DatabaseServer(directory, mount)
{
    private const int StartMs = 60_000;

    public override string User => "mysql";

    private string Socket => Path.Combine(Sockets, "socket");

    private string PidPath => Path.Combine(Sockets, "pid");

    public override IEnumerable<string> Troubles() => LogLines().Where(line => line.Contains("[ERROR]", StringComparison.Ordinal));

    public override async Task CreateAsync()
    {
        RootTools.Require("mariadbd", "mariadb", "mariadb-install-db");
        Directory.CreateDirectory(Data);
        await RootTools.RunAsync("chown", User, Data);
        (await Tool.RunAsync("mariadb-install-db", "--no-defaults", $"--user={User}", $"--datadir={Data}", "--skip-test-db", "--auth-root-authentication-method=socket")).Ok();
        await RootTools.RunAsync("sync", "-f", Data);
    }

    public override async Task StartAsync()
    {
        Directory.CreateDirectory(Sockets);
        await RootTools.RunAsync("chown", User, Sockets);
        File.Delete(PidPath);
        // In a session of its own, as a service: nobody here has its output open.
        (await Tool.RunAsync("/bin/sh", "-c", "log=$1; shift; setsid -f \"$@\" >>\"$log\" 2>&1 </dev/null", "sh", LogPath, HostTool.Find("mariadbd")!, "--no-defaults", $"--user={User}",
            $"--datadir={Data}", $"--socket={Socket}", $"--pid-file={PidPath}", "--skip-networking", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M",
            "--innodb-flush-method=O_DIRECT")).Ok();
        for (var waited = Stopwatch.StartNew(); !await AnswersAsync(); await Task.Delay(50))
            Assert.True(waited.ElapsedMilliseconds < StartMs, $"MariaDB does not answer within {StartMs} ms:\n{NodeProcess.Tail(LogPath, 30)}");
        Started = int.Parse(await File.ReadAllTextAsync(PidPath), CultureInfo.InvariantCulture);
    }

    public override async Task StopAsync()
    {
        if (Pid is not { } pid) return;
        NodeProcess.Signal(pid, NodeProcess.Term);
        await UntilGoneAsync([pid], "SIGTERM");
    }

    public override ProcessStartInfo Session(string database) => Piped("mariadb", Connection(database));

    public override Task CreateDatabaseAsync(string database) => AskAsync("mysql", $"CREATE DATABASE {database}");

    public override async Task<string[]> AskAsync(string database, string sql) => Lines((await Tool.RunAsync("mariadb", [.. Connection(database), "-e", sql])).Ok());

    public override async Task CheckAsync(string database)
    {
        foreach (var table in await AskAsync(database, "SHOW TABLES"))
        {
            var told = await AskAsync(database, $"CHECK TABLE {table} EXTENDED");
            Assert.All(told, line => Assert.EndsWith("\tstatus\tOK", line, StringComparison.Ordinal));
        }
    }

    private async Task<bool> AnswersAsync() => File.Exists(PidPath) && (await Tool.RunAsync("mariadb", [.. Connection("mysql"), "-e", "SELECT 1"])).Exit == 0;

    private IEnumerable<string> Connection(string database) => ["--no-defaults", "-B", "-N", "--unbuffered", "-u", "root", $"--socket={Socket}", database];
}
