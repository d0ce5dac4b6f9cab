using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Node.Repair;
using Cluster.Node.Replica;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Thrown when a promise was broken.</summary>
internal sealed class BrokenPromiseException(string what) : Exception(what);

/// <summary>
/// What clients asked and were answered, and what replicas committed; every answer is checked when it arrives. With power losses a sequence that was on no
/// media may be given out again; what still bounds a read then: <see cref="SimPromises"/>.
/// </summary>
internal sealed partial class SimHistory(SimWorld world)
{
    private readonly Dictionary<(SessionId Session, ulong Id), SimRequest> _asked = [];
    private readonly Dictionary<(SessionId Session, ulong Id), Applied> _appliedAs = [];
    private readonly Dictionary<(ulong Epoch, ulong Sequence), (SessionId Session, ulong Id)> _order = [];
    private readonly Dictionary<ulong, (SessionId Session, ulong Id)> _bySequence = [];
    private readonly Dictionary<ulong, ulong> _floors = [];
    private readonly Dictionary<ulong, ulong> _newest = [];
    /// <summary>Sequences of all trims of a block that are in the order.</summary>
    private readonly Dictionary<ulong, SortedSet<ulong>> _trims = [];
    private readonly SimPromises _promises = new(world);
    private readonly SimAnswers _answers = new();
    private readonly SimRecovery _recovery = new(world);
    private ulong _acknowledgedUpTo;
    private ulong _durableUpTo;
    private ulong _generation;
    private (ulong Version, HashSet<ReplicaId> Members) _shrunk = (0, []);
    private ulong _values;
    private int _clients;

    private readonly record struct Applied(ulong Sequence, ulong Epoch);

    public int Asked { get; private set; }

    public int Writes { get; private set; }

    public int Reads { get; private set; }

    public int Flushes { get; private set; }

    public int Conflicts { get; private set; }

    public int Servings { get; private set; }

    public int CatchUps { get; private set; }

    /// <summary>Copies that were journaled out for their slowness.</summary>
    public int SlowCopies { get; set; }

    /// <summary>Owners that moved because their own copy was slow.</summary>
    public int SlowOwners { get; set; }

    /// <summary>Times that writes were held for long because a copy had no room.</summary>
    public int HeldForRoom { get; set; }

    /// <summary>Requests that waited for the volume's limits.</summary>
    public ulong Throttled { get; set; }

    /// <summary>Requests that owners sent back for want of memory.</summary>
    public ulong RefusedForMemory { get; set; }

    /// <summary>Tombstones dropped because every copy had passed them (R20).</summary>
    public int Forgotten { get; set; }

    /// <summary>Writes that sessions presented and owners put where they were (R13).</summary>
    public int Presented { get; set; }

    /// <summary>Catch-ups that went on from a cursor.</summary>
    public int Resumes { get; private set; }

    public int Replays { get; private set; }

    public int Mended { get; private set; }

    public int Lost { get; private set; }

    private int _readsExcused;

    /// <summary>A test has made copies differ: no scrub may find that otherwise.</summary>
    public bool MayDiffer { get; set; }

    /// <summary>Decisions of recoveries looked at that recovered the volume.</summary>
    public int Recoveries => _recovery.Recovered;

    /// <summary>The last write that somebody has seen and a member holds; under losses of power.</summary>
    public ulong HighestSeen => _promises.HighestSeen;

    public ulong NewValue() => ++_values;

    public int NewClient() => ++_clients;

    public void OnServing(ulong epoch)
    {
        Servings++;
        world.Trace(epoch);
    }

    public void OnOwnerSaid(string what)
    {
        if (what.Contains("holds other versions", StringComparison.Ordinal) && !MayDiffer)
            throw Broken($"{what}:\n{string.Join('\n', world.Replicas.Where(node => node.Store is not null).Select(node => $"  {node.Name} {Text([.. node.Storage.Committed()])}"))}");
        if (what.StartsWith("catch-up of", StringComparison.Ordinal) && what.Contains(" from ", StringComparison.Ordinal)) CatchUps++;
        if (what.Contains("(again, from block", StringComparison.Ordinal)) Resumes++;
    }

