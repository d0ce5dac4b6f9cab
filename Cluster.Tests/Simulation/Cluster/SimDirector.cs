using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// Plays sharding: has an owner run on some node, starts another one when it believes that none runs (and is wrong at times), and
/// moves one in order. It
/// fences nothing (R18).
/// </summary>
internal sealed class SimDirector(SimWorld world)
{
    private const int LookUs = 50_000;
    private const int DrainUs = 3_000_000;

    private SimOwner? _owner;
    private bool _isStarting;
    private long _lostSinceUs = -1;
    private long _patienceUs;
    private SimNode? _next;

    public int Started { get; private set; }

    /// <summary>Owners that began to take over early, by how their predecessor was lost.</summary>
    public Dictionary<OwnerLoss, int> EarlyClaims { get; } = [];

    /// <summary>Where front ends are sent to.</summary>
    public SimNode? OwnerNode => _owner?.Host;

    public SimOwner? Owner => _owner;

    public bool IsServing => _owner is { Machine.Phase: VolumePhase.Serving } && _owner.Host.Owner == _owner;

    public void Start() => world.Every(LookUs, Look);

    /// <summary>Claims the volume on that node now, whoever else serves it.</summary>
    public void Claim(SimNode node)
    {
        if (!node.IsWorking || node.Claims is { IsLeaving: true } || _isStarting) return;
        _isStarting = true;
        Started++;
        world.Say("director", $"starts an owner on {node.Name}");
        SimOwner.Start(node, owner => (_owner, _isStarting) = (owner, false));
        // Sharding does not wait for ever for a node that does not answer.
        var number = Started;
        world.At(1_000_000, () => _isStarting = _isStarting && number != Started);
    }

    /// <summary>A node takes the volume over before sharding has noticed anything; sharding follows.</summary>
    public void ClaimEarly(SimNode node, ulong epoch, OwnerLoss loss) => SimOwner.Start(node, owner =>
    {
        EarlyClaims[loss] = EarlyClaims.GetValueOrDefault(loss) + 1;
        _owner = owner;
    }, epoch);

    /// <summary>A planned move: the old owner drains first.</summary>
    public void Move(SimNode to)
    {
        if (_owner is not { IsStopped: false } owner || !owner.Host.IsWorking || owner.Host == to || owner.Host.Owner != owner) return;
        world.Say("director", $"moves the owner from {owner.Host.Name} to {to.Name}");
        _next = to;
        owner.Host.Post(0, owner.Machine.Drain);
        owner.Host.Post(DrainUs, () =>
        {
            if (!owner.IsStopped) owner.Machine.Stop();
        });
    }

    /// <summary>An attachment was ever asked of an owner; what was asked may be journaled long after.</summary>
    public bool WasAttached { get; private set; }

    /// <summary>Attaches the volume to one node, or to all of them again (null): whoever used it before is fenced (R11).</summary>
    public void Attach(SimNode? to)
    {
        if (!IsServing || !_owner!.Host.IsWorking) return;
        WasAttached = true;
        var generation = _owner.Machine.State.Attachment.Generation + 1;
        var attachment = to is null ? new Attachment(generation, AttachmentMode.Shared, default, "")
            : new Attachment(generation, AttachmentMode.Exclusive, to.Id, to.Name);
        foreach (var client in world.Clients) client.MayBeFenced = true;
        var owner = _owner;
        owner.Host.Post(0, () => owner.Machine.Propose(new AttachmentChanged(SimWorld.Volume, attachment)));
    }

    /// <summary>The journal has it: the front ends that it names hear of it.</summary>
    public void OnAttached(Attachment attachment)
    {
        foreach (var client in world.Clients)
        {
            if (attachment.Mode == AttachmentMode.Exclusive && attachment.Node != client.Node.Id) continue;
            Tell(client, attachment.Generation);
        }
    }

    /// <summary>An attach is answered only once an owner serves that knows of it (R11).</summary>
    private void Tell(SimClient client, ulong generation) => world.At(world.Random.Between(500, 100_000), () =>
    {
        if (world.Journal.State.Attachment.Generation != generation) return;
        if (IsServing && _owner!.Machine.State.Attachment.Generation == generation) client.Attach(generation);
        else Tell(client, generation);
    });

    private void Look()
    {
        if (_owner is { IsStopped: false } owner && owner.Host.Owner == owner && owner.Host.IsWorking && world.Network.ReachesJournal(owner.Host))
        {
            _lostSinceUs = -1;
            return;
        }
        if (_lostSinceUs < 0)
        {
            _lostSinceUs = world.NowUs;
            _patienceUs = PatienceUs();
        }
        if (_isStarting || world.NowUs - _lostSinceUs < _patienceUs) return;
        var node = _next is { IsWorking: true } planned ? planned : Choose();
        _next = null;
        if (node is null) return;
        _lostSinceUs = -1;
        Claim(node);
    }

    /// <summary>Until sharding acts. Where nodes claim early it is mostly later than they, as it is in truth.</summary>
    private long PatienceUs()
    {
        var isStopped = _owner is { IsStopped: true };
        if (world.Profile.ClaimsEarly) return isStopped ? world.Random.Between(0, 1_500_000) : world.Random.Between(500_000, 9_000_000);
        return isStopped ? world.Random.Between(0, 300_000) : world.Random.Between(20_000, 2_500_000);
    }

    private SimNode? Choose()
    {
        var able = world.Replicas.Where(node => node.IsWorking && world.Network.ReachesJournal(node)).ToList();
        if (able.Count == 0) return null;
        var members = able.Where(node => world.Journal.State.Member(node.Replica) is not null).ToList();
        var from = members.Count > 0 && !world.Random.Percent(10) ? members : able;
        return from[world.Random.Below(from.Count)];
    }
}
