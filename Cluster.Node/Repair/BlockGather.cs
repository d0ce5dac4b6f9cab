using System.Numerics;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Repair;

/// <summary>
/// The good blocks of a range as several copies have them, each asked for the same or a later commit watermark: per block the newest version whose checksum
/// its copy confirmed; of two such with the same sequence, which no fault of ours can make, the one that more copies have, and then the preferred copy's.
/// At most <see cref="Limits.RecordBlocksMax"/> blocks. Pure; on the loop of its user.
/// </summary>
/// <param name="snapshot">0: the volume's own blocks. Else the versions that this snapshot keeps.</param>
public sealed class BlockGather(VolumeId volume, BlockRange range, ulong snapshot, NodeId preferred) : IDisposable
{
    private readonly List<Answer> _answers = [];
    private readonly int[] _best = [.. Enumerable.Repeat(-1, (int)range.Count)];
    private readonly ulong _all = AllOf(range);

    /// <summary>What one copy answered. Offsets lead to the encoded bytes of each block that is good there.</summary>
    private sealed record Answer(NodeId Node, ulong Bad, IoBuffer? Reply, int[] Offsets)
    {
        public bool IsGood(int index) => Reply is not null && (Bad & (1UL << index)) == 0;

        public ReadDescriptor At(int index) => ReadDescriptor.Read(Reply!.Span[(index * ReadDescriptor.SizeBytes)..]);

        public Span<byte> Bytes(int index) => Reply!.Span.Slice(Offsets[index], At(index).Block.Length);
    }

    public BlockRange Range => range;

    public ulong Snapshot => snapshot;

    /// <summary>Bit i: no copy that has answered has block i good.</summary>
    public ulong Missing { get; private set; } = AllOf(range);

    public int MissingCount => BitOperations.PopCount(Missing);

    /// <summary>
    /// A copy's answer as a ReplicaBlocks frame has it; keeps a reference to the buffer. False: the answer is not one for this range, and is as if all were bad.
    /// </summary>
    public bool Add(NodeId node, ulong bad, IoBuffer reply)
    {
        if (!TryIndex(bad, reply.Span, out var offsets))
        {
            AddFailed(node);
            return false;
        }
        reply.AddReference();
        var answer = new Answer(node, bad, reply, offsets);
        _answers.Add(answer);
        for (var index = 0; index < _best.Length; index++)
        {
            if (!answer.IsGood(index)) continue;
            _best[index] = BestOf(index);
            Missing &= ~(1UL << index);
        }
        return true;
    }

    /// <summary>The copy could not be read at all.</summary>
    public void AddFailed(NodeId node) => _answers.Add(new Answer(node, ulong.MaxValue, null, []));

    public bool HasAnswered(NodeId node) => _answers.Exists(answer => answer.Node == node);

    /// <summary>Blocks that the copy named as bad while another has them good.</summary>
    public ulong Mendable(NodeId node)
    {
        var answer = _answers.Find(answer => answer.Node == node);
        return answer?.Reply is null ? 0 : answer.Bad & ~Missing & _all;
    }

    /// <summary>Blocks that the copy confirms in another version than the one chosen. It says something only if all copies were asked for one and the same watermark.</summary>
    public ulong Differing(NodeId node)
    {
        ulong differing = 0;
        var answer = _answers.Find(answer => answer.Node == node);
        for (var index = 0; answer is not null && index < _best.Length; index++)
        {
            if (answer.IsGood(index) && !IsSame(answer.At(index), Best(index).At(index))) differing |= 1UL << index;
        }
        return differing;
    }

    /// <summary>The range as an answer to a read: descriptors, then bytes. Nothing may be missing. One reference is the caller's.</summary>
    public IoBuffer BuildReply()
    {
        Invariant.That(Missing == 0, "a read was to be answered with blocks that no copy has");
        var descriptorBytes = _best.Length * ReadDescriptor.SizeBytes;
        var total = descriptorBytes;
        for (var index = 0; index < _best.Length; index++) total += Best(index).At(index).Block.Length;
        var reply = BufferPool.Shared.Rent(total);
        var at = descriptorBytes;
        for (var index = 0; index < _best.Length; index++)
        {
            Best(index).At(index).Write(reply.Span[(index * ReadDescriptor.SizeBytes)..]);
            Best(index).Bytes(index).CopyTo(reply.Span[at..]);
            at += Best(index).Bytes(index).Length;
        }
        return reply;
    }