    public void OnRepair(in RepairEvent repair)
    {
        // Blocks rot on one copy at a time: while that one alone is in sync, nobody else can be asked.
        // The same goes for a copy whose disk failed a read, once, beside one on which the block had rotted or failed too: each such failure excuses one block.
        var failures = world.Replicas.Sum(node => node.Storage.ReadsFailed);
        var excused = Math.Clamp(failures - _readsExcused, 0, repair.Lost);
        _readsExcused += excused;
        (Mended, Lost) = (Mended + repair.Mended, Lost + (world.Journal.State.InSync.Length > 1 ? repair.Lost - excused : 0));
        if (repair.Lost > 0) world.Say("repair", $"{repair.Lost} of the blocks {repair.Range} are good on no copy ({repair.Cause})");
    }

    /// <summary>A process ended, and with it what it had not written, or its host had not synced.</summary>
    public void OnDied(SimNode node) => _promises.OnDied(node);

    /// <summary>The journal has a new in-sync set. Whatever relies on a smaller one than before must find that in the members' headers (P7).</summary>
    public void OnInSyncSet(VolumeState state, bool isOpened)
    {
        // First the takeover: whom it leaves out held what was promised until now.
        if (isOpened) OnTakeover(state);
        _promises.Review();
        var members = state.InSync.Select(member => member.Id).ToHashSet();
        if (isOpened || _shrunk.Members.Any(id => !members.Contains(id))) _shrunk = (state.Version, members);
        CheckMembersSnapshots(state);
        CheckRecovery();
    }

    /// <summary>What was committed above the new epoch's start is gone.</summary>
    private void OnTakeover(VolumeState state)
    {
        var start = state.History[^1].StartSequence;
        if (_promises.FirstAbove(start) is { } promised)
            throw Broken($"epoch {state.Opened} starts at {start}, but write {promised} was seen by a client and is held by a member of the in-sync set");
        _answers.OnTakeover(start, state.Opened.Value);
        foreach (var trims in _trims.Values) trims.RemoveWhere(trim => trim > start);
    }

    public void OnAsked(SimRequest request)
    {
        request.Drops = _promises.Drops;
        Asked++;
        _asked.Add((request.Session, request.Id), request);
    }

    /// <summary>What a read that starts now must show at least.</summary>
    public ulong[] Floors(BlockRange range)
    {
        var floors = new ulong[range.Count];
        for (var index = 0; index < floors.Length; index++)
        {
            var block = range.First + (ulong)index;
            floors[index] = world.Profile.PowerLoss ? _promises.FloorOf(block) : _floors.GetValueOrDefault(block);
        }
        return floors;
    }

    public ulong[] MediaFloors(BlockRange range) => [.. Enumerable.Range(0, (int)range.Count).Select(index => _promises.MediaFloorOf(range.First + (ulong)index))];

    /// <summary>
    /// What a flush that starts now must put on media: the writes acknowledged to that front end (an owner that does not know yet that it is deposed can't speak
    /// for what others were answered by its successor) that no loss of power has undone.
    /// </summary>
    public List<SimRequest> AcknowledgedWrites(SimClient client) => _promises.SeenOf(client);

    /// <summary>A replica's map takes a record.</summary>
    public void OnCommitted(SimNode node, in RecordHeader record)
    {
        var request = (record.Session, record.RequestId);
        if (!_asked.TryGetValue(request, out var asked)) throw Broken($"{node.Name} committed a record that nobody asked for");
        CheckPlace(node, in record, request);
        CheckSize(node, in record);
        if (!world.Profile.PowerLoss && _appliedAs.TryGetValue(request, out var known) && known.Sequence != record.Sequence)
            throw Broken($"{asked.Client.Name}'s request {record.RequestId} was applied as {known.Sequence} and again as {record.Sequence}");
        _records.Add(in record, asked.Value, null);
        var isRestored = world.Profile.PowerLoss && Told(_answers.OnCommitted(asked, in record));
        if (_appliedAs.TryGetValue(request, out var before) && before.Sequence == record.Sequence && !isRestored)
        {
            // Presented again, without having been answered.
            if (record.Epoch > before.Epoch) NoteTrims(asked, in record);
            return;
        }
        if (record.Session.Generation < _generation)
            throw Broken($"{asked.Client.Name}'s request {record.RequestId} of generation {record.Session.Generation} was applied after generation {_generation} was served");
        if (node.Owner?.Machine is { Phase: VolumePhase.Serving or VolumePhase.Draining, State: var state } owner && owner.EpochNumber == record.Epoch && state.InSync.Length < state.InSyncMin)
            throw Broken($"{node.Name} committed {record.Sequence} with {state.InSync.Length} copies in sync, and {state.InSyncMin} are needed");
        _appliedAs[request] = new Applied(record.Sequence, record.Epoch);
        _promises.OnCommitted(asked, record.Sequence);
        if (isRestored) _promises.OnSeen(asked);
        world.Trace(record.Sequence);
        Order(asked, in record);
    }

