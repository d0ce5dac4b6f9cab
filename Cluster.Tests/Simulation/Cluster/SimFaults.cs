using System.Runtime.CompilerServices;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Breaks things at random times, and mends most of them after a while.</summary>
internal sealed partial class SimFaults(SimWorld world)
{
    private const int RotUs = 300_000;
    private const int LookUs = 1_000;
    private const int QuietUs = 2_500_000;

    /// <summary>From one copy that is gone for good to the next.</summary>
    private const int DiskLossPauseUs = 20_000_000;

    /// <summary>In which the owner notices that a copy is gone for good: another one lost meanwhile would be one more than P1 allows.</summary>
    private const int NoticeUs = 100_000;

    /// <summary>A backup is from before the last two opens.</summary>
    private const int OpensOfABackup = 2;

    private readonly SimRandom _random = new(world.Random.Next());
    private long _diskLossNotBeforeUs;
    private readonly long[] _heldUntilUs = new long[world.Profile.Replicas];
    private long _quietUntilUs;
    private bool _isOver;
    private int _triggersLeft;

    /// <summary>Nothing more breaks for a moment: what was broken has to show first.</summary>
    private bool IsQuiet => world.NowUs < _quietUntilUs;

    public int Count { get; private set; }

    public bool IsOver => _isOver;

    public int Left { get; private set; }

    public int PowerLosses { get; private set; }

    /// <summary>What was broken, and how often.</summary>
    public SimTally Kinds { get; } = new();

    public void Start(int count)
    {
        Left = count;
        _triggersLeft = count;
        PostNext(1_500_000);
        if (world.Profile.Rots) world.Every(RotUs, Rot);
        if (world.Profile is { Attaches: true, AttachesOften: true }) PostAttach();
    }

    /// <summary>Something delicate has just begun at an owner on that node: the best moment to break it.</summary>
    public void OnDelicate(SimNode node, string what)
    {
        if (_isOver || IsQuiet || _triggersLeft == 0 || !_random.Percent(25)) return;
        _triggersLeft--;
        if (what.StartsWith("catch-up of", StringComparison.Ordinal) && world.Profile.CatchesUpSlowly && _random.Percent(60))
        {
            BreakCatchUp(node);
            return;
        }
        if (what.StartsWith("catch-up of", StringComparison.Ordinal) && _random.Percent(50))
        {
            // What the copy answers comes late: it takes new records for long before it is through with the old ones.
            foreach (var other in world.Replicas.Where(other => other != node)) world.Network.Stall(other, node, _random.Between(20_000, 400_000));
            return;
        }
        if (world.Profile.PowerLoss && _random.Percent(20))
        {
            world.At(_random.Between(0, 20_000), LoseAllPower);
            return;
        }
        world.At(_random.Percent(50) ? _random.Between(0, 4_000) : _random.Between(0, 60_000), () =>
        {
            if (_isOver) return;
            Count++;
            var victim = _random.Percent(50) ? node : Pick();
            switch (_random.Below(10))
            {
                case 0 or 1 or 2: Kill(victim, _random.Between(20_000, 4_000_000)); break;
                case 3 or 4: Pause(victim); break;
                case 5 or 6: world.Network.Reset(node, Pick()); break;
                case 7: Isolate(victim); break;
                case 8: world.Network.Stall(Pick(), Pick(), _random.Between(2_000, 2_000_000)); break;
                default: world.Director.Claim(victim); break;
            }
        });
    }

    /// <summary>While a copy is being caught up its node, its owner or the link between them ends, or whoever owned the volume does not any more.</summary>
    private void BreakCatchUp(SimNode owner) => world.At(_random.Between(20_000, 2_500_000), () =>
    {
        if (_isOver) return;
        Count++;
        var other = Pick();
        switch (_random.Below(world.Profile.PowerLoss ? 6 : 5))
        {
            case 0 or 1: Kill(other, _random.Between(20_000, 2_000_000)); break;
            case 2: Kill(owner, _random.Between(20_000, 2_000_000)); break;
            case 3: world.Network.Reset(owner, other); break;
            case 4: world.Director.Claim(other); break;
            default: LosePower(other); break;
        }
    });

    /// <summary>Mends everything; nothing breaks any more.</summary>
    public void End()
    {
        _isOver = true;
        world.Network.Heal();
        (world.Journal.DelayUs, world.Journal.AnswerDelayUs) = (0, 0);
        foreach (var node in world.Nodes)
        {
            (node.HasNoSpace, node.FailsSync, node.HasSlowDisk, node.DiesInNextTurn) = (false, false, false, false);
            (node.FailsWrite, node.FailsRead) = (false, false);
            node.Storage.Calm();
            node.Resume();
            if (!node.IsAlive) node.Start();
            else if (node.Machine is { IsFailed: true } || node.Storage.HasFailed) RestartSoon(node, 0);
        }
    }

    private void PostNext(long delayUs) => world.At(delayUs, () =>
    {
        if (_isOver || Left == 0) return;
        if (!IsQuiet)
        {
            Left--;
            Count++;
            Break();
        }
        PostNext(_random.Percent(35) ? _random.Between(1_000, 300_000) : _random.Between(300_000, 3_500_000));
    });

