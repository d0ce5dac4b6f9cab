using Cluster.Messages.Model;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Journal.Recovery;
using Cluster.Node.Journal.State;

namespace Cluster.Tests.Unit.Journal;

/// <summary>The bytes of version 1, pinned. A change here is a new version, with a reader for this one.</summary>
public sealed class JournalFormatSpecs
{
    private static readonly Guid Id = new("00112233-4455-6677-8899-aabbccddeeff");
    private static readonly FormationMember Node = new("n-0", Id, new JournalAddress("h", 5709));
    private static readonly FormationRecord Record = new(Id, Id, [Node]);
    private static readonly FormationState State = new(new FormationPromise(Node, [Node], Record), Record);
    private static readonly FormationMember Other = Node with { NodeId = Guid.Empty };
    private static readonly RaftMembers Members = RaftMembers.Formed([Node]).WithLearner(Other) with { Index = 9 };
    private static readonly GroupState Group = new(1, Members);
    private const string FormationFileV1 = "formation file v1";

    [Fact(DisplayName = "The bytes on disk and wire are the golden ones")]
    public void Golden_bytes()
    {
        var lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Golden", "journal-v1.txt"));
        Assert.Equal(20, lines.Length);
        foreach (var line in lines)
        {
            var (what, hex) = (line[..line.IndexOf('=')], line[(line.IndexOf('=') + 1)..]);
            if (what == FormationFileV1) continue;
            Assert.Equal((what, hex), (what, Convert.ToHexStringLower(Produce(what))));
        }
    }

