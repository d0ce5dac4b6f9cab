using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;

namespace Cluster.Tests.Unit.Hosting;

// What was left behind, and what labels want gone: whole groups, or nothing of them.
public sealed partial class SnapshotGroupsSpecs
{
    private static Task<int?> None(VolumeId volume) => Task.FromResult<int?>(null);

    private static Task<bool> Stays(VolumeId volume) => Task.FromResult(false);

    [Fact(DisplayName = "A group goes with the last of its volumes, without a word to owners that are no more; one that can't be looked at stays, and keeps no other from its turn")]
    public async Task Emptied_with_its_volumes()
    {
        await _world.Groups.CreateAsync("all", Members, CancellationToken.None);
        await _world.Groups.CreateAsync("one", Members[..1], CancellationToken.None);
        await _world.Groups.CreateAsync("pair", Members[..2], CancellationToken.None);
        _world.Refuses = (_, _, _) => new ControlFailure(ControlStatus.NotFound, "there is no such volume");
        // The first two are deleted; of the third nobody knows.
        Task<bool> IsGone(VolumeId volume) => volume.Value == 3 ? throw new InvariantException("its stream lacks events") : Task.FromResult(volume.Value <= 2);
        var swept = await _world.Groups.SweepAsync(IsGone, None, CancellationToken.None);
        Assert.Equal(["one Emptied True", "pair Emptied True"], swept.Select(group => $"{group.Name} {group.Step} {group.Failure is null}").Order(StringComparer.Ordinal));
        Assert.Equal(["all"], (await _world.Book.ListAsync(CancellationToken.None)).Records.Select(group => group.Name));
        Assert.Empty(await _world.Groups.SweepAsync(volume => Task.FromResult(volume.Value != 2), None, CancellationToken.None));
        Assert.Equal(["all"], (await _world.Book.ListAsync(CancellationToken.None)).Records.Select(group => group.Name));
    }

    [Fact(DisplayName = "A snapshot that a clone needs keeps its whole group: it is looked at before any of them goes")]
    public async Task Kept_by_a_clone()
    {
        await CreateAsync();
        _world.Refuses = (volume, call, _) => volume.Value == 3 && call == "kept" ? new ControlFailure(ControlStatus.Conflict, "volume new is being cloned from it") : null;
        var failure = await _world.Groups.DeleteAsync("g", CancellationToken.None);
        Assert.Equal((ControlStatus.Conflict, "Snapshot group \"g\" is not deleted, nor any part of it: volume new is being cloned from it"), (failure!.Status, failure.Reason));
        _world.CheckReady("g");
        _world.Refuses = null;
        Assert.Null(await _world.Groups.DeleteAsync("g", CancellationToken.None));
        _world.CheckNothing();
    }

    [Fact(DisplayName = "A deletion that was killed anywhere, or stopped half-way by a clone, is ended by the next sweep; none while it can't be")]
    public async Task Deletions_are_swept()
    {
        for (var step = 1; step <= 5; step++)
        {
            var world = new World();
            await world.Groups.CreateAsync("g", Members, CancellationToken.None);
            (world.KillAt, world.Steps) = (step, 0);
            await Assert.ThrowsAsync<KilledException>(() => world.Groups.DeleteAsync("g", CancellationToken.None));
            world.KillAt = 0;
            var swept = await world.Groups.SweepAsync(Stays, None, CancellationToken.None);
            // Killed before the first step, nobody knows that it was to go.
            if (step == 1) Assert.Empty(swept);
            else
            {
                Assert.Equal((SweepStep.Undone, null), (Assert.Single(swept).Step, swept[0].Failure));
                world.CheckNothing();
            }
        }
        await CreateAsync();
        _world.Refuses = (volume, call, _) => volume.Value == 2 && call == "abort" ? new ControlFailure(ControlStatus.Conflict, "Volume db-log: a clone is being made.") : null;
        await _world.Groups.DeleteAsync("g", CancellationToken.None);
        Assert.Equal(["g 1"], _world.Names);
        Assert.Contains("a clone is being made", Assert.Single(await _world.Groups.SweepAsync(Stays, None, CancellationToken.None)).Failure!.Reason, StringComparison.Ordinal);
        _world.Refuses = null;
        Assert.Null(Assert.Single(await _world.Groups.SweepAsync(Stays, None, CancellationToken.None)).Failure);
        _world.CheckNothing();
    }

