using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Journal;
using Cluster.Node.Journal.State;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>C22: who makes a group snapshot dies at every step, and owners change at every step: no half group is ever ready, and nothing is left of one.</summary>
public sealed partial class SnapshotGroupsSpecs
{
    private static readonly ImmutableArray<SnapshotGroupMember> Members =
        [new(new VolumeId(1), "db", 0, 0), new(new VolumeId(2), "db-log", 0, 0), new(new VolumeId(3), "shop/db", 0, 0)];

    private readonly World _world = new();

    private Task<ControlResult<MadeGroup>> CreateAsync(ImmutableArray<SnapshotGroupMember>? members = null) => _world.Groups.CreateAsync("g", members ?? Members, CancellationToken.None);

    [Fact(DisplayName = "A group is made once: the same again finds it, and one of other volumes is a conflict that names them")]
    public async Task Made_once()
    {
        var made = (await CreateAsync()).Value!;
        Assert.True(made.IsNew);
        _world.CheckReady("g");
        Assert.All(made.Record.Members, member => Assert.NotEqual(0UL, member.Sequence));
        var again = (await CreateAsync([.. Members.Reverse()])).Value!;
        Assert.Equal((false, made.Record.Attempt), (again.IsNew, again.Record.Attempt));
        var other = await CreateAsync([.. Members.Take(2)]);
        Assert.Equal(ControlStatus.Conflict, other.Status);
        Assert.Contains("of other volumes (db, db-log, shop/db)", other.Reason, StringComparison.Ordinal);
        Assert.Equal(3, _world.Snapshots);
        Assert.Null(await _world.Groups.DeleteAsync("g", CancellationToken.None));
        _world.CheckNothing();
        Assert.Equal(ControlStatus.NotFound, (await _world.Groups.DeleteAsync("g", CancellationToken.None))!.Status);
    }

    [Fact(DisplayName = "Killed before or after any step, the same request makes the group later, and it is one group; or its deletion leaves nothing")]
    public async Task Killed_anywhere()
    {
        var steps = await StepsAsync();
        // The record, three markers, the record, three commits, the record.
        Assert.Equal(9, steps);
        foreach (var after in new[] { false, true })
        {
            for (var step = 1; step <= steps; step++)
            {
                foreach (var deletes in new[] { false, true })
                {
                    var world = new World { KillAt = step, KillAfter = after };
                    await Assert.ThrowsAsync<KilledException>(() => world.Groups.CreateAsync("g", Members, CancellationToken.None));
                    world.KillAt = 0;
                    world.CheckBooks();
                    world.LoseHolds();
                    world.Time.Now += TimeSpan.FromMilliseconds(SnapshotGroups.FreshMs);
                    if (deletes)
                    {
                        var failure = await world.Groups.DeleteAsync("g", CancellationToken.None);
                        Assert.True(failure is null or { Status: ControlStatus.NotFound }, $"step {step}: {failure?.Reason}");
                        world.CheckNothing();
                    }
                    var made = await world.Groups.CreateAsync("g", Members, CancellationToken.None);
                    Assert.True(made.IsOk, $"step {step}: {made.Reason}");
                    world.CheckReady("g");
                }
            }
        }
    }

    [Fact(DisplayName = "A deletion that is killed anywhere is finished by the next one, or by who wants the name again")]
    public async Task Deletion_killed_anywhere()
    {
        // The record, three deletions, the record.
        for (var step = 1; step <= 5; step++)
        {
            foreach (var creates in new[] { false, true })
            {
                var world = new World();
                await world.Groups.CreateAsync("g", Members, CancellationToken.None);
                (world.KillAt, world.Steps) = (step, 0);
                await Assert.ThrowsAsync<KilledException>(() => world.Groups.DeleteAsync("g", CancellationToken.None));
                world.KillAt = 0;
                world.CheckBooks();
                if (creates)
                {
                    var made = await world.Groups.CreateAsync("g", Members, CancellationToken.None);
                    Assert.True(made.IsOk, $"step {step}: {made.Reason}");
                    world.CheckReady("g");
                    continue;
                }
                Assert.Null(await world.Groups.DeleteAsync("g", CancellationToken.None));
                world.CheckNothing();
            }
        }
    }

    [Fact(DisplayName = "An owner that changes at any step costs another attempt, never a half group")]
    public async Task Owners_change_anywhere()
    {
        var steps = await StepsAsync();
        var (retried, direct) = (0, 0);
        for (var step = 1; step <= steps; step++)
        {
            foreach (var member in Members)
            {
                var world = new World();
                world.OnStep = at =>
                {
                    if (at == step) world.LoseHold(member.Volume);
                    world.CheckBooks();
                };
                var made = await world.Groups.CreateAsync("g", Members, CancellationToken.None);
                Assert.True(made.IsOk, $"step {step}: {made.Reason}");
                world.CheckReady("g");
                if (world.Attempts > 1) retried++;
                else direct++;
            }
        }
        Assert.True(retried >= 5 && direct >= 5, $"{retried} groups were made in a second attempt, {direct} in the first");
    }