    [Fact(DisplayName = "A formation file of version 1 is still read: it says nothing of the group")]
    public void Formation_file_of_version_1()
    {
        var line = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "Golden", "journal-v1.txt"))
            .Single(l => l.StartsWith(FormationFileV1 + "=", StringComparison.Ordinal));
        var image = FormationFile.Decode(Convert.FromHexString(line[(FormationFileV1.Length + 1)..]), "formation.bin");
        Assert.Equal((Id, Id, "n-0"), (image.NodeId, image.State.Record!.ClusterId, image.State.Record.Members[0].Name));
        Assert.NotNull(image.State.Promise);
        Assert.Null(image.Group);
    }

    [Fact(DisplayName = "Any flipped bit of a log record, a frame, the formation file or a recovery image is seen")]
    public void Every_bit_flip_is_seen()
    {
        foreach (var what in new[] { "log record", "frame", "formation file", "recovery image" })
        {
            var bytes = Produce(what);
            var seen = 0;
            for (var bit = 0; bit < bytes.Length * 8; bit++)
            {
                bytes[bit / 8] ^= (byte)(1 << (bit % 8));
                if (!Reads(what, bytes)) seen++;
                bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            }
            var unprotected = what == "log record" ? 8 * 6 : 0;              // padding after a payload of two bytes
            Assert.Equal((bytes.Length * 8) - unprotected, seen);
        }
    }

    [Fact(DisplayName = "Raft messages survive their encoding")]
    public void Raft_messages_round_trip()
    {
        RaftMessage[] messages =
        [
            new RaftMessage.PreVote(1, 2, 3, 4, 5), new RaftMessage.PreVoteReply(1, 2, 3, true), new RaftMessage.Vote(1, 2, 3, 4, 5),
            new RaftMessage.VoteReply(1, 2, 3, false), new RaftMessage.AppendReply(1, 2, 3, true, 4, 5, 6), new RaftMessage.StandNow(1, 2, 3),
        ];
        foreach (var message in messages)
        {
            var writer = new JournalWriter();
            RaftMessageCodec.Encode(message, writer);
            Assert.Equal(message, RaftMessageCodec.Decode(writer.Written));
        }
    }

    private static bool Reads(string what, byte[] bytes)
    {
        try
        {
            switch (what)
            {
                case "log record":
                    return RaftRecord.TryDecode(bytes, 3, out _, out _);
                case "frame":
                    var header = JournalFrameHeader.Decode(bytes, 100);
                    header.CheckBody(bytes.AsSpan(JournalFrameHeader.Bytes));
                    return true;
                case "recovery image":
                    RecoveryImage.Decode(bytes);
                    return true;
                default:
                    FormationFile.Decode(bytes, what);
                    return true;
            }
        }
        catch (JournalFormatException)
        {
            return false;
        }
    }

    private static byte[] Produce(string what) => what switch
    {
        "append" => MetaCommandCodec.Encode(
            new MetaCommand.AppendEvents("p", 4, "w", [new MetaNewEvent(9, new MetaPayload(7, "m", [1, 2]))]) { ProposalId = Id }),
        "delete events" => MetaCommandCodec.Encode(new MetaCommand.DeleteEvents("p", 4) { ProposalId = Id }),
        "save snapshot" => MetaCommandCodec.Encode(
            new MetaCommand.SaveSnapshot("p", new MetaSnapshot(4, 9, new MetaPayload(7, "m", [1, 2]))) { ProposalId = Id }),
        "delete snapshots" => MetaCommandCodec.Encode(new MetaCommand.DeleteSnapshots("p", new MetaSnapshotRange(1, 2, 3, 4)) { ProposalId = Id }),
        "set key" => MetaCommandCodec.Encode(new MetaCommand.SetKey("k", 5, [6]) { ProposalId = Id }),
        "image" => Image(),
        "log record" => LogRecord(),
        "frame" => JournalFrameHeader.Encode(JournalFrameKind.Propose, 258, [1, 2, 3]),
        "formation file" => FormationFile.Encode(new FormationImage(Id, State, Group)),
        "hello" => new Hello(HelloPurpose.Peer, Node, Id, Id).Encode(),
        "hello answer" => new HelloAnswer("no", Node, FormationState.None, 3) { LeaderName = "n", Akka = new AkkaSelf("a", 5, true) }.Encode(),
        "members" => Members.Encode(),
        "raft snapshot" => RaftSnapshot(),
        "group view" => View(),
        "raft append" => RaftAppend(),
        "node record" => new NodeRecord("n", Id, "h", 1, 2, 3, 4) { Zone = "z" }.Encode(),
        "snapshot group record" => new SnapshotGroupRecord(SnapshotGroupPhase.Marked, "monday", Id, 1_800_000_000_123,
            [new SnapshotGroupMember(new VolumeId(7), "db", 17, 1_800_000_000_124), new SnapshotGroupMember(new VolumeId(8), "shop/log", 29, 1_800_000_000_125)]).Encode(),
        "recovery image" => new RecoveryImage(Id, 9, [new RecoveredStream("p", [new MetaPayload(7, "m", [1, 2])])]).Encode(),
        "akka formation" => new AkkaFormationRecord(2, "a", 3).Encode(),
        _ => throw new ArgumentException(what, nameof(what)),
    };

    private static byte[] Image()
    {
        var state = new MetaState();
        state.Apply(new MetaCommand.AppendEvents("p", 0, "w", [new MetaNewEvent(9, new MetaPayload(7, "m", [1, 2]))]) { ProposalId = Id });
        state.Apply(new MetaCommand.SaveSnapshot("p", new MetaSnapshot(1, 9, new MetaPayload(7, "s", [3]))) { ProposalId = Guid.Empty });
        state.Apply(new MetaCommand.SetKey("k", 0, [6]) { ProposalId = new Guid(1, 2, 3, new byte[8]) });
        return state.ToImage();
    }

    private static byte[] LogRecord()
    {
        var record = new RaftRecord(RaftRecordKind.Entry, RaftEntryKind.Command, 17, 5, 4096, 2, RaftVote.NoVote);
        var bytes = new byte[record.TotalBytes];
        record.Encode(bytes, [0xAA, 0xBB], generation: 3);
        return bytes;
    }

    private static byte[] RaftSnapshot()
    {
        var writer = new JournalWriter();
        RaftMessageCodec.Encode(new RaftMessage.InstallSnapshot(1, 2, 3, new RaftSnapshot(9, 2, Members, [5]), 4), writer);
        var again = (RaftMessage.InstallSnapshot)RaftMessageCodec.Decode(writer.Written);
        Assert.Equal((9L, 9L, 2), (again.Snapshot.Index, again.Snapshot.Members.Index, again.Snapshot.Members.All.Length));
        return writer.ToArray();
    }

    private static byte[] View()
    {
        var writer = new JournalWriter();
        new GroupView(Members, 0, 12, [new RaftProgress(1, 11, 40, true)]).Write(writer);
        Assert.Equal(new RaftProgress(1, 11, 40, true), Assert.Single(GroupView.Decode(writer.Written).Progress));
        return writer.ToArray();
    }

    private static byte[] RaftAppend()
    {
        var writer = new JournalWriter();
        RaftEntry[] entries = [new(5, 3, RaftEntryKind.Command, [1]), new(6, 3, RaftEntryKind.NoOp, [])];
        RaftMessageCodec.Encode(new RaftMessage.Append(1, 2, 3, 4, 2, entries, 4, 9), writer);
        return writer.ToArray();
    }
}
