using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

// Disks that are slow, full, failing or gone, and hosts that lose their power.
internal sealed partial class SimFaults
{
    private void SlowDisk(SimNode node)
    {
        Tally();
        node.HasSlowDisk = true;
        world.At(_random.Percent(70) ? _random.Between(1_000_000, 6_000_000) : _random.Between(6_000_000, 20_000_000), () => node.HasSlowDisk = false);
    }

    private void NoSpace(SimNode node)
    {
        Tally();
        node.HasNoSpace = true;
        world.At(_random.Between(200_000, 5_000_000), () => node.HasNoSpace = false);
    }

    private void FailSync(SimNode node)
    {
        Tally();
        // A copy whose disk failed is out, whatever the minimum is: then no other copy of a rotten block is promised.
        if (world.Profile.Rots) return;
        (node.FailsSync, node.FailsEverySync) = (node.IsAlive, _random.Percent(50));
        world.At(_random.Between(500_000, 5_000_000), () => RestartSoon(node, _random.Between(50_000, 1_000_000)));
    }

    /// <summary>What only a real disk can do.</summary>
    private void BreakDisk(SimNode node)
    {
        switch (_random.Below(world.Profile.PowerLoss ? 10 : 6))
        {
            case 6 or 7: LosePowerAndKillOthers(node); break;
            case 8 or 9: FailSyncAndKillOthers(node); break;
            case 0 or 1 or 2: DieInACall(node); break;
            case 3: FailWrite(node); break;
            case 4: FailRead(node); break;
            default: FailSync(node); break;
        }
    }

    private void Rot()
    {
        if (!_isOver) RotSome();
    }

    /// <summary>
    /// Blocks of one copy, while all copies are good: with a bad block on two of them and one disk more to go, nobody promises anything. The last time is when all faults are over: what
    /// only a snapshot keeps has to be mended too, not only deleted.
    /// </summary>
    public void RotSome()
    {
        if (!world.Replicas.All(each => each.IsWorking && each.Storage is { IsIntact: true, DiesSoon: false }) || world.Journal.State.InSync.Length < world.Profile.Replicas) return;
        Tally();
        var node = Pick();
        for (var blocks = _random.Between(1, 4); blocks > 0; blocks--) node.Storage.Rot((ulong)_random.Below((int)world.Profile.Blocks));
    }

    /// <summary>
    /// The sync of what clients were answered fails while the journal is slow, so that nobody is journaled out for it; once the disk has noted it, all processes end.
    /// The one whose page cache forgets what the sync left is there first.
    /// </summary>
    private void FailSyncAndKillOthers(SimNode node) => When(() => HasUnflushed(node), 4_000_000, () =>
    {
        (node.FailsSync, node.FailsEverySync) = (true, false);
        world.Journal.DelayUs = 3_000_000;
        When(() => node.Storage.HasNotedFailure, 2_000_000, () =>
        {
            Tally(nameof(FailSyncAndKillOthers));
            RestartAlone(node);
        }, () => (node.FailsSync, world.Journal.DelayUs) = (false, 0));
    }, () => { });

    /// <summary>Waits for the moment, but not for long; then what is said to follow in any case.</summary>
    private void When(Func<bool> holds, long forUs, Action act, Action after)
    {
        if (_isOver) return;
        var isNow = holds();
        if (isNow) act();
        if (isNow || forUs <= 0) after();
        else world.At(LookUs, () => When(holds, forUs - LookUs, act, after));
    }

    private void DieInACall(SimNode node)
    {
        Tally();
        var power = world.Profile.PowerLoss && _random.Percent(40);
        if (power) PowerLosses++;
        // What is left of the turn says that the call failed, which no process does that is gone: the copy is out then, as with a disk that failed (seed 7002385).
        var isRotten = world.Profile.Rots && !world.Replicas.All(each => each.IsWorking && each.Storage is { IsIntact: true, DiesSoon: false });
        var operations = _random.Percent(50) ? 4 : 60;
        if (!isRotten) node.Storage.DieWithin(operations, power);
        world.At(_random.Between(200_000, 4_000_000), () =>
        {
            node.Storage.Calm();
            StartUnlessHeld(node);
        });
    }

    private void FailWrite(SimNode node)
    {
        if (world.Profile.Rots) return;
        Tally();
        node.FailsWrite = node.IsAlive;
        world.At(_random.Between(500_000, 5_000_000), () => RestartSoon(node, _random.Between(50_000, 1_000_000)));
    }

    private void FailRead(SimNode node)
    {
        Tally();
        node.FailsRead = node.IsAlive;
    }