    [Fact(DisplayName = "A volume that is busy is waited for a while with nobody's writes held; one that refuses ends it at once, with its reason and nothing left")]
    public async Task Refusals()
    {
        _world.Refuses = (volume, call, times) => volume.Value == 2 && call == "prepare" && times < 3 ? new ControlFailure(ControlStatus.Unavailable, "Volume db-log: busy.") : null;
        Assert.True((await CreateAsync()).IsOk);
        Assert.Equal(3, _world.Attempts);
        await _world.Groups.DeleteAsync("g", CancellationToken.None);

        foreach (var (status, attempts) in new[] { (ControlStatus.Conflict, 1), (ControlStatus.NotFound, 1), (ControlStatus.TimedOut, 1), (ControlStatus.Unavailable, 6) })
        {
            _world.Attempts = 0;
            _world.Refuses = (volume, call, _) => volume.Value == 2 && call == "prepare" ? new ControlFailure(status, "Volume db-log: no.") : null;
            var refused = await CreateAsync();
            Assert.Equal((status, "Snapshot group \"g\" is not made: Volume db-log: no.", attempts), (refused.Status, refused.Reason, _world.Attempts));
            _world.CheckNothing();
            Assert.Equal(0, _world.Holds);
        }
        _world.Attempts = 0;
        _world.Refuses = (volume, call, _) => volume.Value == 3 && call == "served" ? new ControlFailure(ControlStatus.Unavailable, "Volume shop/db: away.") : null;
        Assert.Equal((ControlStatus.Unavailable, 0), ((await CreateAsync()).Status, _world.Attempts));
    }

    [Fact(DisplayName = "A group whose owner does not say whether it committed is unfinished until it is asked for again, and then ready or made anew")]
    public async Task Unknown_commits()
    {
        foreach (var isLost in new[] { false, true })
        {
            var world = new World { Refuses = (volume, call, _) => volume.Value == 2 && call == "commit" ? new ControlFailure(ControlStatus.TimedOut, "The owner of volume db-log did not answer.") : null };
            var unknown = await world.Groups.CreateAsync("g", Members, CancellationToken.None);
            Assert.Equal(ControlStatus.Unavailable, unknown.Status);
            Assert.Contains("did not answer. It stays unfinished until it is asked for again, or deleted.", unknown.Reason, StringComparison.Ordinal);
            Assert.Equal(SnapshotGroupPhase.Marked, world.Record("g")!.Phase);
            world.Refuses = null;
            if (isLost) world.LoseHolds();
            Assert.True((await world.Groups.CreateAsync("g", Members, CancellationToken.None)).IsOk);
            world.CheckReady("g");
        }
    }

    [Fact(DisplayName = "A wall clock that is set by a day while a group is finished neither ends the waiting for an owner nor prolongs it")]
    public async Task Wall_clock_is_set()
    {
        var late = new ControlFailure(ControlStatus.TimedOut, "The owner of volume db-log did not answer.");
        _world.Refuses = (volume, call, times) =>
        {
            if (volume.Value != 2 || call != "commit" || times > 1) return null;
            _world.Time.Now += TimeSpan.FromDays(1);
            return late;
        };
        Assert.True((await CreateAsync()).IsOk);
        _world.CheckReady("g");

        var (world, asked) = (new World(), 0);
        world.Refuses = (volume, call, times) =>
        {
            if (volume.Value != 2 || call != "commit") return null;
            if (times == 1) world.Time.Now -= TimeSpan.FromDays(1);
            asked = times;
            return late;
        };
        Assert.Equal(ControlStatus.Unavailable, (await world.Groups.CreateAsync("g", Members, CancellationToken.None)).Status);
        Assert.InRange(asked, 2, 1000);
    }

    [Fact(DisplayName = "Two who make one group at one time make one, and neither takes the other's back")]
    public async Task Two_at_one_time()
    {
        for (var step = 1; step <= await StepsAsync(); step++)
        {
            var world = new World();
            ControlResult<MadeGroup>? other = null;
            world.OnStep = at =>
            {
                if (at != step) return;
                world.OnStep = null;
                other = world.Groups.CreateAsync("g", Members, CancellationToken.None).GetAwaiter().GetResult();
            };
            var first = await world.Groups.CreateAsync("g", Members, CancellationToken.None);
            Assert.True(first.IsOk || other!.Value.IsOk, $"step {step}: {first.Reason} / {other!.Value.Reason}");
            Assert.True(first.IsOk || first.Status == ControlStatus.Unavailable);
            world.CheckReady("g");
        }
    }

