using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>Where a staged record lies: the segment, and the offset of its entry's prefix.</summary>
public readonly record struct EntryPlace(int Segment, uint EntryOffsetBytes)
{
    public uint RecordOffsetBytes => EntryOffsetBytes + EntryPrefix.SizeBytes;
}

/// <summary>One uncommitted record: what its commit needs, so that nothing has to be read back.</summary>
public struct TailRecord
{
    public RecordKind Kind;
    public uint Layer;
    public ulong Epoch;
    public SessionId Session;
    public ulong RequestId;
    public ulong AnsweredBelow;
    public BlockRange Range;
    public int DescriptorCount;
    public int TotalBytes;
    public EntryPlace Place;
}

/// <summary>
/// The records above the commit watermark, oldest first, in two rings that grow to what the volume needs and then cost nothing: one of
/// records, one of their descriptors.
/// </summary>
public sealed class TailQueue
{
    private TailRecord[] _records = new TailRecord[16];
    private BlockDescriptor[] _descriptors = new BlockDescriptor[64];
    private int _first;
    private long _descriptorFirst;
    private long _descriptorEnd;

    public int Count { get; private set; }

    /// <summary>By age: 0 is the oldest.</summary>
    public ref readonly TailRecord this[int index] => ref _records[(_first + index) & (_records.Length - 1)];

    public void Add(in TailRecord record, ReadOnlySpan<byte> descriptors)
    {
        if (Count == _records.Length) GrowRecords();
        while (_descriptorEnd - _descriptorFirst + record.DescriptorCount > _descriptors.Length) GrowDescriptors();
        _records[(_first + Count) & (_records.Length - 1)] = record;
        Count++;
        for (var index = 0; index < record.DescriptorCount; index++)
        {
            _descriptors[(_descriptorEnd + index) & (_descriptors.Length - 1)] =
                BlockDescriptor.Read(descriptors[(index * BlockDescriptor.SizeBytes)..]);
        }
        _descriptorEnd += record.DescriptorCount;
    }

    /// <summary>Descriptor of the oldest record.</summary>
    public BlockDescriptor FirstDescriptor(int index) => _descriptors[(_descriptorFirst + index) & (_descriptors.Length - 1)];

    public void RemoveFirst()
    {
        Invariant.That(Count > 0, "the tail is empty");
        _descriptorFirst += _records[_first].DescriptorCount;
        _first = (_first + 1) & (_records.Length - 1);
        Count--;
    }

    public void RemoveLast()
    {
        Invariant.That(Count > 0, "the tail is empty");
        _descriptorEnd -= this[Count - 1].DescriptorCount;
        Count--;
    }

    private void GrowRecords()
    {
        var grown = new TailRecord[_records.Length * 2];
        for (var index = 0; index < Count; index++) grown[index] = this[index];
        (_records, _first) = (grown, 0);
    }

    private void GrowDescriptors()
    {
        var grown = new BlockDescriptor[_descriptors.Length * 2];
        for (var at = _descriptorFirst; at < _descriptorEnd; at++)
            grown[at & (grown.Length - 1)] = _descriptors[at & (_descriptors.Length - 1)];
        _descriptors = grown;
    }
}
