using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>R18: who claims a volume before sharding notices that its owner is lost, when, and when not.</summary>
public sealed class ClaimMachineSpecs : IClaimEffects
{
    private const ulong Epoch = 4;
    private static readonly VolumeId Volume = new(7);
    private static readonly NodeId A = Id(1);
    private static readonly NodeId B = Id(2);
    private static readonly NodeId C = Id(3);
    private static readonly NodeId Self = Id(9);

    private readonly ClaimMachine _machine;
    private readonly HashSet<NodeId> _linked = [B, C];
    private readonly List<VolumeId> _looks = [];
    private readonly List<(VolumeId Volume, ulong Epoch, OwnerLoss Loss)> _claims = [];
    private bool _holds = true;
    private long _nowMs = 1_000_000;

    public ClaimMachineSpecs()
    {
        _machine = new ClaimMachine(Self, this);
        _machine.OnTick(_nowMs);
    }

    [Fact(DisplayName = "The first in order claims the volume of a dead owner at once")]
    public void Dead_owner()
    {
        Lose(silent: false);
        Assert.Empty(_looks);
        _machine.OnDead(A, _nowMs);
        _machine.OnTick(_nowMs);
        Assert.Equal(Volume, Assert.Single(_looks));
        _machine.OnLooked(Volume, Facts(Self, B), _nowMs);
        Assert.Equal((Volume, Epoch, OwnerLoss.Dead), Assert.Single(_claims));
    }

    [Fact(DisplayName = "A silent owner has a head start, in which it may take this node out of the in-sync set: then there is nothing to claim")]
    public void Silent_owner()
    {
        Lose(silent: true);
        Look(Facts(Self, B));
        Assert.Empty(_claims);
        Pass(ClaimMachine.SilentHeadStartMs);
        _machine.OnLooked(Volume, Facts(B), _nowMs);
        Assert.Empty(_claims);
        Assert.Equal(0, _machine.Watched);
    }

    [Fact(DisplayName = "A silent owner that leaves this node in the set is replaced after its head start")]
    public void Silent_for_good()
    {
        Lose(silent: true);
        Look(Facts(Self, B));
        Pass(ClaimMachine.SilentHeadStartMs);
        _machine.OnLooked(Volume, Facts(Self, B), _nowMs);
        Assert.Equal(OwnerLoss.Silent, Assert.Single(_claims).Loss);
    }

    [Fact(DisplayName = "A connection that ends and comes back in time, with the owner serving on, is no reason")]
    public void A_hiccup()
    {
        Lose(silent: false);
        Pass(ClaimMachine.LostMs - 1);
        _machine.OnLinked(A, _nowMs);
        _machine.OnServes(Volume, Epoch);
        Pass(ClaimMachine.LostMs * 10);
        Assert.Empty(_looks);
        Assert.Equal(0, _machine.Watched);
    }

    [Fact(DisplayName = "An owner that comes back and does not say that it serves is a new process: the volume is claimed")]
    public void A_restarted_owner()
    {
        Lose(silent: false);
        _machine.OnLinked(A, _nowMs);
        Pass(ClaimMachine.AnnounceMs);
        _machine.OnLooked(Volume, Facts(Self, B), _nowMs);
        Assert.Equal(OwnerLoss.Restarted, Assert.Single(_claims).Loss);
    }

    [Fact(DisplayName = "The next in order waits for those before it that are connected, and does not when they are not")]
    public void Turns()
    {
        Die();
        Look(Facts(A, B, Self));
        Assert.Empty(_claims);
        Pass(ClaimMachine.StaggerMs - 1);
        Assert.Single(_looks);
        Pass(1);
        _machine.OnLooked(Volume, Facts(A, B, Self), _nowMs);
        Assert.Single(_claims);
    }

    [Fact(DisplayName = "Those before it that are not connected are not waited for")]
    public void Turns_of_the_absent()
    {
        _linked.Remove(B);
        Die();
        Look(Facts(A, B, Self) with { Needed = 1 });
        Assert.Single(_claims);
    }

