using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;

namespace Cluster.Tests.Chaos.Database;

/// <summary>
/// Transfers between accounts, by several sessions at one time. What was committed is written down here, outside of the database, only
/// when the database has said so.
/// </summary>
internal sealed class Ledger(DatabaseServer server)
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
    private long _longestMs;

    public int Committed => _committed.Count;

    /// <summary>The longest that one transfer has taken since <see cref="Start"/>.</summary>
    public long LongestMs => Interlocked.Read(ref _longestMs);

    /// <summary>Those that are committed now: a copy of the database that is taken from now on has them.</summary>
    public IReadOnlyCollection<long> CommittedNow() => [.. _committed.Keys];

    /// <summary>What sessions that were not told to stop have ended with.</summary>
    public IReadOnlyList<string> Errors => [.. _errors];

    public async Task CreateAsync()
    {
        await server.CreateDatabaseAsync(Database);
        await server.AskAsync(Database, "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);"
            + "CREATE TABLE transfer (id bigint PRIMARY KEY, origin int NOT NULL, target int NOT NULL, amount bigint NOT NULL, note text NOT NULL);"
            + "CREATE INDEX transfer_origin ON transfer (origin); CREATE INDEX transfer_target ON transfer (target);"
            + "INSERT INTO account VALUES " + string.Join(", ", Enumerable.Range(1, Accounts).Select(id => FormattableString.Invariant($"({id}, 0)"))));
    }

    public void Start(int sessions)
    {
        _stop = new CancellationTokenSource();
        _errors.Clear();
        _sessions.Clear();
        Interlocked.Exchange(ref _longestMs, 0);
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
    public Task CheckAsync() => CheckAsync(server, CommittedNow());

    /// <summary>As much of it as a copy of the database must have.</summary>
    /// <param name="copy">The server over the copy.</param>
    /// <param name="committed">Transfers that were committed before it was taken.</param>
    public async Task CheckAsync(DatabaseServer copy, IReadOnlyCollection<long> committed)
    {
        var found = (await copy.AskAsync(Database, "SELECT id FROM transfer")).Select(row => long.Parse(row, CultureInfo.InvariantCulture)).ToHashSet();
        Assert.Empty(committed.Where(id => !found.Contains(id)).Order());
        Assert.Empty(found.Where(id => !_begun.ContainsKey(id)).Order());
        Assert.Equal(["0"], await copy.AskAsync(Database, "SELECT sum(balance) FROM account"));
        Assert.Equal(["0"], await copy.AskAsync(Database, "SELECT count(*) FROM account WHERE balance <> "
            + "coalesce((SELECT sum(amount) FROM transfer WHERE target = account.id), 0) - coalesce((SELECT sum(amount) FROM transfer WHERE origin = account.id), 0)"));
    }

    private async Task WorkAsync(Random random, CancellationToken stop)
    {
        using var session = Process.Start(server.Session(Database))!;
        var error = session.StandardError.ReadToEndAsync(CancellationToken.None);
        var isAlive = true;
        while (isAlive && !stop.IsCancellationRequested)
        {
            var before = Stopwatch.GetTimestamp();
            isAlive = await TransferAsync(session, random);
            var tookMs = (long)Stopwatch.GetElapsedTime(before).TotalMilliseconds;
            InterlockedMax(ref _longestMs, tookMs);
        }
        session.StandardInput.Close();
        await session.WaitForExitAsync(CancellationToken.None);
        if (!isAlive) _errors.Add($"a session ended with {session.ExitCode}: {await error}");
    }

    private static void InterlockedMax(ref long location, long value)
    {
        for (var seen = Interlocked.Read(ref location); value > seen;)
        {
            var found = Interlocked.CompareExchange(ref location, value, seen);
            if (found == seen) return;
            seen = found;
        }
    }

    /// <summary>The number is answered only after the commit has succeeded. False when the session has ended.</summary>
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
            SELECT {id};

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
