using System.Diagnostics;
using System.Globalization;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Database;

/// <summary>PostgreSQL, with checksums of its pages.</summary>
internal sealed class Postgres(string directory, string mount) : DatabaseServer(directory, mount)
{
    private const string Port = "5432";
    private static readonly string? Programs = Directory.Exists("/usr/lib/postgresql")
        ? Directory.GetFiles("/usr/lib/postgresql", "initdb", SearchOption.AllDirectories).Order(StringComparer.Ordinal).LastOrDefault() : null;

    public override string User => "postgres";

    public override IEnumerable<string> Troubles() => LogLines().Where(line => line.Contains("ERROR", StringComparison.Ordinal)
        || line.Contains("FATAL", StringComparison.Ordinal) || line.Contains("PANIC", StringComparison.Ordinal));

    public override async Task CreateAsync()
    {
        Assert.True(Programs is not null, "This test needs PostgreSQL: ./test installs it.");
        Directory.CreateDirectory(Data);
        await RootTools.RunAsync("chown", User, Data);
        await AsUserAsync(Program("initdb"), "--data-checksums", "--no-sync", "-A", "trust", "-D", Data);
        await RootTools.RunAsync("sync", "-f", Data);
    }

    public override async Task StartAsync()
    {
        Directory.CreateDirectory(Sockets);
        await RootTools.RunAsync("chown", User, Sockets);
        await AsUserAsync(Program("pg_ctl"), "-D", Data, "-l", LogPath, "-w", "-t", "60", "-o",
            $"-p {Port} -k {Sockets} -c listen_addresses= -c checkpoint_timeout=30s -c max_wal_size=128MB", "start");
        Started = int.Parse(File.ReadLines(Path.Combine(Data, "postmaster.pid")).First(), CultureInfo.InvariantCulture);
    }

    public override Task StopAsync() => AsUserAsync(Program("pg_ctl"), "-D", Data, "-w", "-m", "fast", "stop");

    public override void Unlock() => File.Delete(Path.Combine(Data, "postmaster.pid"));

    public override ProcessStartInfo Session(string database) => Piped(Program("psql"), Connection(database));

    public override Task CreateDatabaseAsync(string database) => AskAsync(User, $"CREATE DATABASE {database}");

    public override async Task<string[]> AskAsync(string database, string sql) => Lines((await Tool.RunAsync(Program("psql"), [.. Connection(database), "-c", sql])).Ok());

    /// <summary>Each row against each index.</summary>
    public override async Task CheckAsync(string database) => (await Tool.RunAsync(Program("pg_amcheck"), "-h", Sockets, "-p", Port, "-U", User,
        "-d", database, "--install-missing", "--heapallindexed", "--parent-check")).Ok();

    private static string Program(string name) => Path.Combine(Path.GetDirectoryName(Programs!)!, name);

    private IEnumerable<string> Connection(string database) => ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", Sockets, "-p", Port, "-U", User, "-d", database];
}