    private void Break()
    {
        var node = Pick();
        if (world.Profile.RealStore && _random.Percent(30))
        {
            BreakDisk(node);
            return;
        }
        if (world.Profile is { ChangesCopies: true, PowerLoss: false } && _random.Percent(10))
        {
            LoseName(node);
            return;
        }
        switch (_random.Below(world.Profile.PowerLoss ? 37 : 34))
        {
            case 23 or 24: StallAndClaim(node); break;
            case 25 or 26: LatePong(node); break;
            case 27 or 28: RestartOthersAndUsurp(node); break;
            case 29 or 30: RestartAllWithOldDisk(node); break;
            case 11 or 31 or 32 or 33: Attach(); break;
            case 2 or 16 or 17 when world.Profile.ClaimsEarly: StopInOrder(); break;
            case 0 or 1 or 2: Kill(node, _random.Between(20_000, 6_000_000)); break;
            case 4: DieMidTurn(node); break;
            case 5 when world.Profile.LosesDisks: RestartAllWithOldDisk(node); break;
            case 5: KillAll(); break;
            case 6 or 7 or 8: Pause(node); break;
            case 9 or 10: Reset(); break;
            case 12 or 13: Isolate(node); break;
            case 14: CutPair(); break;
            case 15: Stall(); break;
            case 3 or 17: SlowDisk(_random.Percent(30) && world.Director.OwnerNode is { IsWorking: true } owner ? owner : node); break;
            case 18: NoSpace(node); break;
            case 19: FailSync(node); break;
            case 20: SlowJournal(); break;
            case 21 when _random.Percent(60): MoveOrClaim(node); break;
            case 16 or 21: Usurp(node); break;
            case 22: LoseDisk(node); break;
            case 34: LosePower(node); break;
            case 35: LosePowerAndKillOthers(node); break;
            default: LoseAllPower(); break;
        }
    }

    private void Tally([CallerMemberName] string kind = "")
    {
        Kinds.Add(kind);
        world.Say("fault", kind);
    }

    private SimNode Pick() => world.Nodes[_random.Below(world.Profile.Replicas)];

    private SimNode PickAny() => world.Nodes[_random.Below(world.Nodes.Count)];

    private void Kill(SimNode node, long forUs)
    {
        Tally();
        RestartSoon(node, forUs);
    }

    private void RestartSoon(SimNode node, long delayUs)
    {
        if (node.IsAlive) node.Kill();
        world.At(delayUs, () => StartUnlessHeld(node));
    }

    /// <summary>Not before it is to be there: another is to be alone until then.</summary>
    private void StartUnlessHeld(SimNode node)
    {
        if (!node.IsAlive && world.NowUs >= _heldUntilUs[node.Index]) node.Start();
    }

    private void DieMidTurn(SimNode node)
    {
        Tally();
        node.DiesInNextTurn = true;
        world.At(_random.Between(200_000, 3_000_000), () =>
        {
            node.DiesInNextTurn = false;
            StartUnlessHeld(node);
        });
    }

    private void KillAll()
    {
        Tally();
        foreach (var node in world.Replicas) Kill(node, _random.Between(100_000, 4_000_000));
    }

    private void Pause(SimNode node)
    {
        Tally();
        node.Pause();
        world.At(_random.Percent(50) ? _random.Between(100_000, 1_500_000) : _random.Between(1_500_000, 9_000_000), node.Resume);
    }

    private void Reset()
    {
        Tally();
        world.Network.Reset(Pick(), PickAny());
    }

    private void Isolate(SimNode node)
    {
        Tally();
        // Some front ends are left on its side.
        foreach (var other in world.Nodes)
        {
            if (other != node && (other.Index < world.Profile.Replicas || _random.Percent(60))) world.Network.CutBoth(node, other);
        }
        world.Say("fault", $"isolates {node.Name}");
        HealSoon();
    }

    /// <summary>
    /// The owner is cut off without noticing, with some front ends, and another takes its place at once: only leases keep its reads
    /// from being stale.
    /// </summary>
    private void Usurp(SimNode next)
    {
        if (world.Director.OwnerNode is not { } old || old == next) return;
        Tally();
        foreach (var other in world.Nodes)
        {
            if (other != old && (other.Index < world.Profile.Replicas || _random.Percent(50))) world.Network.Sever(other, old);
        }
        world.Say("fault", $"{next.Name} usurps {old.Name}");
        world.Director.Claim(next);
        HealSoon();
    }

    /// <summary>What the owner has sent is still on its way when another takes its place.</summary>
    private void StallAndClaim(SimNode next)
    {
        if (world.Director.OwnerNode is not { IsWorking: true } old || old == next) return;
        Tally();
        foreach (var other in world.Replicas.Where(other => other != old)) world.Network.Stall(old, other, _random.Between(3_000, 60_000));
        world.Say("fault", $"stalls what {old.Name} sends while {next.Name} claims");
        world.At(_random.Between(1_000, 30_000), () => world.Director.Claim(next));
    }