    /// <param name="request">Of a marker: none.</param>
    private void CheckPlace(SimNode node, in RecordHeader record, (SessionId Session, ulong Id) request)
    {
        if (!_order.TryAdd((record.Epoch, record.Sequence), request) && _order[(record.Epoch, record.Sequence)] != request)
            throw Broken($"two records have epoch {record.Epoch} and sequence {record.Sequence}");
        if (world.Profile.PowerLoss) _bySequence[record.Sequence] = request;
        else if (!_bySequence.TryAdd(record.Sequence, request) && _bySequence[record.Sequence] != request)
            throw Broken($"{node.Name} committed another record as {record.Sequence} than was committed before");
    }

    private bool Told(SimAnswers.Restored restored) => restored.Wrong is { } wrong ? throw Broken(wrong) : restored.IsRestored;

    private void Order(SimRequest asked, in RecordHeader record)
    {
        if (asked.IsConditional && !world.Profile.PowerLoss)
        {
            var newest = _newest.GetValueOrDefault(record.Range.First);
            // A block whose trim every copy has passed is as one never written (R20).
            if (newest != asked.Expected && (asked.Expected != 0 || newest != NewestTrim(record.Range.First)))
                throw Broken($"conditional write {record.Sequence} of block {record.Range.First} expected {asked.Expected}, but the block was at {newest}");
        }
        for (ulong index = 0; index < record.Range.Count; index++)
        {
            _newest[record.Range.First + index] = record.Sequence;
        }
        NoteTrims(asked, in record);
    }

    private void NoteTrims(SimRequest asked, in RecordHeader record)
    {
        for (ulong index = 0; asked.Value == 0 && index < record.Range.Count; index++) NoteTrim(record.Range.First + index, record.Sequence);
    }

    private void NoteTrim(ulong block, ulong sequence)
    {
        if (!_trims.TryGetValue(block, out var trims)) _trims.Add(block, trims = []);
        trims.Add(sequence);
    }

    private ulong NewestTrim(ulong block) => _trims.TryGetValue(block, out var trims) ? trims.Max : 0;

    public void OnAcknowledged(SimRequest request, in ClientAckBody ack)
    {
        if (request.Kind == SimKind.Flush)
        {
            Flushes++;
            foreach (var write in request.Covers) OnMedia(write);
            return;
        }
        Writes++;
        if (!_appliedAs.TryGetValue((request.Session, request.Id), out var applied)) throw Broken($"a write of {request.Client.Name} was answered and never applied");
        if (ack.Sequence == 0) Replays++;
        else if (ack.Sequence != applied.Sequence && !world.Profile.PowerLoss) throw Broken($"write {applied.Sequence} was answered as {ack.Sequence}");
        NoteOvertaking(applied.Sequence);
        _promises.OnSeen(request);
        _answers.OnAcknowledged(request, applied.Sequence, world.NowUs);
        if (request.ForceUnitAccess || (ack.Sequence != 0 && ack.DurableSequence >= ack.Sequence)) OnMedia(request);
        if (world.Profile.PowerLoss) return;
        for (var index = 0; index < request.Floors.Length; index++)
        {
            if (applied.Sequence <= request.Floors[index])
                throw Broken($"write {applied.Sequence} of block {request.Range.First + (ulong)index} began after {request.Floors[index]} was seen");
            Raise(request.Range.First + (ulong)index, applied.Sequence);
        }
    }

    /// <summary>An answer arrived: whoever is fenced by that session writes nothing any more (R11).</summary>
    public void OnAnswered(SimRequest request, ulong epoch)
    {
        _generation = Math.Max(_generation, request.Session.Generation);
        if (_answers.GoesOnWithout(request.Session, epoch) is { } lost) throw Broken($"{request.Client.Name} was answered in epoch {epoch}, {lost}");
    }

    public int ToldOfLoss { get; private set; }

