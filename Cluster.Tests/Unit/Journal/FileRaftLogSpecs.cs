using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Journal;

public sealed class FileRaftLogSpecs : IDisposable
{
    private static readonly Guid ClusterId = new("0f9a4c6e-1111-2222-3333-444455556666");
    private static readonly RaftMembers Formed = TestMembers.Voters(3);
    private static readonly RaftMembers Later = Formed.WithLearner(TestMembers.Node(3)) with { Index = 4 };
    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-raftlog-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "What was written is read back: the last vote, and entries with what replaced them")]
    public void Round_trip()
    {
        using (var log = Open(out var empty))
        {
            Assert.Equal((RaftVote.None, null, 0), (empty.Vote, empty.Snapshot, empty.Entries.Count));
            log.Append(new RaftVote(1, 0), [Entry(1, 1), Entry(2, 1), Entry(3, 1)]);
            log.Append(new RaftVote(2, RaftVote.NoVote), [Entry(2, 2)]);
            log.Sync();
        }
        using var again = Open(out var durable);
        Assert.Equal(new RaftVote(2, RaftVote.NoVote), durable.Vote);
        Assert.Equal([(1L, 1L), (2L, 2L)], durable.Entries.Select(e => (e.Index, e.Term)));
        Assert.Equal([2, 2], durable.Entries[1].Data);
    }

    [Fact(DisplayName = "A tail cut at any byte gives back a prefix of what was written, and the log goes on from there")]
    public void Torn_tail_at_every_byte()
    {
        long firstEnd;
        using (var log = Open(out _))
        {
            log.Append(new RaftVote(1, 1), [Entry(1, 1)]);
            log.Sync();
            firstEnd = new FileInfo(LogFile).Length;
            log.Append(null, [Entry(2, 1), Entry(3, 1)]);
        }
        var whole = File.ReadAllBytes(LogFile);
        for (var length = firstEnd; length < whole.Length; length++)
        {
            File.WriteAllBytes(LogFile, whole[..(int)length]);
            using var log = Open(out var durable);
            Assert.InRange(durable.Entries.Count, 1, 2);
            Assert.Equal(new RaftVote(1, 1), durable.Vote);
            log.Append(null, [Entry(durable.Entries.Count + 1, 2)]);
            log.Sync();
            log.Dispose();
            using var again = Open(out var after);
            Assert.Equal(2, after.Entries[^1].Term);
        }
    }

    [Fact(DisplayName = "A damaged record that was on media before a later one stops the node: it is rot, not a torn tail")]
    public void Rot_is_not_a_torn_tail()
    {
        using (var log = Open(out _))
        {
            log.Append(new RaftVote(1, 1), [Entry(1, 1)]);
            log.Sync();
            log.Append(null, [Entry(2, 1)]);
            log.Sync();
        }
        var whole = File.ReadAllBytes(LogFile);
        var lastRecord = whole.Length - (RaftRecord.HeaderBytes + 8);
        var flipped = 0;
        for (var at = 0; at < lastRecord; at += 3)
        {
            var damaged = (byte[])whole.Clone();
            damaged[at] ^= 0x10;
            File.WriteAllBytes(LogFile, damaged);
            try
            {
                using var log = Open(out var durable);
                Assert.Equal(2, durable.Entries.Count);                      // the flip hit padding
            }
            catch (JournalFormatException)
            {
                flipped++;
            }
        }
        Assert.True(flipped > lastRecord / 3 * 8 / 10, $"{flipped} of {lastRecord / 3} flips were seen");
    }

    [Fact(DisplayName = "A compaction leaves one file with the snapshot, the vote and the entries after it")]
    public void Compaction()
    {
        var snapshot = new RaftSnapshot(5, 2, Later, [1, 2, 3]);
        using (var log = Open(out _))
        {
            log.Append(new RaftVote(2, 0), [.. Enumerable.Range(1, 6).Select(i => Entry(i, 2))]);
            log.Sync();
            log.Rewrite(new RaftDurable(new RaftVote(3, 1), Formed, snapshot, [Entry(6, 2)]));
            log.Append(null, [Entry(7, 3)]);
            log.Sync();
        }
        Assert.Single(Directory.GetFiles(_directory));
        File.WriteAllBytes(Path.Combine(_directory, "raft-0000000000000003.log.tmp"), [1]);          // a compaction that was cut short
        using var again = Open(out var durable);
        Assert.Equal((new RaftVote(3, 1), 5L, 2L), (durable.Vote, durable.Snapshot!.Index, durable.Snapshot.Term));
        Assert.Equal([1, 2, 3], durable.Snapshot.Image);
        Assert.Equal(Later.Encode(), durable.Snapshot.Members.Encode());
        Assert.Equal([6L, 7], durable.Entries.Select(e => e.Index));
        Assert.Single(Directory.GetFiles(_directory));
    }

    [Fact(DisplayName = "Changes of the members are read back; a snapshot from before there were any has the formed ones")]
    public void Members_are_kept()
    {
        using (var log = Open(out _))
        {
            log.Append(new RaftVote(1, 0), [new RaftEntry(1, 1, RaftEntryKind.Members, (Later with { Index = 1 }).Encode())]);
            log.Sync();
        }
        using (var log = Open(out var durable))
        {
            var machine = new RaftMachine(new RaftSettings(0), durable, 1, 0);
            Assert.Equal([0, 1, 2, 3], machine.Members.All.Select(m => m.Number));
            Assert.Equal(Formed, machine.CommittedMembers);
        }
        File.Delete(LogFile);
        File.WriteAllBytes(Path.Combine(_directory, "raft-0000000000000002.log"), OldCompaction());
        using var old = Open(out var before);
        Assert.Equal((7L, Formed), (before.Snapshot!.Index, before.Snapshot.Members));
    }

    /// <summary>A file as it was compacted before members could change: head, snapshot and vote.</summary>
    private static byte[] OldCompaction()
    {
        var head = new JournalWriter().Id(ClusterId).I64(2).ToArray();
        (RaftRecord Record, byte[] Payload)[] records =
        [
            (new RaftRecord(RaftRecordKind.Head, RaftEntryKind.Unset, 0, 0, 0, head.Length, RaftVote.NoVote), head),
            (new RaftRecord(RaftRecordKind.Snapshot, RaftEntryKind.Unset, 7, 3, 0, 2, RaftVote.NoVote), [8, 9]),
            (new RaftRecord(RaftRecordKind.Vote, RaftEntryKind.Unset, 0, 3, 0, 0, 1), []),
        ];
        var file = new List<byte>();
        foreach (var (record, payload) in records)
        {
            var bytes = new byte[record.TotalBytes];
            record.Encode(bytes, payload, generation: 2);
            file.AddRange(bytes);
        }
        return [.. file];
    }

    [Fact(DisplayName = "The log of another cluster is refused")]
    public void Foreign_log()
    {
        Open(out _).Dispose();
        Assert.Throws<JournalFormatException>(() => FileRaftLog.Open(_directory, Guid.NewGuid(), Formed, NullLogger.Instance, out _));
    }

    private string LogFile => Directory.GetFiles(_directory, "*.log").Single();

    private FileRaftLog Open(out RaftDurable durable) => FileRaftLog.Open(_directory, ClusterId, Formed, NullLogger.Instance, out durable);

    private static RaftEntry Entry(long index, long term) => new(index, term, RaftEntryKind.Command, [(byte)index, (byte)term]);
}