    private void LoseDisk(SimNode node)
    {
        if (MayLoseDisk() && world.Replicas.All(other => other.IsWorking)) ReplaceDisk(node);
        Kill(node, _random.Between(20_000, 4_000_000));
    }

    /// <summary>One disk at a time, and only while every other copy is in sync: P1 promises nothing beyond.</summary>
    private bool MayLoseDisk() => world.Profile.LosesDisks && world.NowUs >= _diskLossNotBeforeUs && world.Profile.Replicas > 2
        && world.Journal.Undecided == 0 && world.Journal.State.InSync.Length == world.Profile.Replicas && world.Clones.AreInSync;

    private void ReplaceDisk(SimNode node)
    {
        Tally();
        _diskLossNotBeforeUs = world.NowUs + DiskLossPauseUs;
        node.LoseDisk(!_random.Percent(70) ? SimBackup.None : _random.Percent(60) && IsOlderKnown(node) ? SimBackup.Older : SimBackup.AsFound);
    }

    /// <summary>The journal knows of a later open than the older backup had: that was not taken while the store was closed.</summary>
    private bool IsOlderKnown(SimNode node) => node.StoreOpens.Count > OpensOfABackup
        && world.Journal.State.Member(node.Replica)?.StoreOpenCount + OpensOfABackup > node.StoreOpens.Count;

    /// <summary>
    /// At a moment when the volume can do without it: a copy that nobody reaches any more leaves the set only above the minimum, and the one that is left then must not be lost too.
    /// </summary>
    private void LoseName(SimNode node) => When(() => CanSpare(node), 4_000_000, () =>
    {
        Tally(nameof(LoseName));
        _quietUntilUs = Math.Max(_quietUntilUs, world.NowUs + NoticeUs);
        // Its copy is gone like one whose disk is.
        _diskLossNotBeforeUs = Math.Max(_diskLossNotBeforeUs, world.NowUs + DiskLossPauseUs);
        node.LoseName();
        RestartSoon(node, _random.Between(20_000, 1_000_000));
    }, () => { });

    private bool CanSpare(SimNode node)
    {
        var state = world.Journal.State;
        return world.NowUs >= _diskLossNotBeforeUs && state.InSync.Length > Math.Max(1, state.InSyncMin) && world.Replicas.All(other => other.IsWorking) && state.Member(node.Replica) is not null
            && state.InSync.All(member => world.Replicas.Any(other => other.Replica == member.Id && other is { FailsSync: false, Machine.IsFailed: false }))
            && ReachesAll(state);
    }

    /// <summary>The owner serves with just the set that is journaled: it will be the one that takes the lost copy out, and no change of the set is under way.</summary>
    private bool ReachesAll(VolumeState state) => world.Director is { IsServing: true, Owner: { } owner } && owner.Machine.State.Version == state.Version
        && world.Journal.Undecided == 0 && owner.Machine.View().Replicas.Count(replica => replica.State == "in-sync") == state.InSync.Length;

    private void LosePower(SimNode node)
    {
        Tally();
        PowerLosses++;
        node.LosePower();
        RestartSoon(node, _random.Between(200_000, 6_000_000));
    }

    /// <summary>
    /// At a moment when it has something that clients were answered and that is not on its media. It is there first; what it lost is with the others, whose
    /// processes only ended.
    /// </summary>
    private void LosePowerAndKillOthers(SimNode node) => When(() => HasUnflushed(node), 4_000_000, () =>
    {
        Tally(nameof(LosePowerAndKillOthers));
        PowerLosses++;
        node.LosePower();
        RestartAlone(node);
    }, () => { });

    private bool HasUnflushed(SimNode node) => node.IsWorking && world.Journal.State.Member(node.Replica) is not null && node.Storage.Media?.Sequence < world.History.HighestSeen;

    /// <summary>
    /// In half of the cases at a moment when no host has on media what clients were answered, and no disk keeps a byte of it; in half of these nothing else breaks
    /// until the sessions that live have presented it (R13).
    /// </summary>
    private void LoseAllPower()
    {
        if (_random.Percent(50)) LoseAllPowerNow(keepsSome: true);
        else When(() => world.Replicas.All(HasUnflushed), 4_000_000, () => LoseAllPowerNow(keepsSome: false), () => { });
    }

    private void LoseAllPowerNow(bool keepsSome)
    {
        Tally(keepsSome ? nameof(LoseAllPower) : "LoseAllUnflushed");
        if (!keepsSome && _random.Percent(50)) _quietUntilUs = world.NowUs + (3 * QuietUs);
        PowerLosses++;
        foreach (var node in world.Replicas)
        {
            node.LosePower(keepsSome);
            RestartSoon(node, _random.Between(200_000, 4_000_000));
        }
    }
}