    /// <summary>A session was ended because acknowledged writes are gone: only true of one that lost some (R13).</summary>
    public void OnToldOfLoss(SessionId session)
    {
        ToldOfLoss++;
        _answers.OnToldOfLoss(session);
        if (!world.Profile.PowerLoss) throw Broken("acknowledged writes are gone, and no host ever lost power");
    }

    /// <summary>An owner acknowledges something: what it relies on must hold now (P3, P7).</summary>
    public void OnAckSent(SimNode node, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (header.Status != IoStatus.Ok || node.Owner?.Machine is not { } owner || owner.EpochNumber != header.Epoch || !ClientAckBody.TryDecode(body, out var ack)) return;
        // A replay was committed, and could have been answered, before.
        if (ack.Sequence == 0) return;
        if (world.KeepsLog)
            world.Say(node.Name, $"acks {header.RequestId} as {ack.Sequence}, durable {ack.DurableSequence}; media {string.Join(" ", world.Replicas.Select(each => each.Storage.Media?.Sequence))}");
        var state = owner.State;
        foreach (var member in world.Replicas)
        {
            if (state.Version < _shrunk.Version || !_shrunk.Members.Contains(member.Replica) || state.Member(member.Replica) is null || IsReplaced(member)) continue;
            if (member.Storage.Media is not { } media) continue;
            var stamped = media.Header is { } bytes ? ReplicaHeader.TryDecode(bytes) : null;
            if (stamped is null || stamped.InSyncVersion < _shrunk.Version || stamped.InSyncEpoch < header.Epoch)
            {
                throw Broken($"{node.Name} acknowledged in version {state.Version} of the in-sync set, which shrank in version {_shrunk.Version}, but the header of "
                    + $"{member.Name} has {stamped?.InSyncVersion}");
            }
        }
        if (state.InSync.Length == 1 && state.Spec!.Replicas > 1 && node.Storage.Media?.Sequence < ack.Sequence)
            throw Broken($"{node.Name} is the last copy and acknowledged {ack.Sequence} with {node.Storage.Media?.Sequence} on media");
        (_acknowledgedUpTo, _durableUpTo) = (Math.Max(_acknowledgedUpTo, ack.Sequence), Math.Max(_durableUpTo, ack.DurableSequence));
        CheckRecovery();
    }

    /// <summary>All journals are lost now (C12).</summary>
    private void CheckRecovery()
    {
        var promised = world.Profile.PowerLoss ? Math.Max(_promises.HighestSeen, _durableUpTo) : _acknowledgedUpTo;
        if ((_recovery.Look(promised, onMedia: false) ?? _recovery.Look(_durableUpTo, onMedia: true)) is { } lost) throw Broken(lost);
    }

    private bool IsReplaced(SimNode node) => node.Storage.ReplacedAtUs >= 0 && world.NowUs - node.Storage.ReplacedAtUs < 20_000_000;

    public void OnRefused(SimRequest request)
    {
        Conflicts++;
        if (_appliedAs.ContainsKey((request.Session, request.Id)) && !world.Profile.PowerLoss)
            throw Broken($"request {request.Id} of {request.Client.Name} was refused, but applied");
    }

    public void OnRead(SimRequest request, List<(ulong Sequence, ulong Value)> blocks)
    {
        Reads++;
        for (var index = 0; index < blocks.Count; index++)
        {
            var block = request.Range.First + (ulong)index;
            var (sequence, value) = blocks[index];
            // What a loss of power has undone since the read began binds it no more; its sequence may have been given out again since.
            var floor = request.Drops == _promises.Drops ? request.Floors[index] : request.MediaFloors[index];
            // Its tombstone may be gone: as of the newest trim at best.
            var asOf = sequence == 0 ? NewestTrim(block) : sequence;
            if (asOf < floor) throw Broken($"{request.Client.Name} read block {block} as of {asOf}, but {floor} was acknowledged or read before");
            CheckValue(block, sequence, value);
            if (world.Profile.PowerLoss && _answers.OnRead(request, block, asOf, value) is { } stale) throw Broken($"{request.Client.Name} read block {block} as of {asOf}, {stale}");
            if (!world.Profile.PowerLoss) Raise(block, asOf);
            else if (_bySequence.TryGetValue(sequence, out var write) && _asked.TryGetValue(write, out var seen))
            {
                _promises.OnSeen(seen);
                _answers.OnSeen(request.Session, seen, sequence);
            }
        }
    }

    /// <summary>What happened to the number of copies, and how often.</summary>
    public SimTally Copies { get; } = new();

