using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.State;

namespace Cluster.Tests.Unit.Journal;

public sealed class MetaStateSpecs
{
    private readonly MetaState _state = new();

    [Fact(DisplayName = "An append is a compare and set on the highest sequence number, stored whole or not at all")]
    public void Append_is_compare_and_set()
    {
        Assert.Equal(MetaAnswer.Ok(3), _state.Apply(Append("a", 0, 3)));
        Assert.Equal(MetaAnswer.Conflict(3), _state.Apply(Append("a", 0, 1)));
        Assert.Equal(MetaAnswer.Conflict(3), _state.Apply(Append("a", 4, 1)));
        Assert.Equal(MetaAnswer.Ok(5), _state.Apply(Append("a", 3, 2)));
        Assert.Equal(MetaAnswer.Conflict(0), _state.Apply(Append("b", 1, 1)));
        Assert.Equal([1L, 2, 3, 4, 5], Numbers("a", 1, long.MaxValue));
        Assert.Equal([2L, 3], Numbers("a", 2, 3));
        Assert.Empty(Numbers("b", 1, 9));
    }

    [Fact(DisplayName = "Deleting events keeps the highest sequence number, also when all are gone")]
    public void Deletion()
    {
        _state.Apply(Append("a", 0, 5));
        Assert.Equal(MetaAnswer.Ok(5), _state.Apply(new MetaCommand.DeleteEvents("a", 3)));
        Assert.Equal([4L, 5], Numbers("a", 0, long.MaxValue));
        Assert.Equal(MetaAnswer.Ok(5), _state.Apply(new MetaCommand.DeleteEvents("a", 2)));
        Assert.Equal(MetaAnswer.Ok(5), _state.Apply(new MetaCommand.DeleteEvents("a", long.MaxValue)));
        Assert.Empty(Numbers("a", 1, long.MaxValue));
        Assert.Equal(5, _state.HighestSequenceNr("a"));
        Assert.Equal(MetaAnswer.Ok(6), _state.Apply(Append("a", 5, 1)));
        Assert.Equal(MetaAnswer.Ok(0), _state.Apply(new MetaCommand.DeleteEvents("unknown", 5)));
    }

    [Fact(DisplayName = "The same proposal is applied once and answered alike, until the window has moved on")]
    public void Proposal_window()
    {
        var first = Append("a", 0, 1);
        Assert.Equal(MetaAnswer.Ok(1), _state.Apply(first));
        Assert.Equal(MetaAnswer.Ok(1), _state.Apply(first));
        for (var i = 0; i < JournalLimits.ProposalWindowMax; i++) _state.Apply(new MetaCommand.DeleteEvents("x", 1));
        Assert.Equal(MetaAnswer.Conflict(1), _state.Apply(first));
        Assert.Equal([1L], Numbers("a", 1, 9));
    }

    [Fact(DisplayName = "Key versions are never used again, so that a delete and a new write can't look like no change")]
    public void Key_versions()
    {
        var one = _state.Apply(new MetaCommand.SetKey("k", 0, [1]));
        Assert.True(one.IsOk);
        Assert.Equal(MetaAnswer.Conflict(one.Current), _state.Apply(new MetaCommand.SetKey("k", 0, [2])));
        Assert.Equal(MetaAnswer.Ok(0), _state.Apply(new MetaCommand.SetKey("k", one.Current, null)));
        Assert.Null(_state.Key("k"));
        var two = _state.Apply(new MetaCommand.SetKey("k", 0, [1]));
        Assert.True(two.Current > one.Current);
        Assert.Equal(MetaAnswer.Conflict(two.Current), _state.Apply(new MetaCommand.SetKey("k", one.Current, [3])));
    }

