using Cluster.Messages.Model;

namespace Cluster.Node.Journal.Formation;

/// <summary>What the machine wants done next. <see cref="FormationMachine.State"/> is saved before anything else of it.</summary>
public abstract record FormationStep
{
    /// <summary>Nothing to decide: look again later.</summary>
    public sealed record Wait : FormationStep;

    /// <summary>The state changed (a promise was released, a cluster adopted): save it.</summary>
    public sealed record Save : FormationStep;

    /// <summary>Save the own promise, then ask all participants for theirs.</summary>
    public sealed record Ask(FormationPromise Promise) : FormationStep;

    /// <summary>Save, then tell the participants that the formation is given up.</summary>
    public sealed record GiveUp(FormationPromise Promise) : FormationStep;

    /// <summary>Save, then tell the participants that the cluster exists.</summary>
    public sealed record Announce(FormationPromise Promise) : FormationStep;
}

/// <summary>
/// First formation of a cluster, as a pure machine. N nodes that have none form one, in two phases: the coordinator (the first by name)
/// gets a durable promise of each of the N, then records the cluster and tells them. A node promises to one formation at a time and
/// drops a promise only when the coordinator, asked after the promise, says that it gave up, or is gone for good (its name has another
/// id). Any two formations share a node, because each must contain more than half of the seeds; all nodes must have the same seeds. So
/// there are never two clusters. A seed that is a name with several addresses counts as so many seeds; since those may be others for another node, N must also be
/// more than half of all nodes that may start before there is a cluster: then any two formations share a node whatever each has seen. One thread.
/// </summary>
public sealed class FormationMachine
{
    /// <summary>Rounds in which participants may stay silent before the coordinator gives a formation up.</summary>
    private const int SilentRoundsMax = 10;

    private readonly FormationMember _self;
    private readonly int _expected;
    private readonly int _seeds;
    private readonly Func<Guid> _newId;
    private readonly Guid? _clusterOfStore;
    private readonly IReadOnlySet<Guid> _erasPutAside;
    private readonly HashSet<string> _agreed = new(StringComparer.Ordinal);
    private int _silentRounds;

    /// <param name="clusterOfStore">Data of this cluster lies here: it is joined or waited for, and no other one is formed or joined.</param>
    /// <param name="erasPutAside">Eras that this node has left for a recovery: they are not joined again.</param>
    public FormationMachine(
        FormationMember self, int expected, int seeds, FormationState durable, Func<Guid> newId, Guid? clusterOfStore = null, IReadOnlySet<Guid>? erasPutAside = null)
    {
        Invariant.That(expected >= 0 && expected <= JournalLimits.KnownNodesMax, "the number of nodes to wait for is within its limit");
        (_self, _expected, _seeds, _newId, _clusterOfStore) = (self, expected, seeds, newId, clusterOfStore);
        _erasPutAside = erasPutAside ?? new HashSet<Guid>();
        State = durable;
        Serial = 1;
    }

    public FormationState State { get; private set; }

    /// <summary>Counts own promises; a view must carry the value it had when the other node was asked.</summary>
    public long Serial { get; private set; }

    /// <summary>As a participant. The caller saves <see cref="State"/> before the answer leaves.</summary>
    public FormationAnswer Answer(FormationRequest request)
    {
        var agreed = request switch
        {
            FormationRequest.Prepare p => Promise(p.Promise),
            FormationRequest.Commit c => Commit(c.Record),
            FormationRequest.Abort a => Release(a.FormationId),
            _ => false,
        };
        return new FormationAnswer(agreed, State);
    }

    /// <summary>See <see cref="Next(IReadOnlyList{FormationView}, int)"/>: each seed is one address.</summary>
    public FormationStep Next(IReadOnlyList<FormationView> views) => Next(views, _seeds);

    /// <summary>Decides on what was just seen of others. The caller does what the step says; see <see cref="FormationStep"/>.</summary>
    /// <param name="seeds">Addresses that the seeds have now; the views' seed indexes are below it.</param>
    public FormationStep Next(IReadOnlyList<FormationView> views, int seeds)
    {
        if (State.Record is not null) return new FormationStep.Wait();
        var formed = views.Select(v => v.State.Record).FirstOrDefault(record => record is not null && MayJoin(record));
        if (State.Promise is { } promise)
        {
            if (formed?.ClusterId == promise.FormationId) return Adopt(formed);
            return promise.Coordinator.NodeId == _self.NodeId ? Coordinate(promise, formed) : Follow(promise, views);
        }
        if (formed is not null) return Adopt(formed);
        return Propose(views, seeds);
    }

    /// <summary>An operator has decided that the cluster of this store goes on in a new era. False: this node belongs to a cluster that has a journal.</summary>
    public bool Recover(FormationRecord record)
    {
        if (State.Record is not null || _clusterOfStore != record.ClusterId) return false;
        State = new FormationState(null, record);
        return true;
    }

