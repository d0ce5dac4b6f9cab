using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Replica;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>The real store's replica, listened to: what it takes, commits and tells is what the checkers compare.</summary>
internal sealed class SimBlockVolume : IVolumeStore, IVolumeStoreEvents
{
    private readonly SimBlockStorage _storage;
    private readonly SimNode _node;
    private readonly List<RecordHeader> _tail = [];
    private readonly bool _isMain;

    /// <summary>Those of the tail.</summary>
    private readonly Dictionary<ulong, SnapshotMarker> _markers = [];

    /// <summary>A new one is staged, and may be gone again.</summary>
    public SimBlockVolume(SimBlockStorage storage, SimNode node, VolumeStore real, bool isNew)
    {
        (_storage, _node, Real, _isMain) = (storage, node, real, real.Volume == SimWorld.Volume);
        for (var sequence = real.TailFrom + 1; sequence <= real.LastSequence; sequence++)
        {
            var (status, record) = real.ReadTail(sequence);
            if (status != IoStatus.Ok) break;
            if (RecordHeader.TryDecode(record!.Span, out var header) == IoStatus.Ok) AddToTail(in header, record);
            record.Release();
        }
        real.Events = this;
        (ToldAppended, ToldDurable) = (real.LastSequence, real.DurableSequence);
        if (isNew) States.Add(SimReplicaState.None);
        Note();
    }

    public VolumeStore Real { get; }

    /// <summary>The last sequence that the machine was told to be written, and to be on media.</summary>
    public ulong ToldAppended { get; private set; }

    public ulong ToldDurable { get; private set; }

    public bool HasFailed { get; private set; }

    /// <summary>What it was, step by step, since the open: what an open finds is one of them, and whole.</summary>
    public List<SimReplicaState> States { get; } = [];

    public IReadOnlyList<ulong> Snapshots => Real.Snapshots;

    public IoStatus SetSnapshots(IReadOnlyList<ulong> sequences) => Real.SetSnapshots(sequences);

    public ulong DigestSnapshot(ulong snapshot, BlockRange range) => Real.DigestSnapshot(snapshot, range);

    public SnapshotUsage UsageOf(ulong snapshot) => Real.UsageOf(snapshot);

    /// <summary>A volume of the simulation is too small for the store's own parts.</summary>
    public ulong RestoreEnd(ulong snapshot, ulong from) => Math.Min(Real.RestoreEnd(snapshot, from), SimRestores.EndOf(_node.World, from));