    [Fact(DisplayName = "Snapshots: the newest in range, a few are kept, and none of events that were never stored")]
    public void Snapshots()
    {
        _state.Apply(Append("a", 0, 9));
        for (var n = 1; n <= 6; n++) Assert.True(_state.Apply(new MetaCommand.SaveSnapshot("a", Snapshot(n))).IsOk);
        Assert.Equal(MetaAnswer.Conflict(9), _state.Apply(new MetaCommand.SaveSnapshot("a", Snapshot(10))));
        Assert.Equal(6, _state.Snapshot("a", MetaSnapshotRange.All)!.SequenceNr);
        Assert.Equal(4, _state.Snapshot("a", MetaSnapshotRange.All with { SequenceNrMax = 4 })!.SequenceNr);
        Assert.Null(_state.Snapshot("a", MetaSnapshotRange.All with { SequenceNrMax = 2 }));
        _state.Apply(new MetaCommand.DeleteSnapshots("a", MetaSnapshotRange.All with { SequenceNrMin = 5 }));
        Assert.Equal(4, _state.Snapshot("a", MetaSnapshotRange.All)!.SequenceNr);
    }

    [Fact(DisplayName = "At its size limit the state says Full and changes nothing; deletes pass and make room")]
    public void Size_limit()
    {
        var state = new MetaState(bytesMax: 1000);
        var size = 0;
        for (; state.Apply(Append("a", size, 1)).IsOk; size++) { }
        Assert.Equal(MetaAnswer.Full(size), state.Apply(Append("a", size, 1)));
        Assert.Equal(MetaAnswerStatus.Full, state.Apply(new MetaCommand.SetKey("k", 0, new byte[1000])).Status);
        state.Apply(new MetaCommand.DeleteEvents("a", 1));
        Assert.Equal(MetaAnswer.Ok(size + 1), state.Apply(Append("a", size, 1)));
    }

    [Fact(DisplayName = "An image gives back the same state, with its size and its window of answers")]
    public void Image_round_trip()
    {
        var append = Append("a", 0, 3);
        _state.Apply(append);
        _state.Apply(new MetaCommand.DeleteEvents("a", 1));
        _state.Apply(new MetaCommand.SaveSnapshot("a", Snapshot(2)));
        _state.Apply(new MetaCommand.SetKey("k", 0, [7]));
        var copy = new MetaState();
        copy.Apply(Append("left over", 0, 1));
        copy.Load(_state.ToImage());
        Assert.Equal(_state.ToImage(), copy.ToImage());
        Assert.Equal((_state.SizeBytes, _state.Revision), (copy.SizeBytes, copy.Revision));
        Assert.Equal(MetaAnswer.Ok(3), copy.Apply(append));
        var cut = _state.ToImage()[..^1];
        Assert.Throws<JournalFormatException>(() => copy.Load(cut));
    }

    [Fact(DisplayName = "Every command survives its encoding; another version or type is refused, never skipped")]
    public void Commands_round_trip()
    {
        MetaCommand[] commands =
        [
            Append("a", 3, 2), new MetaCommand.DeleteEvents("a", 2), new MetaCommand.SaveSnapshot("a", Snapshot(2)),
            new MetaCommand.DeleteSnapshots("a", MetaSnapshotRange.All), new MetaCommand.SetKey("k", 1, [1]), new MetaCommand.SetKey("k", 2, null),
        ];
        foreach (var command in commands)
        {
            var bytes = MetaCommandCodec.Encode(command);
            Assert.Equal(bytes, MetaCommandCodec.Encode(MetaCommandCodec.Decode(bytes)));
            Assert.Throws<JournalFormatException>(() => MetaCommandCodec.Decode([2, .. bytes[1..]]));
            Assert.Throws<JournalFormatException>(() => MetaCommandCodec.Decode([bytes[0], 99, .. bytes[2..]]));
            Assert.Throws<JournalFormatException>(() => MetaCommandCodec.Decode([.. bytes, 0]));
            for (var length = 0; length < bytes.Length; length++)
                Assert.Throws<JournalFormatException>(() => MetaCommandCodec.Decode(bytes.AsSpan(0, length)));
        }
    }

    private static MetaCommand.AppendEvents Append(string id, long expected, int count) =>
        new(id, expected, "writer", [.. Enumerable.Range(1, count).Select(i => new MetaNewEvent(i, new MetaPayload(7, "m", [(byte)i])))]);

    private static MetaSnapshot Snapshot(long sequenceNr) => new(sequenceNr, 100 + sequenceNr, new MetaPayload(7, "s", [1, 2]));

    private long[] Numbers(string id, long from, long to) => [.. _state.Events(id, from, to, 100, 1 << 20).Select(e => e.SequenceNr)];
}