    [Fact(DisplayName = "A clone that begins while its group is being deleted keeps what it needs, and what is left is shown as being deleted")]
    public async Task Kept_by_a_clone_that_began_meanwhile()
    {
        await CreateAsync();
        _world.Refuses = (volume, call, _) => volume.Value == 2 && call == "abort" ? new ControlFailure(ControlStatus.Conflict, "Volume db-log: a clone is being made.") : null;
        var failure = await _world.Groups.DeleteAsync("g", CancellationToken.None);
        Assert.Equal((ControlStatus.Conflict, "Snapshot group \"g\" is not deleted yet: Volume db-log: a clone is being made."), (failure!.Status, failure.Reason));
        Assert.Equal(SnapshotGroupPhase.Undoing, _world.Record("g")!.Phase);
        _world.Refuses = null;
        Assert.Null(await _world.Groups.DeleteAsync("g", CancellationToken.None));
        _world.CheckNothing();
    }

    private static async Task<int> StepsAsync()
    {
        var world = new World();
        Assert.True((await world.Groups.CreateAsync("g", Members, CancellationToken.None)).IsOk);
        return world.Steps;
    }

    private sealed class KilledException : Exception;

    /// <summary>Pauses end at once, and the clock goes on by them.</summary>
    private sealed class LeapingTime : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        private TimeSpan _since = TimeSpan.FromHours(1);

        public override DateTimeOffset GetUtcNow() => Now;

