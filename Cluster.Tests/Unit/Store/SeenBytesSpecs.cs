using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

/// <summary>What snapshots see is summed up as versions come and go; the simulation compares with a model. Here: when it is not known, it is said so.</summary>
public sealed class SeenBytesSpecs
{
    private readonly BlockMap _map = new(new SegmentTable(null!, StoreOptions.SegmentBytesMin), new VolumeId(7));

    [Fact(DisplayName = "A snapshot sees what is there when it is made, whatever becomes of it, and two see one version each for itself")]
    public void Follows_versions()
    {
        Put(1, 1, 100);
        Put(2, 2, 50);
        _map.AddSnapshot(3);
        Put(1, 4, 70);
        _map.AddSnapshot(5);
        _map.Trim(new BlockRange(0, 9), 6);
        Assert.Equal((150, 120), (_map.SeenBytes(3), _map.SeenBytes(5)));
        _map.KeepSnapshots([5]);
        Assert.Equal((null, 120), (_map.SeenBytes(3), _map.SeenBytes(5)));
    }

    [Fact(DisplayName = "A snapshot that is put between versions of which some are newer is not counted, nor are others, until the map is empty")]
    public void Put_between()
    {
        Put(1, 1, 100);
        Put(2, 9, 50);
        _map.AddSnapshot(5);
        Assert.Null(_map.SeenBytes(5));
        _map.ReleaseAll();
        _map.AddSnapshot(20);
        Assert.Equal(0, _map.SeenBytes(20));
        // Nothing lies between: there is nothing to divide.
        _map.AddSnapshot(10);
        Assert.True(_map.Insert(1, Entry(8, 30), 10));
        Assert.Equal((30, 0), (_map.SeenBytes(10), _map.SeenBytes(20)));
        _map.AddSnapshot(5);
        Assert.Null(_map.SeenBytes(10));
    }

    [Fact(DisplayName = "A checkpoint that has the pages before the snapshots, as they were written once, gives no count; the next one does")]
    public void Pages_first()
    {
        var page = new MapPage();
        page.Load(1, Entry(1, 100));
        Assert.True(_map.TryLoad(0, page) && _map.TryLoadSnapshot(5));
        Assert.Null(_map.SeenBytes(5));

        var anew = new BlockMap(new SegmentTable(null!, StoreOptions.SegmentBytesMin), new VolumeId(7));
        page = new MapPage();
        page.Load(1, Entry(1, 100));
        Assert.True(anew.TryLoadSnapshot(5) && anew.TryLoad(0, page));
        Assert.Equal(100, anew.SeenBytes(5));
    }

    private void Put(ulong block, ulong sequence, ushort lengthBytes) => Assert.True(_map.Put(block, Entry(sequence, lengthBytes)));

    private static MapEntry Entry(ulong sequence, ushort lengthBytes) =>
        new() { Sequence = sequence, LengthBytes = lengthBytes, Segment = MapEntry.LostSegment, Encoding = BlockEncoding.Raw };
}