    public ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents) => Real.Changed(from, to, range, extentsMax, extents);

    public VolumeId Volume => Real.Volume;

    public ReadOnlyMemory<byte> Header => Real.Header;

    public string? Damage => Real.Damage;

    public ulong LastSequence => Real.LastSequence;

    public ulong LastRecordEpoch => Real.LastRecordEpoch;

    public ulong AppendedSequence => Real.AppendedSequence;

    public ulong DurableSequence => Real.DurableSequence;

    public ulong CommitWatermark => Real.CommitWatermark;

    public ulong TailFrom => Real.TailFrom;

    public SessionWindows Windows => Real.Windows;

    public VolumeUsage Usage => Real.Usage;

    public IVolumeStoreEvents? Events { get; set; }

    public IoStatus Append(IoBuffer record, in RecordHeader header)
    {
        var status = Real.Append(record, in header);
        if (status != IoStatus.Ok) return status;
        AddToTail(in header, record);
        Note();
        return status;
    }

    public long Grant() => Real.Grant();

    public void GiveBack() => Real.GiveBack();

    public long UnwrittenCredit => Real.UnwrittenCredit;

    public IoStatus AppendResync(IoBuffer record, in RecordHeader header) => Real.AppendResync(record, in header);

    public IoStatus SetWindows(SessionWindows windows) => Real.SetWindows(windows);

    public void Commit(ulong watermark)
    {
        Real.Commit(watermark);
        var count = 0;
        for (; count < _tail.Count && _tail[count].Sequence <= Real.CommitWatermark; count++)
        {
            // What a clone takes is seen by its own checker only.
            if (!_isMain) continue;
            var header = _tail[count];
            if (_markers.Remove(header.Sequence, out var marker)) _node.World.History.OnCommitted(_node, in header, marker);
            else _node.World.History.OnCommitted(_node, in header);
        }
        _tail.RemoveRange(0, count);
    }

    public void ForgetTombstones(ulong upTo)
    {
        var before = Real.Map.Tombstones.Count;
        Real.ForgetTombstones(upTo);
        _node.World.History.Forgotten += before - Real.Map.Tombstones.Count;
    }

    public bool HasTombstones => Real.HasTombstones;

    public IoStatus Truncate(ulong toSequence)
    {
        var status = Real.Truncate(toSequence);
        if (status == IoStatus.Ok) _tail.RemoveAll(header => header.Sequence > toSequence);
        Lower();
        Note();
        return status;
    }

    public IoStatus SetPosition(ulong sequence, ulong lastRecordEpoch, bool discardAll)
    {
        var status = Real.SetPosition(sequence, lastRecordEpoch, discardAll);
        if (status == IoStatus.Ok) _tail.Clear();
        Lower();
        Note();
        return status;
    }

    public ulong SaveHeader(ReadOnlyMemory<byte> header)
    {
        var number = Real.SaveHeader(header);
        Note();
        return number;
    }

    public void RequestSync() => Real.RequestSync();

    public void Read(BlockRange range, IReadCompletion completion, ulong token, ReadOnlySpan<ulong> known = default) => Real.Read(range, new Reading(_storage, completion), token, known);

    public void ReadEach(BlockRange range, ulong snapshot, bool background, IEachReadCompletion completion, ulong token) =>
        Real.ReadEach(range, snapshot, background, new EachReading(_storage, completion), token);

    public (IoStatus Status, int Blocks) Repair(IoBuffer record, in RecordHeader header) => Real.Repair(record, in header);

    public ulong Digest(BlockRange range, ulong snapshot, bool withChecksums) => Real.Digest(range, snapshot, withChecksums);

    public ulong NextSnapshot(BlockRange range, ulong below) => Real.NextSnapshot(range, below);

    public ulong NextData(ulong from, ulong end) => Real.NextData(from, end);

    public ulong SequenceOf(ulong block, bool withTail) => Real.SequenceOf(block, withTail);

    public ulong Allocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents) =>
        Real.Allocated(range, extentsMax, extents);

    /// <summary>A few blocks at once: else all there are would go in one batch, and a catch-up have no middle.</summary>
    public (IoStatus Status, ChangeCursor? Next) ReadChanges(ulong since, ulong upTo, ChangeCursor? cursor, int bytesMax, List<IoBuffer> records) =>
        Real.ReadChanges(since, upTo, cursor, (int)Math.Min(bytesMax, _node.World.Random.Between(1, 5) * _node.World.Profile.EncodedBytes), records);

    public long EstimateChanges(ulong since, ulong upTo, ulong fromBlock) => Real.EstimateChanges(since, upTo, fromBlock);

    public (IoStatus Status, IoBuffer? Record) ReadTail(ulong sequence) => Real.ReadTail(sequence);

    public void OnAppended(ulong appendedSequence)
    {
        ToldAppended = appendedSequence;
        Events?.OnAppended(appendedSequence);
    }

    public void OnDurable(ulong durableSequence, ulong headerNumber)
    {
        ToldDurable = durableSequence;
        Events?.OnDurable(durableSequence, headerNumber);
    }

    public void OnFailed(IoStatus status, string reason)
    {
        HasFailed = true;
        Events?.OnFailed(status, reason);
    }

    public void OnRoom() => Events?.OnRoom();

    private void AddToTail(in RecordHeader header, IoBuffer record)
    {
        _tail.Add(header);
        _markers.Remove(header.Sequence);
        if (header.Kind == RecordKind.Marker && SnapshotMarker.TryDecode(record.Span[header.PayloadOffset..]) is { } marker) _markers.Add(header.Sequence, marker);
    }

    private void Note()
    {
        if (_isMain) States.Add(SimReplicaState.Of(Real));
    }

    private void Lower() => (ToldAppended, ToldDurable) = (Math.Min(ToldAppended, Real.LastSequence), Math.Min(ToldDurable, Real.LastSequence));

    /// <summary>Nobody is there any more to hear of a read when the process has ended.</summary>
    private sealed class Reading(SimBlockStorage storage, IReadCompletion completion) : IReadCompletion
    {
        private readonly int _life = storage.Life;

        public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
        {
            if (storage.Life == _life) completion.OnRead(token, status, reply);
            else reply?.Release();
        }
    }

    private sealed class EachReading(SimBlockStorage storage, IEachReadCompletion completion) : IEachReadCompletion
    {
        private readonly int _life = storage.Life;

        public void OnReadEach(ulong token, IoStatus status, ulong bad, IoBuffer? reply)
        {
            if (storage.Life == _life) completion.OnReadEach(token, status, bad, reply);
            else reply?.Release();
        }
    }
}

/// <summary>Where a replica's log ends, and its header; what a replay of some whole number of its entries gives.</summary>
internal readonly record struct SimReplicaState(ulong Sequence, ulong LastRecordEpoch, byte[] Header)
{
    public static readonly SimReplicaState None = new(0, 0, []);

    public static SimReplicaState Of(VolumeStore? replica) => replica is null ? None : new(replica.LastSequence, replica.LastRecordEpoch, replica.Header.ToArray());

    public bool Is(in SimReplicaState other) =>
        Sequence == other.Sequence && LastRecordEpoch == other.LastRecordEpoch && Header.AsSpan().SequenceEqual(other.Header);

    /// <summary>What differs from that one, for a message.</summary>
    public string Unlike(in SimReplicaState found)
    {
        var differences = new List<string>();
        if (Sequence != found.Sequence) differences.Add($"sequence {Sequence}, found {found.Sequence}");
        if (LastRecordEpoch != found.LastRecordEpoch) differences.Add($"epoch of the last record {LastRecordEpoch}, found {found.LastRecordEpoch}");
        if (!Header.AsSpan().SequenceEqual(found.Header))
        {
            if (ReplicaHeader.TryDecode(Header) is not { } one || ReplicaHeader.TryDecode(found.Header) is not { } other) differences.Add("the header, and one of the two is none");
            else AddDifferences(one, other, differences);
        }
        return string.Join(", ", differences);
    }

    private static void AddDifferences(ReplicaHeader one, ReplicaHeader other, List<string> differences)
    {
        foreach (var property in typeof(ReplicaHeader).GetProperties())
        {
            var (was, found) = (Text(property.GetValue(one)), Text(property.GetValue(other)));
            if (was != found) differences.Add($"{property.Name} {was}, found {found}");
        }
    }

    private static string Text(object? value) => value is IEnumerable<StampedMember> members ? $"[{string.Join("; ", members)}]"
        : value is byte[] bytes ? Convert.ToHexString(bytes) : $"{value}";

    public override string ToString() => $"{Sequence} of epoch {LastRecordEpoch}, header {Header.Length} B";
}