    /// <summary>
    /// Resync records of the newest good version of these blocks, one per run of one sequence; a version without bytes is a trim, one that a snapshot keeps a write of zeroes. One
    /// reference each is the caller's. Blocks that were never written need none.
    /// </summary>
    public void BuildRecords(ulong blocks, List<IoBuffer> records)
    {
        for (var index = 0; index < _best.Length;)
        {
            var count = RunOf(blocks & ~Missing, index);
            if (count > 0 && Best(index).At(index).Sequence > 0) records.Add(BuildRecord(index, count));
            index += Math.Max(1, count);
        }
    }

    public void Dispose()
    {
        foreach (var answer in _answers) answer.Reply?.Release();
        _answers.Clear();
    }

    private static ulong AllOf(BlockRange range) => range.Count == 64 ? ulong.MaxValue : (1UL << (int)range.Count) - 1;

    private Answer Best(int index) => _answers[_best[index]];

    private int BestOf(int index)
    {
        var best = -1;
        for (var candidate = 0; candidate < _answers.Count; candidate++)
        {
            if (_answers[candidate].IsGood(index) && (best < 0 || IsBetter(index, _answers[candidate], _answers[best]))) best = candidate;
        }
        return best;
    }

    private bool IsBetter(int index, Answer one, Answer other)
    {
        var (mine, theirs) = (one.At(index), other.At(index));
        if (mine.Sequence != theirs.Sequence) return mine.Sequence > theirs.Sequence;
        var (votes, otherVotes) = (Votes(index, mine), Votes(index, theirs));
        return votes != otherVotes ? votes > otherVotes : one.Node == preferred;
    }

    private int Votes(int index, ReadDescriptor version)
    {
        var votes = 0;
        foreach (var answer in _answers)
        {
            if (answer.IsGood(index) && IsSame(answer.At(index), version)) votes++;
        }
        return votes;
    }

    /// <summary>A block without bytes reads as zeroes, whatever made it so.</summary>
    private static bool IsSame(ReadDescriptor one, ReadDescriptor other) =>
        one.Block.Length == 0 ? other.Block.Length == 0 : one.Sequence == other.Sequence && one.Block == other.Block;

    private int RunOf(ulong blocks, int first)
    {
        var count = 0;
        while (first + count < _best.Length && (blocks & (1UL << (first + count))) != 0 && IsOfRun(first, first + count)) count++;
        return count;
    }

    private bool IsOfRun(int first, int index)
    {
        var (one, other) = (Best(first).At(first), Best(index).At(index));
        return one.Sequence == other.Sequence && (one.Block.Length == 0) == (other.Block.Length == 0);
    }

    private IoBuffer BuildRecord(int first, int count)
    {
        // What was trimmed before a snapshot is kept by no snapshot.
        var isTrim = snapshot == 0 && Best(first).At(first).Block.Length == 0;
        var header = new RecordHeader
        {
            Kind = isTrim ? RecordKind.Trim : RecordKind.Write,
            Flags = RecordFlags.Resync,
            Volume = volume,
            Range = new BlockRange(range.First + (ulong)first, (uint)count),
            Sequence = Best(first).At(first).Sequence,
            ExpectedSequence = snapshot,
            DescriptorCount = isTrim ? 0 : (uint)count,
        };
        for (var index = first; index < first + count; index++) header.PayloadLength += Best(index).At(index).Block.Length;
        var record = BufferPool.Shared.Rent(header.TotalBytes);
        var at = header.PayloadOffset;
        for (var index = first; index < first + count && !isTrim; index++)
        {
            Best(index).At(index).Block.Write(record.Span[(RecordHeader.SizeBytes + ((index - first) * BlockDescriptor.SizeBytes))..]);
            Best(index).Bytes(index).CopyTo(record.Span[at..]);
            at += Best(index).Bytes(index).Length;
        }
        header.Encode(record.Span);
        return record;
    }

    /// <summary>Where the bytes of each good block lie; false when a length or a checksum is not what the descriptors say: it travelled and was not checked by others.</summary>
    private bool TryIndex(ulong bad, ReadOnlySpan<byte> reply, out int[] offsets)
    {
        offsets = new int[_best.Length];
        var at = _best.Length * ReadDescriptor.SizeBytes;
        if (reply.Length < at) return false;
        for (var index = 0; index < _best.Length; index++)
        {
            if ((bad & (1UL << index)) != 0) continue;
            var block = ReadDescriptor.Read(reply[(index * ReadDescriptor.SizeBytes)..]).Block;
            if (!block.IsPlausible || block.Length > reply.Length - at) return false;
            if (block.Length > 0 && !block.Matches(volume, 0, range.First + (ulong)index, reply.Slice(at, block.Length))) return false;
            offsets[index] = at;
            at += block.Length;
        }
        return at == reply.Length;
    }
}
