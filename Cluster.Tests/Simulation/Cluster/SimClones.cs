using System.Globalization;
using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// Plays the users who clone the volume, from a snapshot or as it is, write to the clones, delete the snapshots that those stand on, and the clones; and what the control plane does for
/// them: the origin keeps the snapshot until the clone has begun. Its chances are its own, from the seed.
/// </summary>
internal sealed class SimClones(SimWorld world)
{
    /// <summary>A clone may be larger than what it was made from.</summary>
    public const ulong BlocksMore = 8;

    private const int LookUs = 50_000;
    private const int AliveMax = 2;
    private const int MadeMax = 4;

    private readonly SimRandom _random = new(world.Seed ^ 0xC104E5);
    private readonly List<SimClone> _clones = [];
    private readonly HashSet<ulong> _toDelete = [];
    private Making? _making;
    private int _made;
    private bool _isOver;
    private bool _deletesAll;

    private const string NamePrefix = "clone-";

    /// <summary>Made for a clone of the volume as it is.</summary>
    public static bool IsHidden(VolumeSnapshot snapshot) => snapshot.Name.StartsWith(NamePrefix, StringComparison.Ordinal);

    /// <summary>What is asked of the origin, and how far it is.</summary>
    private sealed class Making(string name, bool isOfVolume)
    {
        public string Name => name;

        /// <summary>Of the volume as it is: a snapshot of that name is made for it, and goes with it.</summary>
        public bool IsOfVolume => isOfVolume;

        public ulong Sequence { get; set; }

        public SimClone? Clone { get; set; }
    }

    /// <summary>What happened, and how often.</summary>
    public SimTally Tally { get; } = new();

    public bool AreInSync => _clones.TrueForAll(clone => clone.IsGone || clone.IsInSync);

    /// <summary>Every clone was found to hold what it must, on every copy.</summary>
    public bool AreVerified => _making is null && _clones.TrueForAll(clone => clone.IsVerified);

    public bool AreGone => _clones.TrueForAll(clone => clone.IsGone);

    public string StateText => $"making {_making?.Name} of {_making?.Sequence}; {string.Join('\n', _clones.Where(clone => !clone.IsGone).Select(clone => clone.StateText))}";

    public void Start()
    {
        world.Every(LookUs, Look);
        PostNext();
    }

    /// <summary>From here on none is begun. Each is compared once more, after all faults.</summary>
    public void End()
    {
        _isOver = true;
        foreach (var clone in _clones) clone.LookAnew();
    }

    /// <summary>What a clone shares with the origin must outlive the snapshot that it was made from.</summary>
    public void OnSnapshotDeleted(ulong sequence)
    {
        foreach (var clone in _clones)
        {
            if (clone.Source.Sequence == sequence) clone.LookAnew();
        }
    }

    public void DeleteAll() => _deletesAll = true;

    /// <summary>Buffers are given back.</summary>
    public void Drop()
    {
        foreach (var clone in _clones) clone.Client.End();
    }

    public SimCloneSeat? SeatOf(VolumeId volume, SimNode node)
    {
        foreach (var clone in _clones)
        {
            if (clone.Volume == volume) return clone.Seat(node);
        }
        return null;
    }

    public void OnStarted(SimNode node)
    {
        foreach (var clone in _clones) clone.Seat(node).OnStarted();
    }

    public void OnDied(SimNode node)
    {
        foreach (var clone in _clones) clone.Seat(node).OnDied();
    }

    public void OnLinkUp(SimNode node, SimLink link)
    {
        foreach (var clone in _clones) clone.Seat(node).OnLinkUp(link);
    }

    public void OnLinkDown(SimNode node, SimLink link)
    {
        foreach (var clone in _clones) clone.Seat(node).OnLinkDown(link);
    }

    private SimOwner? Owner() => world.Director is { IsServing: true, Owner: { Host.IsWorking: true, IsProposing: false } owner } ? owner : null;

    private void PostNext() => world.At(_random.Between(500_000, 4_000_000), () =>
    {
        if (_isOver) return;
        if (_making is null && _made < MadeMax && _clones.Count(clone => !clone.IsGone) < AliveMax && Owner() is { } owner) Begin(owner);
        PostNext();
    });

    private void Begin(SimOwner owner)
    {
        var name = $"{NamePrefix}{++_made}";
        var snapshots = owner.Machine.State.Snapshots;
        if (snapshots.Length > 0 && _random.Percent(60)) _making = new Making(name, isOfVolume: false) { Sequence = snapshots[_random.Below(snapshots.Length)].Sequence };
        else _making = new Making(name, isOfVolume: true);
    }

    private void Look()
    {
        GoOn();
        foreach (var clone in _clones)
        {
            clone.Look();
            if (clone.HasBegun && !clone.IsGone) clone.TryVerify();
            if (clone is { IsVerified: true, IsGone: false } && (_deletesAll || _toDelete.Contains(clone.Volume.Value))) clone.Delete();
        }
    }

    /// <summary>One step of what is being made: all of them are done again until the journal has them, by whoever owns the volume then.</summary>
    private void GoOn()
    {
        if (_making is not { } making || Owner() is not { } owner) return;
        var state = world.Journal.State;
        if (making.Sequence == 0)
        {
            if (state.Snapshots.FirstOrDefault(snapshot => snapshot.Name == making.Name) is { Sequence: not 0 } made) making.Sequence = made.Sequence;
            else owner.Host.Post(0, () => owner.Machine.CreateSnapshot(making.Name));
            return;
        }
        var isKept = state.Clones.Any(clone => clone.Name == making.Name);
        if (making.Clone is null)
        {
            if (isKept) making.Clone = Make(making);
            // Somebody deleted it before the origin kept it.
            else if (!state.Snapshots.Any(snapshot => snapshot.Sequence == making.Sequence)) _making = null;
            else owner.Host.Post(0, () => owner.Machine.Propose(new CloneStarted(SimWorld.Volume, making.Sequence, making.Name, 1)));
            return;
        }
        if (!making.Clone.HasBegun) return;
        if (isKept) owner.Host.Post(0, () => owner.Machine.Propose(new CloneEnded(SimWorld.Volume, making.Name)));
        else if (making.IsOfVolume && state.Snapshots.Any(snapshot => snapshot.Sequence == making.Sequence)) Delete(owner, making.Sequence);
        else _making = null;
    }

    private void Delete(SimOwner owner, ulong snapshot)
    {
        Tally.Add("BaseDeleted");
        owner.Host.Post(0, () => owner.Machine.Propose(new SnapshotDeleted(SimWorld.Volume, snapshot)));
    }

    private SimClone Make(Making making)
    {
        var source = new VolumeSource(SimWorld.Volume, making.Sequence, world.Spec.FullName, making.IsOfVolume ? "" : making.Sequence.ToString(CultureInfo.InvariantCulture));
        var random = new SimRandom(_random.Next());
        var clone = new SimClone(world, random, new VolumeId(SimWorld.Volume.Value + (ulong)_made), source, world.History.ContentOf(making.Sequence));
        _clones.Add(clone);
        clone.Client.Start();
        Tally.Add(making.IsOfVolume ? "OfVolume" : "OfSnapshot");
        if (_random.Percent(60)) _toDelete.Add(clone.Volume.Value);
        return clone;
    }
}