    /// <summary>A participant's answer to this coordinator, or null if it gave none.</summary>
    public void Answered(FormationMember participant, Guid formationId, FormationAnswer? answer)
    {
        if (State.Promise is not { } promise || promise.FormationId != formationId || answer is null) return;
        if (answer.Agreed) _agreed.Add(participant.Name);
        else _silentRounds = SilentRoundsMax;                 // promised elsewhere, or in a cluster already: no use to wait
    }

    private bool MayJoin(FormationRecord record) => (_clusterOfStore ?? record.ClusterId) == record.ClusterId && !_erasPutAside.Contains(record.Era);

    private bool Promise(FormationPromise promise)
    {
        if (State.Record is not null) return State.Record.ClusterId == promise.FormationId;
        if (_clusterOfStore is not null) return false;
        if (State.Promise is not null) return State.Promise.FormationId == promise.FormationId;
        if (!promise.Participants.Any(p => p.Name == _self.Name && p.NodeId == _self.NodeId)) return false;
        State = State with { Promise = promise };
        Serial++;
        return true;
    }

    private bool Commit(FormationRecord record)
    {
        if (State.Record is null && State.Promise?.FormationId == record.ClusterId) State = new FormationState(null, record);
        return State.Record?.ClusterId == record.ClusterId;
    }

    private bool Release(Guid formationId)
    {
        if (State.Promise?.FormationId != formationId || State.Promise.Coordinator.NodeId == _self.NodeId) return false;
        State = State with { Promise = null };
        return true;
    }

    private FormationStep.Save Adopt(FormationRecord record)
    {
        State = new FormationState(null, record);
        return new FormationStep.Save();
    }

    private FormationStep Coordinate(FormationPromise promise, FormationRecord? formed)
    {
        if (promise.Participants.All(p => p.NodeId == _self.NodeId || _agreed.Contains(p.Name)))
        {
            State = new FormationState(null, promise.Record);
            return new FormationStep.Announce(promise);
        }
        if (formed is not null || _silentRounds >= SilentRoundsMax)
        {
            State = State with { Promise = null };
            _agreed.Clear();
            _silentRounds = 0;
            return new FormationStep.GiveUp(promise);
        }
        _silentRounds++;
        return new FormationStep.Ask(promise);
    }

    private FormationStep Follow(FormationPromise promise, IReadOnlyList<FormationView> views)
    {
        var coordinator = views.FirstOrDefault(v => v.Node.Name == promise.Coordinator.Name && v.Serial == Serial);
        if (coordinator is null) return new FormationStep.Wait();
        var given = coordinator.Node.NodeId == promise.Coordinator.NodeId && coordinator.State.Promise?.FormationId == promise.FormationId;
        if (given) return new FormationStep.Wait();
        State = State with { Promise = null };
        return new FormationStep.Save();
    }

    private FormationStep Propose(IReadOnlyList<FormationView> views, int seeds)
    {
        if (_expected == 0 || _clusterOfStore is not null) return new FormationStep.Wait();
        var seedsOf = views.Where(v => v.SeedIndex >= 0).GroupBy(v => v.Node.NodeId)
            .ToDictionary(g => g.Key, g => g.Select(v => v.SeedIndex).Distinct().Count());
        var others =
            views.Where(v => v.Node.NodeId != _self.NodeId && v.State.Record is null && v.Expected == _expected).Select(v => v.Node);
        var candidates = others.Append(_self).DistinctBy(n => n.Name, StringComparer.Ordinal)
            .OrderByDescending(n => seedsOf.GetValueOrDefault(n.NodeId)).ThenBy(n => n.Name, StringComparer.Ordinal)
            .Take(_expected).OrderBy(n => n.Name, StringComparer.Ordinal).ToArray();
        if (candidates.Length < _expected || candidates[0].NodeId != _self.NodeId) return new FormationStep.Wait();
        if (seeds > 0 && candidates.Sum(n => seedsOf.GetValueOrDefault(n.NodeId)) <= seeds / 2) return new FormationStep.Wait();
        // Odd: an even group loses as little as the next smaller odd one, and needs one more to agree.
        var members = _expected >= JournalLimits.MembersMax ? JournalLimits.MembersMax : _expected >= 3 ? 3 : 1;
        var record = new FormationRecord(_newId(), _newId(), [.. candidates.Take(members)]);
        var promise = new FormationPromise(_self, candidates, record);
        State = State with { Promise = promise };
        Serial++;
        _agreed.Clear();
        _silentRounds = 0;
        return _expected == 1 ? Coordinate(promise, null) : new FormationStep.Ask(promise);
    }
}