        public override long GetTimestamp() => (long)(_since.TotalSeconds * TimestampFrequency);

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime > TimeSpan.Zero) (Now, _since) = (Now + dueTime, _since + dueTime);
            return TimeProvider.System.CreateTimer(callback, state, TimeSpan.Zero, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>The journal's keys, and volumes whose owners do what VolumeActor and VolumeMachine do.</summary>
    private sealed class World : IMetaLog, IGroupVolumes
    {
        private readonly MetaState _journal = new();
        private readonly Dictionary<VolumeId, (Guid Attempt, ulong Sequence)> _holds = [];
        private readonly Dictionary<(VolumeId Volume, ulong Sequence), string> _snapshots = [];
        private readonly Dictionary<(VolumeId Volume, string Call), int> _times = [];
        private ulong _sequence = 100;

        public World()
        {
            Book = new SnapshotGroupBook(this);
            Groups = new SnapshotGroups(Book, this, Time);
        }

        public LeapingTime Time { get; } = new();

        public SnapshotGroups Groups { get; }

        public SnapshotGroupBook Book { get; }

        /// <summary>Who makes groups dies at this step; 0: never.</summary>
        public int KillAt { get; set; }

        /// <summary>After its effect.</summary>
        public bool KillAfter { get; set; }

        public int Steps { get; set; }

        public int Attempts { get; set; }

        public int Snapshots => _snapshots.Count;

        public int Holds => _holds.Count;

        public Action<int>? OnStep { get; set; }

        public Func<VolumeId, string, int, ControlFailure?>? Refuses { get; set; }

        public void LoseHolds() => _holds.Clear();

        public void LoseHold(VolumeId volume) => _holds.Remove(volume);

        public SnapshotGroupRecord? Record(string name) => _journal.Key("snapshot-group/" + name) is { } key ? SnapshotGroupRecord.Decode(key.Value) : null;

        /// <summary>The group's record becomes one of a version that nobody knows.</summary>
        public void Damage(string name)
        {
            var key = _journal.Key("snapshot-group/" + name)!;
            Assert.True(_journal.Apply(new MetaCommand.SetKey(key.Key, key.Version, [99, .. key.Value[1..]])).IsOk);
        }

        /// <summary>No half group is ready, and every snapshot is one that some record knows.</summary>
        public void CheckBooks()
        {
            var record = Record("g");
            if (record is { Phase: SnapshotGroupPhase.Ready }) Assert.All(record.Members, member => Assert.Contains((member.Volume, member.Sequence), _snapshots.Keys));
            Assert.All(_snapshots.Where(snapshot => snapshot.Value == "g"), snapshot => Assert.Contains(record?.Members ?? [], member => (member.Volume, member.Sequence) == snapshot.Key));
        }

        public void CheckReady(string name)
        {
            Assert.Equal(SnapshotGroupPhase.Ready, Record(name)!.Phase);
            CheckBooks();
            Assert.Equal(Members.Length, _snapshots.Count);
        }

        public void CheckNothing()
        {
            Assert.Null(Record("g"));
            Assert.Empty(_snapshots);
        }

        private T Step<T>(Func<T> effect)
        {
            Steps++;
            OnStep?.Invoke(Steps);
            if (KillAt > 0 && (Steps > KillAt || (Steps == KillAt && !KillAfter))) throw new KilledException();
            var result = effect();
            if (Steps == KillAt) throw new KilledException();
            return result;
        }

        private ControlFailure? Refuse(SnapshotGroupMember member, string call)
        {
            var times = _times[(member.Volume, call)] = _times.GetValueOrDefault((member.Volume, call)) + 1;
            return Refuses?.Invoke(member.Volume, call, times);
        }

        public Task<ControlFailure?> AwaitServedAsync(SnapshotGroupMember member) => Task.FromResult(Refuse(member, "served"));

        public Task<ControlResult<VolumeProtocol.SnapshotPrepared>> PrepareAsync(SnapshotGroupMember member, Guid attempt, string name) => Task.FromResult(Step<ControlResult<VolumeProtocol.SnapshotPrepared>>(() =>
        {
            if (member.Volume == Members[0].Volume) Attempts++;
            if (Refuse(member, "prepare") is { } failure) return failure;
            if (_holds.ContainsKey(member.Volume)) return new ControlFailure(ControlStatus.Unavailable, "another change of its snapshots is under way");
            if (_snapshots.Any(snapshot => snapshot.Key.Volume == member.Volume && snapshot.Value == name)) return new ControlFailure(ControlStatus.Conflict, $"it has a snapshot {name}");
            _holds.Add(member.Volume, (attempt, ++_sequence));
            return new VolumeProtocol.SnapshotPrepared(member.Volume, attempt, _sequence, 1);
        }));

        public Task<ControlResult<VolumeProtocol.SnapshotView>> CommitAsync(SnapshotGroupMember member, Guid attempt, string name) => Task.FromResult(Step<ControlResult<VolumeProtocol.SnapshotView>>(() =>
        {
            if (Refuse(member, "commit") is { } failure) return failure;
            if (!_snapshots.ContainsKey((member.Volume, member.Sequence)))
            {
                if (!_holds.TryGetValue(member.Volume, out var hold) || hold.Attempt != attempt) return new ControlFailure(ControlStatus.NotFound, "not held any more");
                _holds.Remove(member.Volume);
                _snapshots.Add((member.Volume, hold.Sequence), name);
            }
            return new VolumeProtocol.SnapshotView(member.Volume, name, member.Sequence, 1, true);
        }));

        public Task<string?> WhyKeptAsync(SnapshotGroupMember member) => Task.FromResult(Refuse(member, "kept")?.Reason);

        public IEnumerable<string> Names => _snapshots.Values.GroupBy(name => name).Select(name => $"{name.Key} {name.Count()}").Order(StringComparer.Ordinal);

        public Task<ControlResult<VolumeProtocol.Done>> AbortAsync(SnapshotGroupMember member, Guid attempt) => Task.FromResult(Step<ControlResult<VolumeProtocol.Done>>(() =>
        {
            if (Refuse(member, "abort") is { } failure) return failure;
            if (_holds.TryGetValue(member.Volume, out var hold) && hold.Attempt == attempt) _holds.Remove(member.Volume);
            _snapshots.Remove((member.Volume, member.Sequence));
            return new VolumeProtocol.Done(member.Volume);
        }));

        public Task<MetaAnswer> ProposeAsync(MetaCommand command, CancellationToken ct) => Task.FromResult(Step(() => _journal.Apply(command)));

        public Task<MetaKeyValue?> ReadKeyAsync(string key, CancellationToken ct) => Task.FromResult(_journal.Key(key));

        public Task<IReadOnlyList<MetaKeyValue>> ReadKeysAsync(string prefix, CancellationToken ct) => Task.FromResult(_journal.Keys(prefix));

        public MetaLogStatus Status => throw new NotSupportedException();

        public event Action<MetaLogStatus>? LeaderChanged
        {
            add => throw new NotSupportedException();
            remove => throw new NotSupportedException();
        }

        public Task ReadBarrierAsync(CancellationToken ct) => throw new NotSupportedException();

        public IAsyncEnumerable<MetaEvent> ReadEventsAsync(string persistenceId, long from, long to, long max, CancellationToken ct) => throw new NotSupportedException();

        public Task<long> HighestSequenceNrAsync(string persistenceId, CancellationToken ct) => throw new NotSupportedException();

        public Task<MetaSnapshot?> LoadSnapshotAsync(string persistenceId, MetaSnapshotRange range, CancellationToken ct) => throw new NotSupportedException();

        public Task<GroupView> ReadMembersAsync(CancellationToken ct) => throw new NotSupportedException();

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
