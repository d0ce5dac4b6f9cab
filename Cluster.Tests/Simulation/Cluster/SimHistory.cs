using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Repair;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Thrown when a promise was broken.</summary>
internal sealed class BrokenPromiseException(string what) : Exception(what);

/// <summary>
/// What clients asked and were answered, and what replicas committed; every answer is checked when it arrives. With power losses a
/// sequence that was not on media may be
/// given out again, and only what was flushed bounds a read.
/// </summary>
internal sealed class SimHistory(SimWorld world)
{
    private readonly Dictionary<(SessionId Session, ulong Id), SimRequest> _asked = [];
    private readonly Dictionary<(SessionId Session, ulong Id), Applied> _appliedAs = [];
    private readonly Dictionary<(ulong Epoch, ulong Sequence), (SessionId Session, ulong Id)> _order = [];
    private readonly Dictionary<ulong, (SessionId Session, ulong Id)> _bySequence = [];
    private readonly Dictionary<ulong, ulong> _floors = [];
    private readonly Dictionary<ulong, ulong> _newest = [];
    private readonly List<SimRequest> _acknowledged = [];
    private ulong _values;
    private int _clients;
    private long _lastPowerLossUs = -1;

    private readonly record struct Applied(ulong Sequence, ulong Epoch, long AtUs);

    public int Asked { get; private set; }

    public int Writes { get; private set; }

    public int Reads { get; private set; }

    public int Flushes { get; private set; }

    public int Conflicts { get; private set; }

    public int Servings { get; private set; }

    public int CatchUps { get; private set; }

    public int Replays { get; private set; }

    public int Mended { get; private set; }

    public int Lost { get; private set; }

    /// <summary>A test has made copies differ: no scrub may find that otherwise.</summary>
    public bool MayDiffer { get; set; }

    public ulong NewValue() => ++_values;

    public int NewClient() => ++_clients;

    public void OnServing(ulong epoch)
    {
        Servings++;
        world.Trace(epoch);
    }

    public void OnOwnerSaid(string what)
    {
        if (what.Contains("holds other versions", StringComparison.Ordinal) && !MayDiffer) throw Broken(what);
        if (what.StartsWith("catch-up of", StringComparison.Ordinal) && what.Contains(" from ", StringComparison.Ordinal)) CatchUps++;
    }

    public void OnRepair(in RepairEvent repair) => (Mended, Lost) = (Mended + repair.Mended, Lost + repair.Lost);

    /// <summary>
    /// Un-flushed bytes of a host may be gone: nothing that was acknowledged before and not flushed is promised any more.
    /// </summary>
    public void OnPowerLoss()
    {
        _lastPowerLossUs = world.NowUs;
        _acknowledged.Clear();
    }

    public void OnAsked(SimRequest request)
    {
        Asked++;
        _asked.Add((request.Session, request.Id), request);
    }

    /// <summary>What a read that starts now must show at least.</summary>
    public ulong[] Floors(BlockRange range)
    {
        var floors = new ulong[range.Count];
        for (var index = 0; index < floors.Length; index++) floors[index] = _floors.GetValueOrDefault(range.First + (ulong)index);
        return floors;
    }

    public List<SimRequest> AcknowledgedWrites() => [.. _acknowledged];