    /// <summary>The answers to the owner's heartbeats come late, and then nothing more does; meanwhile another takes its place.</summary>
    private void LatePong(SimNode next)
    {
        if (world.Director.OwnerNode is not { IsWorking: true } old || old == next) return;
        Tally();
        foreach (var other in world.Replicas.Where(other => other != old)) world.Network.Stall(other, old, _random.Between(700_000, 1_000_000));
        world.Say("fault", $"answers to {old.Name} come late, then {next.Name} usurps it");
        world.At(_random.Between(250_000, 500_000), () =>
        {
            foreach (var other in world.Nodes)
            {
                if (other != old && (other.Index < world.Profile.Replicas || _random.Percent(50))) world.Network.CutBoth(other, old);
            }
            world.Director.Claim(next);
            HealSoon();
        });
    }

    /// <summary>The owner is cut off with some front ends, and all that had granted it leases are started anew.</summary>
    private void RestartOthersAndUsurp(SimNode next)
    {
        if (world.Director.OwnerNode is not { IsWorking: true } old || old == next) return;
        Tally();
        foreach (var other in world.Nodes)
        {
            if (other != old && (other.Index < world.Profile.Replicas || _random.Percent(50))) world.Network.CutBoth(other, old);
        }
        world.Say("fault", $"{next.Name} is started anew and usurps {old.Name}");
        foreach (var other in world.Replicas.Where(other => other != old && other.IsAlive)) other.Kill();
        world.At(_random.Between(1_000, 20_000), () =>
        {
            foreach (var other in world.Replicas) StartUnlessHeld(other);
            world.Director.Claim(next);
        });
        HealSoon();
    }

    /// <summary>All processes end; on one node a disk from before, or an empty one, is there when it starts, and it decides first.</summary>
    private void RestartAllWithOldDisk(SimNode node)
    {
        if (!world.Profile.LosesDisks)
        {
            KillAll();
            return;
        }
        if (node.StoreOpens.Count < OpensOfABackup) Kill(node, _random.Between(20_000, 200_000));
        When(() => MayLoseDisk() && world.Replicas.All(each => each.IsWorking), 8_000_000, () =>
        {
            Tally(nameof(RestartAllWithOldDisk));
            ReplaceDisk(node);
            RestartAlone(node);
        }, () => { });
    }

    /// <summary>All processes end; this one is there again, and claims the volume, long before the others.</summary>
    private void RestartAlone(SimNode node)
    {
        var delayUs = _random.Between(20_000, 500_000);
        _quietUntilUs = world.NowUs + delayUs + QuietUs;
        Kill(node, delayUs);
        foreach (var other in world.Replicas.Where(other => other != node))
        {
            var heldUs = _random.Between(3_000_000, 8_000_000);
            _heldUntilUs[other.Index] = world.NowUs + heldUs;
            Kill(other, heldUs);
        }
        world.At(delayUs + _random.Between(1_000, 200_000), () => world.Director.Claim(node));
    }

    private void Attach()
    {
        if (!world.Profile.Attaches)
        {
            Reset();
            return;
        }
        Tally();
        world.Director.Attach(_random.Percent(30) ? null : world.Nodes[world.Profile.Replicas + _random.Below(world.Profile.Clients)]);
    }

    private void PostAttach() => world.At(_random.Between(1_000_000, 8_000_000), () =>
    {
        if (_isOver) return;
        Attach();
        PostAttach();
    });

    private void CutPair()
    {
        Tally();
        var (left, right) = (Pick(), PickAny());
        if (_random.Percent(50)) world.Network.Cut(left, right);
        else world.Network.CutBoth(left, right);
        world.Say("fault", $"cuts {left.Name} and {right.Name}");
        HealSoon();
    }

    private void HealSoon() => world.At(_random.Between(200_000, 9_000_000), world.Network.Heal);

    private void Stall()
    {
        Tally();
        var (from, to) = (Pick(), PickAny());
        world.Network.Stall(from, to, _random.Between(50_000, 4_000_000));
        world.Say("fault", $"stalls {from.Name} to {to.Name}");
    }

    private void SlowJournal()
    {
        Tally();
        if (_random.Percent(50)) world.Journal.DelayUs = _random.Between(50_000, 2_000_000);
        else world.Journal.AnswerDelayUs = _random.Between(50_000, 3_000_000);
        world.At(_random.Between(500_000, 6_000_000), () => (world.Journal.DelayUs, world.Journal.AnswerDelayUs) = (0, 0));
    }

    private void MoveOrClaim(SimNode node)
    {
        Tally();
        if (_random.Percent(50)) world.Director.Move(node);
        else world.Director.Claim(node);
    }

    /// <summary>SIGTERM of an owner that serves, as soon as one does: what it owned is left to the others before its process ends.</summary>
    private void StopInOrder()
    {
        if (_isOver) return;
        if (!world.Director.IsServing || world.Director.OwnerNode is not { IsWorking: true, Claims: { } claims } node)
        {
            world.At(50_000, StopInOrder);
            return;
        }
        world.Say("fault", $"stops {node.Name} in order");
        node.Post(0, () => claims.Leave(() => RestartSoon(node, _random.Between(20_000, 3_000_000))));
    }
}