    [Fact(DisplayName = "Nothing is claimed that could not be opened: too few members of the set are connected")]
    public void Too_few_members()
    {
        _linked.Clear();
        Die();
        Look(Facts(Self, B));
        Assert.Empty(_claims);
        _linked.Add(B);
        Pass(ClaimMachine.LookAgainMs);
        _machine.OnLooked(Volume, Facts(Self, B), _nowMs);
        Assert.Single(_claims);
    }

    [Fact(DisplayName = "Nothing is claimed while the journal does not answer")]
    public void No_journal()
    {
        Die();
        Look(null);
        Assert.Empty(_claims);
        Pass(ClaimMachine.LookAgainMs);
        _machine.OnLooked(Volume, Facts(Self, B), _nowMs);
        Assert.Single(_claims);
    }

    [Fact(DisplayName = "Nothing is claimed without a copy, or without one in sync, and an owner of one's own is not watched")]
    public void Not_ours()
    {
        _holds = false;
        Die();
        Assert.Empty(_looks);
        _holds = true;
        Die();
        Look(Facts(A, B));
        Assert.Empty(_claims);
        _machine.OnUnlinked(Self, [(Volume, Epoch)], false, _nowMs, _nowMs);
        Assert.Equal(0, _machine.Watched);
    }

    [Fact(DisplayName = "Another claim that came first is left alone while its node is connected, and watched in its turn")]
    public void Claimed_by_another()
    {
        Die();
        Look(Facts(Self, B) with { Epoch = Epoch + 1, Owner = B });
        Pass(ClaimMachine.TakeoverMs);
        _machine.OnLooked(Volume, Facts(Self, B) with { Epoch = Epoch + 1, Owner = B }, _nowMs);
        Assert.Empty(_claims);
        Assert.Equal(0, _machine.Watched);
    }

    [Fact(DisplayName = "A claimer that dies before it serves is replaced as well")]
    public void Claimer_dies()
    {
        Die();
        Look(Facts(Self, B, C) with { Epoch = Epoch + 1, Owner = B });
        _linked.Remove(B);
        _machine.OnUnlinked(B, [], false, _nowMs, _nowMs);
        _machine.OnDead(B, _nowMs);
        _machine.OnTick(_nowMs);
        _machine.OnLooked(Volume, Facts(Self, B, C) with { Epoch = Epoch + 1, Owner = B }, _nowMs);
        Assert.Equal((Volume, Epoch + 1, OwnerLoss.Dead), Assert.Single(_claims));
    }

    [Fact(DisplayName = "What this node has claimed is not claimed again, whoever is silent: its actor sees to it")]
    public void Own_claim()
    {
        Die();
        Look(Facts(Self, B));
        Pass(ClaimMachine.TakeoverMs);
        _machine.OnLooked(Volume, Facts(Self, B) with { Epoch = Epoch + 1, Owner = Self }, _nowMs);
        Assert.Single(_claims);
        Assert.Equal(0, _machine.Watched);
    }

    [Fact(DisplayName = "Claims of a volume that follow each other are made after pauses that grow to a bound, so that nobody fights")]
    public void Back_off()
    {
        var epoch = Epoch;
        List<long> at = [];
        for (var round = 0; round < 9; round++)
        {
            _machine.OnUnlinked(A, [(Volume, epoch)], false, _nowMs, _nowMs);
            _machine.OnDead(A, _nowMs);
            _machine.OnTick(_nowMs);
            var before = _claims.Count;
            while (_claims.Count == before)
            {
                _machine.OnLooked(Volume, Facts(Self, B) with { Epoch = epoch }, _nowMs);
                if (_claims.Count == before) Pass(50);
            }
            at.Add(_nowMs);
            _machine.OnServes(Volume, ++epoch);
        }
        var pauses = at.Zip(at.Skip(1), (first, next) => next - first).ToArray();
        Assert.Equal([2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000], pauses);
        Pass(ClaimMachine.BackOffMsMax + ClaimMachine.QuietMs);
        _machine.OnUnlinked(A, [(Volume, epoch)], false, _nowMs, _nowMs);
        _machine.OnDead(A, _nowMs);
        _machine.OnTick(_nowMs);
        _machine.OnLooked(Volume, Facts(Self, B) with { Epoch = epoch }, _nowMs);
        Assert.Equal(10, _claims.Count);
    }