    /// <summary>A replica's map takes a record.</summary>
    public void OnCommitted(SimNode node, in RecordHeader record)
    {
        var request = (record.Session, record.RequestId);
        if (!_asked.TryGetValue(request, out var asked)) throw Broken($"{node.Name} committed a record that nobody asked for");
        if (!_order.TryAdd((record.Epoch, record.Sequence), request) && _order[(record.Epoch, record.Sequence)] != request)
            throw Broken($"two records have epoch {record.Epoch} and sequence {record.Sequence}");
        if (!world.Profile.PowerLoss)
        {
            if (!_bySequence.TryAdd(record.Sequence, request) && _bySequence[record.Sequence] != request)
                throw Broken($"{node.Name} committed another record as {record.Sequence} than was committed before");
            if (_appliedAs.TryGetValue(request, out var known) && known.Sequence != record.Sequence)
                throw Broken($"{asked.Client.Name}'s request {record.RequestId} was applied as {known.Sequence} and again as {record.Sequence}");
        }
        else _bySequence[record.Sequence] = request;
        if (_appliedAs.TryGetValue(request, out var before) && before.Sequence == record.Sequence) return;
        _appliedAs[request] = new Applied(record.Sequence, record.Epoch, world.NowUs);
        world.Trace(record.Sequence);
        Order(asked, in record);
    }

    private void Order(SimRequest asked, in RecordHeader record)
    {
        if (asked.IsConditional && !world.Profile.PowerLoss)
        {
            var newest = _newest.GetValueOrDefault(record.Range.First);
            if (newest != asked.Expected)
                throw Broken($"conditional write {record.Sequence} of block {record.Range.First} expected {asked.Expected}, but the block was at {newest}");
        }
        for (ulong index = 0; index < record.Range.Count; index++) _newest[record.Range.First + index] = record.Sequence;
    }

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
        if (ack.Sequence != 0 && ack.DurableSequence >= ack.Sequence) OnMedia(request);
        if (request.ForceUnitAccess) OnMedia(request);
        if (applied.AtUs > _lastPowerLossUs) _acknowledged.Add(request);
        if (world.Profile.PowerLoss) return;
        for (var index = 0; index < request.Floors.Length; index++)
        {
            if (applied.Sequence <= request.Floors[index])
                throw Broken($"write {applied.Sequence} of block {request.Range.First + (ulong)index} began after {request.Floors[index]} was seen");
            Raise(request.Range.First + (ulong)index, applied.Sequence);
        }
    }

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
            if (sequence < request.Floors[index])
                throw Broken($"{request.Client.Name} read block {block} as of {sequence}, but {request.Floors[index]} was acknowledged or read before");
            if (!world.Profile.PowerLoss) Raise(block, sequence);
            CheckValue(block, sequence, value);
        }
    }

    public void Check(bool condition, Func<string> what)
    {
        if (!condition) throw Broken(what());
    }

    /// <summary>All replicas hold the same blocks with the same sequences.</summary>
    public void CompareReplicas()
    {
        var expected = world.Director.OwnerNode!.Storage.Committed();
        foreach (var node in world.Replicas)
        {
            var held = node.Storage.Committed();
            // A block that was never written and one trimmed before a full copy read the same.
            if (!held.SequenceEqual(expected)) throw Broken($"{node.Name} holds other blocks than {world.Director.OwnerNode.Name}:\n  {Text(held)}\n  {Text(expected)}");
            if (node.Store!.CommitWatermark != world.Director.OwnerNode.Store!.CommitWatermark) throw Broken($"{node.Name} has another watermark");
        }
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
        var asked = _asked[request];
        if (!world.Profile.PowerLoss && (!asked.Range.Contains(block) || asked.Value != value))
            throw Broken($"block {block} as of {sequence} was read as {value}, but {asked.Value} was written over {asked.Range}");
    }

    /// <summary>The write is on media of every member: it outlives any power loss from here on.</summary>
    private void OnMedia(SimRequest write)
    {
        var applied = _appliedAs[(write.Session, write.Id)];
        if (applied.AtUs <= _lastPowerLossUs) return;
        for (ulong index = 0; index < write.Range.Count; index++) Raise(write.Range.First + index, applied.Sequence);
    }

    private void Raise(ulong block, ulong sequence)
    {
        if (sequence > _floors.GetValueOrDefault(block)) _floors[block] = sequence;
    }

    private BrokenPromiseException Broken(string what) => new($"{what} (at {world.NowUs / 1000.0} ms)");
}