    /// <summary>The journal says something new of copies: the minimum goes with them, and never holds up what was served (R7).</summary>
    public void OnCopies(VolumeState before, VolumeState after, VolumeEvent e)
    {
        if (e is ReplicaRemoved removed)
        {
            Copies.Add("Removed");
            if (before.Member(removed.Replica) is not null) throw Broken($"copy {removed.Replica} was let go while it was in the in-sync set");
        }
        if (after.InSyncMin > after.Spec!.Replicas) throw Broken($"{after.InSyncMin} copies are needed of a volume that is to have {after.Spec.Replicas}");
        if (before.InSyncMin == after.InSyncMin) return;
        Copies.Add(after.InSyncMin > before.InSyncMin ? "Raised" : "Lowered");
        var isAsked = before.Spec is { } spec && (spec.FailureMode, spec.FailureThreshold) != (after.Spec.FailureMode, after.Spec.FailureThreshold);
        if (!isAsked && after.InSyncMin > before.InSyncMin && after.InSync.Length < after.InSyncMin)
            throw Broken($"the minimum was raised from {before.InSyncMin} to {after.InSyncMin}, but {after.InSync.Length} copies are in sync");
    }

    /// <summary>A node deletes that copy: only what the journal has let go (R22).</summary>
    public void OnDeleted(ReplicaId replica)
    {
        if (world.Journal.State.Placement(replica) is not null) throw Broken($"copy {replica} was deleted, and the journal has not let it go");
    }

    public void Check(bool condition, Func<string> what)
    {
        if (!condition) throw Broken(what());
    }

    /// <summary>All replicas hold the same blocks with the same sequences. One that was trimmed need not tell when.</summary>
    public void CompareReplicas()
    {
        var expected = world.Director.OwnerNode!.Storage.Committed().Where(block => block.Value != 0).ToList();
        foreach (var node in world.Replicas)
        {
            var held = node.Storage.Committed().Where(block => block.Value != 0).ToList();
            if (!held.SequenceEqual(expected)) throw Broken($"{node.Name} holds other blocks than {world.Director.OwnerNode.Name}:\n  {Text(held)}\n  {Text(expected)}");
            if (node.Store!.CommitWatermark != world.Director.OwnerNode.Store!.CommitWatermark) throw Broken($"{node.Name} has another watermark");
        }
        CompareSnapshots();
    }

    private static string Text(IReadOnlyList<(ulong Block, ulong Sequence, ulong Value)> blocks) => string.Join(" ", blocks.Select(block => $"{block.Block}:{block.Sequence}={block.Value}"));

    private void CheckValue(ulong block, ulong sequence, ulong value)
    {
        if (sequence == 0)
        {
            if (value != 0) throw Broken($"block {block} has data and no sequence");
            return;
        }
        if (!_bySequence.TryGetValue(sequence, out var request)) throw Broken($"block {block} was read as of {sequence}, which was never committed");
        if (RestoredValue(block, sequence) is { } then)
        {
            if (then != value) throw Broken($"block {block} was read as {value} as of {sequence}, where the volume went back to a snapshot in which it is {then}");
            return;
        }
        if (!_asked.TryGetValue(request, out var asked)) throw Broken($"block {block} was read as of {sequence}, which nobody asked for");
        if (!world.Profile.PowerLoss && (!asked.Range.Contains(block) || asked.Value != value))
            throw Broken($"block {block} as of {sequence} was read as {value}, but {asked.Value} was written over {asked.Range}");
    }

    /// <summary>The write is said to be on media of every member: it outlives any loss of power from here on.</summary>
    private void OnMedia(SimRequest write)
    {
        var sequence = _appliedAs[(write.Session, write.Id)].Sequence;
        if (world.Profile.PowerLoss && !_promises.OnMedia(write)) return;
        foreach (var node in world.Replicas)
        {
            if (world.Journal.State.Member(node.Replica) is not null && !IsReplaced(node) && node.Storage.Media?.Sequence < sequence)
                throw Broken($"write {sequence} was answered as flushed, but {node.Name} has {node.Storage.Media?.Sequence} on media");
        }
    }

    private void Raise(ulong block, ulong sequence)
    {
        if (sequence > _floors.GetValueOrDefault(block)) _floors[block] = sequence;
    }

    private BrokenPromiseException Broken(string what) => new($"{what} (at {world.NowUs / 1000.0} ms)");
}
