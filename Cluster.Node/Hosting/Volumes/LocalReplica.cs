using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Replica;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>The replica of this process as its owner sees it. Loop thread only.</summary>
internal sealed class LocalReplica(ReplicaMachine machine, LoopStages stages) : ILocalReplica
{
    private readonly IVolumeStore _store = machine.Store;
    private Completion? _completion;

    public SessionWindows Windows => _store.Windows;

    public bool Commit(ulong epoch, ulong watermark) => machine.CommitFor(epoch, watermark);

    public ulong SequenceOf(ulong block) => _store.SequenceOf(block, withTail: true);

    public void Read(BlockRange range, ILocalReads reads, ulong token, ReadOnlySpan<ulong> known = default)
    {
        // One owner reads at a time: its completion is made once, not per read.
        if (_completion?.Reads != reads) _completion = new Completion(reads, stages);
        var before = stages.Enter(LoopStage.Replica);
        _store.Read(range, _completion, token, known);
        stages.Leave(before);
    }

    public ulong Allocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents) =>
        _store.Allocated(range, extentsMax, extents);

    public (IoStatus Status, ChangePosition? Next) ReadChanges(ulong since, ulong upTo, ChangePosition? position, int bytesMax, List<IoBuffer> records)
    {
        var cursor = position is { } at ? new ChangeCursor(!at.IsInBlocks ? 0 : at.Snapshot == 0 ? 1 : 2, at.Block, at.Snapshot) : null;
        var (status, next) = _store.ReadChanges(since, upTo, cursor, bytesMax, records);
        return (status, next is null ? null : new ChangePosition(next.Stage > 0, next.NextBlock, next.Snapshot));
    }

    public long EstimateChanges(ulong since, ulong upTo, ulong fromBlock) => _store.EstimateChanges(since, upTo, fromBlock);

    public IReadOnlyList<ulong> Snapshots => _store.Snapshots;

    public (long Bytes, long Blocks, long? SharedBytes) SnapshotUsage(ulong snapshot)
    {
        var usage = _store.UsageOf(snapshot);
        return (usage.UniqueBytes, usage.UniqueBlocks, usage.SharedBytes);
    }

    public ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents) => _store.Changed(from, to, range, extentsMax, extents);

    public ulong RestoreEnd(ulong snapshot, ulong from) => _store.RestoreEnd(snapshot, from);

    public bool HasTombstones => _store.HasTombstones;

    public VolumeSpace Space
    {
        get
        {
            var usage = _store.Usage;
            return new VolumeSpace((usage.MappedBlocks + usage.SharedBlocks) * Limits.BlockBytes, usage.StoredBytes, usage.SnapshotBytes, usage.SharedBytes);
        }
    }

    public int CloneDepth => _store.CloneDepth;

    public long StoredBytes => _store.Usage.StoredBytes;

    public long ScrubBytes => _store.Usage.ScrubBytes;

    public ScrubMark Scrub => machine.Header.Scrub;

    public (IoStatus Status, IoBuffer? Record) ReadTail(ulong sequence) => _store.ReadTail(sequence);

    private sealed class Completion(ILocalReads reads, LoopStages stages) : IReadCompletion
    {
        public ILocalReads Reads => reads;

        public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
        {
            var before = stages.Enter(LoopStage.Owner);
            reads.OnLocalRead(token, status, reply);
            stages.Leave(before);
        }
    }
}