    [Fact(DisplayName = "A node that stood still itself has heard nobody: it does not take the others' silence for a reason")]
    public void Own_pause()
    {
        _nowMs += ClaimMachine.OwnPauseMs + 1;
        Lose(silent: true);
        _machine.OnTick(_nowMs);
        Assert.Empty(_looks);
        _machine.OnLinked(A, _nowMs);
        _machine.OnServes(Volume, Epoch);
        Pass(5000);
        Assert.Empty(_looks);
    }

    [Fact(DisplayName = "An owner that stopped in order and left its volume is replaced at once")]
    public void Released()
    {
        _machine.OnReleased(Volume, A, Epoch, _nowMs);
        _machine.OnTick(_nowMs);
        Look(Facts(A, Self, B));
        Assert.Equal(OwnerLoss.Released, Assert.Single(_claims).Loss);
    }

    [Fact(DisplayName = "What is known of a loss is kept for the breakdown of the pause until somebody serves: when it was heard of, found, and taken out")]
    public void Loss_is_told()
    {
        var heardMs = _nowMs;
        _nowMs += 500;
        Lose(silent: true, heardMs);
        _machine.OnTakenOut(B, _nowMs + 1);
        Assert.Equal(new LostOwner(A, Epoch, OwnerLoss.Silent, heardMs, _nowMs, 0), _machine.LossOf(Volume));
        _machine.OnTakenOut(A, _nowMs + 2);
        Assert.Equal(_nowMs + 2, _machine.LossOf(Volume)!.Value.OutMs);
        _machine.OnServes(Volume, Epoch + 1);
        Assert.Null(_machine.LossOf(Volume));
    }

    [Fact(DisplayName = "Of many volumes lost at once a bounded number is looked at at one time, and all are claimed in the end")]
    public void Many_volumes()
    {
        var many = Enumerable.Range(1, 100).Select(number => (new VolumeId((ulong)number), Epoch)).ToArray();
        _linked.Remove(A);
        _machine.OnUnlinked(A, many, false, _nowMs, _nowMs);
        _machine.OnDead(A, _nowMs);
        for (var answered = 0; answered < many.Length; answered++)
        {
            _machine.OnTick(_nowMs);
            Assert.InRange(_looks.Count - answered, 1, ClaimMachine.UnderWayMax);
            _machine.OnLooked(_looks[answered], Facts(Self, B), _nowMs);
        }
        Assert.Equal(100, _claims.Select(claim => claim.Volume).Distinct().Count());
    }

    bool IClaimEffects.IsLinked(NodeId node) => _linked.Contains(node);

    bool IClaimEffects.Holds(VolumeId volume) => _holds;

    void IClaimEffects.Look(VolumeId volume) => _looks.Add(volume);

    void IClaimEffects.Claim(VolumeId volume, ulong epoch, OwnerLoss loss) => _claims.Add((volume, epoch, loss));

    private static ClaimFacts Facts(params NodeId[] inSync) => new(Epoch, A, [.. inSync], 2);

    private static NodeId Id(int number) => new(new Guid(number, 0, 0, new byte[8]));

    private void Lose(bool silent, long? heardMs = null)
    {
        _linked.Remove(A);
        _machine.OnUnlinked(A, [(Volume, Epoch)], silent, heardMs ?? _nowMs - 3000, _nowMs);
    }

    private void Die()
    {
        Lose(silent: false);
        _machine.OnDead(A, _nowMs);
        _machine.OnTick(_nowMs);
    }

    private void Look(ClaimFacts? facts)
    {
        _machine.OnTick(_nowMs);
        _machine.OnLooked(Volume, facts, _nowMs);
    }

    private void Pass(long ms)
    {
        for (var until = _nowMs + ms; _nowMs < until;)
        {
            _nowMs = Math.Min(_nowMs + 50, until);
            _machine.OnTick(_nowMs);
        }
    }
}