    [Fact(DisplayName = "A group whose maker was killed anywhere is finished by a sweep, or nothing is left of it; not while somebody may still be at work")]
    public async Task Creations_are_swept()
    {
        var (ready, gone) = (0, 0);
        for (var step = 1; step <= await StepsAsync(); step++)
        {
            foreach (var isHeld in new[] { false, true })
            {
                var world = new World { KillAt = step, KillAfter = true };
                await Assert.ThrowsAsync<KilledException>(() => world.Groups.CreateAsync("g", Members, CancellationToken.None));
                world.KillAt = 0;
                var before = world.Steps;
                Assert.Empty(await world.Groups.SweepAsync(Stays, None, CancellationToken.None));
                Assert.Equal(before, world.Steps);
                if (!isHeld) world.LoseHolds();
                world.Time.Now += TimeSpan.FromMilliseconds(SnapshotGroups.FreshMs);
                Assert.All(await world.Groups.SweepAsync(Stays, None, CancellationToken.None), group => Assert.Null(group.Failure));
                if (world.Record("g") is null)
                {
                    gone++;
                    world.CheckNothing();
                    continue;
                }
                ready++;
                world.CheckReady("g");
            }
        }
        Assert.True(ready >= 4 && gone >= 8, $"{ready} were finished, {gone} taken back");
    }

    [Fact(DisplayName = "Of groups of the same volumes as many stay as the largest snapshot-group-keep among these says; each goes as a whole, one that is kept stays as a whole, and the next sweep takes it")]
    public async Task Surplus_is_retired()
    {
        var pair = Members[..2];
        for (var number = 1; number <= 5; number++)
        {
            await _world.Groups.CreateAsync($"all-{number}", Members, CancellationToken.None);
            await _world.Groups.CreateAsync($"pair-{number}", pair, CancellationToken.None);
        }
        Assert.Empty(await _world.Groups.SweepAsync(Stays, None, CancellationToken.None));
        Task<int?> KeepOf(VolumeId volume) => Task.FromResult<int?>(volume.Value switch { 1 => 2, 3 => 3, _ => null });
        _world.Refuses = (volume, call, _) => volume.Value == 2 && call == "kept" && _world.Record("pair-2") is { Phase: SnapshotGroupPhase.Ready } && _world.Record("pair-1") is null
            && _world.Record("all-2") is null ? new ControlFailure(ControlStatus.Conflict, "a clone") : null;
        var swept = await _world.Groups.SweepAsync(Stays, KeepOf, CancellationToken.None);
        Assert.Equal(["all-1", "all-2", "pair-1", "pair-2", "pair-3"], swept.Select(group => group.Name).Order(StringComparer.Ordinal));
        Assert.All(swept, group => Assert.Equal(SweepStep.Retired, group.Step));
        var kept = swept.Where(group => group.Failure is not null).Select(group => group.Name).ToArray();
        Assert.Equal(["pair-2", "pair-3"], kept.Order(StringComparer.Ordinal));
        Assert.Equal(["all-3 3", "all-4 3", "all-5 3", "pair-2 2", "pair-3 2", "pair-4 2", "pair-5 2"], _world.Names);
        _world.Refuses = null;
        Assert.Equal(2, (await _world.Groups.SweepAsync(Stays, KeepOf, CancellationToken.None)).Count);
        Assert.Equal(["all-3 3", "all-4 3", "all-5 3", "pair-4 2", "pair-5 2"], _world.Names);
        Assert.Empty(await _world.Groups.SweepAsync(Stays, KeepOf, CancellationToken.None));
    }

    [Fact(DisplayName = "A new group retires older ones of the same volumes only")]
    public async Task Retired_behind()
    {
        var pair = Members[..2];
        for (var number = 1; number <= 3; number++) await _world.Groups.CreateAsync($"pair-{number}", pair, CancellationToken.None);
        for (var number = 1; number <= 2; number++) await _world.Groups.CreateAsync($"all-{number}", Members, CancellationToken.None);
        var asked = new HashSet<ulong>();
        Task<int?> KeepOf(VolumeId volume)
        {
            asked.Add(volume.Value);
            return Task.FromResult<int?>(1);
        }
        var swept = await _world.Groups.RetireBehindAsync(_world.Record("pair-3")!, KeepOf, CancellationToken.None);
        Assert.Equal(["pair-1", "pair-2"], swept.Select(group => group.Name).Order(StringComparer.Ordinal));
        Assert.Equal(["all-1 3", "all-2 3", "pair-3 2"], _world.Names);
        Assert.Equal([1UL, 2UL], asked.Order());
    }

