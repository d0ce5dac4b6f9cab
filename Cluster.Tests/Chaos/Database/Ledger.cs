using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Cluster.Tests.Chaos.Database;

/// <summary>
/// Transfers between accounts, by several sessions at one time. What was committed is written down here, outside of the database, only
/// when the database has said so.
/// </summary>
internal sealed class Ledger(Postgres server)
{
    public const string Database = "ledger";
    private const int Accounts = 50;
    private const int WaitMs = 90_000;

    private readonly ConcurrentDictionary<long, bool> _begun = [];
    private readonly ConcurrentDictionary<long, bool> _committed = [];
    private readonly ConcurrentBag<string> _errors = [];
    private readonly List<Task> _sessions = [];
    private CancellationTokenSource _stop = new();
    private long _last;

    public int Committed => _committed.Count;

    /// <summary>What sessions that were not told to stop have ended with.</summary>
    public IReadOnlyList<string> Errors => [.. _errors];

    public async Task CreateAsync()
    {
        await server.AskAsync(Postgres.User, $"CREATE DATABASE {Database}");
        await server.AskAsync(Database, "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);"
            + "CREATE TABLE transfer (id bigint PRIMARY KEY, origin int NOT NULL, target int NOT NULL, amount bigint NOT NULL, note text NOT NULL);"
            + "CREATE INDEX ON transfer (origin); CREATE INDEX ON transfer (target);"
            + FormattableString.Invariant($"INSERT INTO account SELECT number, 0 FROM generate_series(1, {Accounts}) number"));
    }

    public void Start(int sessions)
    {
        _stop = new CancellationTokenSource();
        _errors.Clear();
        _sessions.Clear();
        for (var number = 0; number < sessions; number++) _sessions.Add(WorkAsync(new Random(number), _stop.Token));
    }

    /// <summary>Returns when every session has ended: by its server's end, or after its present transfer.</summary>
    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_sessions);
        _stop.Dispose();
    }

    public async Task WaitForMoreAsync(int transfers)
    {
        var wanted = Committed + transfers;
        for (var waited = Stopwatch.StartNew(); Committed < wanted; await Task.Delay(20))
        {
            Assert.True(waited.ElapsedMilliseconds < WaitMs, $"only {Committed} of {wanted} transfers are committed");
            Assert.True(_errors.IsEmpty, string.Join('\n', _errors));
        }
    }

    /// <summary>Everything that was committed is there, whole, and nothing that nobody asked for.</summary>
    public async Task CheckAsync()
    {
        var found = (await server.AskAsync(Database, "SELECT id FROM transfer")).Select(row => long.Parse(row, CultureInfo.InvariantCulture)).ToHashSet();
        Assert.Empty(_committed.Keys.Where(id => !found.Contains(id)).Order());
        Assert.Empty(found.Where(id => !_begun.ContainsKey(id)).Order());
        Assert.Equal(["0"], await server.AskAsync(Database, "SELECT sum(balance) FROM account"));
        Assert.Equal(["0"], await server.AskAsync(Database, "SELECT count(*) FROM account WHERE balance <> "
            + "coalesce((SELECT sum(amount) FROM transfer WHERE target = account.id), 0) - coalesce((SELECT sum(amount) FROM transfer WHERE origin = account.id), 0)"));
    }

    private async Task WorkAsync(Random random, CancellationToken stop)
    {
        var start = new ProcessStartInfo(Postgres.Program("psql"), server.ConnectionOf(Database))
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var session = Process.Start(start)!;
        var error = session.StandardError.ReadToEndAsync(CancellationToken.None);
        var isAlive = true;
        while (isAlive && !stop.IsCancellationRequested) isAlive = await TransferAsync(session, random);
        session.StandardInput.Close();
        await session.WaitForExitAsync(CancellationToken.None);
        if (!isAlive) _errors.Add($"a session ended with {session.ExitCode}: {await error}");
    }

    /// <summary>psql says the number only after the commit has succeeded. False when the session has ended.</summary>
    private async Task<bool> TransferAsync(Process session, Random random)
    {
        var id = Interlocked.Increment(ref _last);
        var (low, high) = (random.Next(1, Accounts), random.Next(1, 1000));
        var (other, amount) = (random.Next(low + 1, Accounts + 1), random.Next(2) == 0 ? high : -high);
        _begun[id] = true;
        // The lower account first, so that no two transfers wait for each other.
        var sql = string.Create(CultureInfo.InvariantCulture, $"""
            BEGIN;
            INSERT INTO transfer VALUES ({id}, {low}, {other}, {amount}, repeat('{id} ', {random.Next(1, 100)}));
            UPDATE account SET balance = balance - {amount} WHERE id = {low};
            UPDATE account SET balance = balance + {amount} WHERE id = {other};
            COMMIT;
            \echo {id}

            """);
        try
        {
            await session.StandardInput.WriteAsync(sql);
            await session.StandardInput.FlushAsync();
        }
        catch (IOException)
        {
            return false;
        }
        if (await session.StandardOutput.ReadLineAsync() != id.ToString(CultureInfo.InvariantCulture)) return false;
        _committed[id] = true;
        return true;
    }
}