    [Fact(DisplayName = "A group that can't be looked at, and a volume of which nobody knows what it wants kept, are told, and keep no other group from its turn")]
    public async Task One_bad_group()
    {
        var one = Members[..1];
        await _world.Groups.CreateAsync("all-1", Members, CancellationToken.None);
        await _world.Groups.CreateAsync("all-2", Members, CancellationToken.None);
        await _world.Groups.CreateAsync("one-1", one, CancellationToken.None);
        await _world.Groups.CreateAsync("one-2", one, CancellationToken.None);
        static Task<int?> KeepOf(VolumeId volume) => volume.Value == 3 ? throw new InvariantException("its stream lacks events") : Task.FromResult<int?>(1);
        var swept = await _world.Groups.SweepAsync(Stays, KeepOf, CancellationToken.None);
        Assert.Equal(["all-1", "one-1"], swept.Select(group => group.Name).Order(StringComparer.Ordinal));
        Assert.Contains("its stream lacks events", swept.Single(group => group.Failure is not null).Failure!.Reason, StringComparison.Ordinal);
        Assert.Equal(["all-1 3", "all-2 3", "one-2 1"], _world.Names);
        // One that was begun and left, whose owner makes trouble, comes first by name.
        _world.Refuses = (volume, call, _) => call == "abort" && volume.Value == 2 ? throw new InvariantException("an owner gone mad") : null;
        var failed = await _world.Groups.SweepAsync(Stays, volume => Task.FromResult<int?>(volume.Value == 3 ? 1 : null), CancellationToken.None);
        Assert.Contains("an owner gone mad", Assert.Single(failed).Failure!.Reason, StringComparison.Ordinal);
        await _world.Groups.CreateAsync("one-3", one, CancellationToken.None);
        var both = await _world.Groups.SweepAsync(Stays, _ => Task.FromResult<int?>(1), CancellationToken.None);
        Assert.Equal(["all-1 False", "one-2 True"], both.Select(group => $"{group.Name} {group.Failure is null}").Order(StringComparer.Ordinal));
    }

    [Fact(DisplayName = "A record that can't be read is told by name, stays as it is, and keeps no other group from its turn; it still counts, and is a failure to whoever asks for it")]
    public async Task Unreadable_record()
    {
        var one = Members[..1];
        await _world.Groups.CreateAsync("a-bad", one, CancellationToken.None);
        await _world.Groups.CreateAsync("one-1", one, CancellationToken.None);
        await _world.Groups.CreateAsync("one-2", one, CancellationToken.None);
        _world.Damage("a-bad");
        var swept = await _world.Groups.SweepAsync(Stays, _ => Task.FromResult<int?>(1), CancellationToken.None);
        Assert.Equal(["a-bad Read False", "one-1 Retired True"], swept.Select(group => $"{group.Name} {group.Step} {group.Failure is null}"));
        Assert.Contains("record version 99 is not known", swept[0].Failure!.Reason, StringComparison.Ordinal);
        Assert.Equal(["a-bad"], (await _world.Book.ListAsync(CancellationToken.None)).Unreadable.Select(group => group.Name));
        Assert.Equal(2, (await _world.Book.ListAsync(CancellationToken.None)).Count);
        await Assert.ThrowsAsync<JournalFormatException>(() => _world.Groups.DeleteAsync("a-bad", CancellationToken.None));
        // A new group of the same volumes is not held up either.
        await _world.Groups.CreateAsync("one-3", one, CancellationToken.None);
        Assert.Equal(["one-2"], (await _world.Groups.RetireBehindAsync(_world.Record("one-3")!, _ => Task.FromResult<int?>(1), CancellationToken.None)).Select(group => group.Name));
    }

    [Fact(DisplayName = "What is surplus is told by a volume's order, not by clocks; at most so many go at once")]
    public void Retention()
    {
        SnapshotGroupRecord Group(string name, ulong unixMs, ulong sequence) => new(SnapshotGroupPhase.Ready, name, Guid.NewGuid(), unixMs, [new(new VolumeId(2), "b", 900 - sequence, 1), new(new VolumeId(1), "a", sequence, 1)]);
        var groups = new[] { Group("third", 10, 30), Group("first", 20, 10), Group("second", 30, 20) };
        Assert.Equal(["first"], SnapshotGroupRetention.Surplus(groups, volume => volume.Value == 2 ? 2 : 1).Select(group => group.Name));
        Assert.Equal(["first", "second"], SnapshotGroupRetention.Surplus(groups, volume => volume.Value == 2 ? 1 : null).Select(group => group.Name));
        Assert.Empty(SnapshotGroupRetention.Surplus(groups, _ => null));
        var many = Enumerable.Range(1, 50).Select(number => Group($"g{number}", (ulong)number, (ulong)number));
        var surplus = SnapshotGroupRetention.Surplus(many, _ => 5);
        Assert.Equal((SnapshotGroupRetention.DeletedAtOnceMax, "g1"), (surplus.Length, surplus[0].Name));
    }
}
