using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Messages.Model;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Journal.Recovery;
using Cluster.Node.Journal.State;
using Cluster.Node.Replica;
using Cluster.Node.Store;
using Cluster.Tests.Unit.Hosting;

namespace Cluster.Tests.Unit.Fuzz;

// What is read from the store's and the journal's files, and what journals send to each other.
internal static partial class Decoders
{
    private const ulong Seed = 7;
    private const long Generation = 3;

    private static IEnumerable<Decoder> Disk()
    {
        var superblock = new byte[Superblock.SizeBytes];
        new Superblock { StoreId = ContractSamples.Store, SegmentBytes = StoreOptions.SegmentBytesMin, Opens = new StoreOpens(4, [1, 2, 3, 4]) }.Encode(superblock);
        yield return new Decoder(typeof(Superblock), "TryDecode", [superblock], input => Superblock.TryDecode(input, out _) == IoStatus.Ok) { Reseal = Decoder.SealAt(Superblock.SizeBytes - 8) };
        var label = new byte[DiskLabel.SizeBytes];
        new DiskLabel(ContractSamples.Store, ContractSamples.Store, 77).Encode(label);
        yield return new Decoder(typeof(DiskLabel), "TryDecode", [label], input => DiskLabel.TryDecode(input, out _) == IoStatus.Ok) { Reseal = Decoder.SealAt(DiskLabel.SizeBytes - 8) };
        var roster = new byte[DiskRoster.SizeBytes];
        new DiskRoster(ContractSamples.Store, 4, [new RosterEntry(ContractSamples.Store, true, false, 6, "/disks/one")]).Encode(roster);
        yield return new Decoder(typeof(DiskRoster), "TryDecode", [roster], input => DiskRoster.TryDecode(input, out _) == IoStatus.Ok) { Reseal = Decoder.SealAt(DiskRoster.SizeBytes - 8) };
        var segment = new byte[SegmentHeader.SizeBytes];
        new SegmentHeader(ContractSamples.Store, ContractSamples.Store, ContractSamples.Store, 3, new LogPosition(2, 900), 1 << 20, 1).Encode(segment);
        yield return new Decoder(typeof(SegmentHeader), "TryDecode", [segment], input => SegmentHeader.TryDecode(input, out _) == IoStatus.Ok) { Reseal = Decoder.SealAt(SegmentHeader.SizeBytes - 8) };
        var device = new byte[DeviceHeader.SizeBytes];
        DeviceHeader.Of(ContractSamples.Store, 1L << 36).Encode(device);
        yield return new Decoder(typeof(DeviceHeader), "TryDecode", [device], input => DeviceHeader.TryDecode(input, out _) == IoStatus.Ok) { Reseal = Decoder.SealAt(DeviceHeader.SizeBytes - 8) };
        var sector = new byte[DeviceSector.SizeBytes];
        var entries = new DeviceEntry?[DeviceSector.EntriesMax];
        (entries[0], entries[7]) = (new DeviceEntry("disk", 2, 1, 512), new DeviceEntry("segment-1.log", 3, 64, 4 << 20));
        DeviceSector.Encode(sector, ContractSamples.Store, (int)Seed, 5, entries);
        yield return new Decoder(typeof(DeviceSector), "TryDecode", [sector], input => DeviceSector.TryDecode(input, ContractSamples.Store, (int)Seed, out _, entries) == IoStatus.Ok)
        {
            Reseal = input =>
            {
                if (input.Length >= DeviceSector.SizeBytes) BinaryPrimitives.WriteUInt64LittleEndian(input[24..], DeviceSector.HashOf(input, ContractSamples.Store, (int)Seed));
            },
        };
        yield return new Decoder(typeof(CloneBody), "TryDecode", [new CloneBody(new VolumeId(7), 17, [1, 2, 3]).Encode()], input => CloneBody.TryDecode(input, out _));
        var prefix = new byte[EntryPrefix.SizeBytes];
        new EntryPrefix(EntryKind.Record, 300, new LogPosition(3, 512), 1, default, 5).Encode(prefix, Seed);
        yield return new Decoder(typeof(EntryPrefix), "TryDecode", [prefix], input => EntryPrefix.TryDecode(input, Seed, new LogPosition(3, 512), out _))
        { Reseal = Decoder.SealAt(EntryPrefix.SizeBytes - 8, (long)Seed) };
        var frame = new byte[CheckpointFrame.SizeBytes];
        new CheckpointFrame(CheckpointFrameKind.Page, 400, 1, 9, 77).Encode(frame);
        yield return new Decoder(typeof(CheckpointFrame), "TryDecode", [frame], input => CheckpointFrame.TryDecode(input, out _) == IoStatus.Ok) { Reseal = Decoder.SealAt(CheckpointFrame.SizeBytes - 8) };
        var header = new ReplicaHeader(ContractSamples.Store, Guid.Empty, ContractSamples.Volume, new ReplicaId(2), ContractSamples.Store, 9, ContractSamples.Node, 9, 3, 12, true, 4, 5, [1, 2, 3], 6)
        {
            Members = [new StampedMember(ContractSamples.Placement, ContractSamples.Store, 4, false, 5)],
        };
        yield return new Decoder(typeof(ReplicaHeader), "TryDecode", [header.Encode()], input => ReplicaHeader.TryDecode(input) is not null) { Reseal = Decoder.SealEnd };
    }

    private static IEnumerable<Decoder> Journal()
    {
        var golden = Golden("journal-v1.txt", '=');
        Decoder Of(Type type, Action<byte[]> decode, params byte[][] samples) => new(type, "Decode", samples, input =>
        {
            decode(input.ToArray());
            return true;
        })
        {
            Refusal = typeof(JournalFormatException),
        };
        var member = new FormationMember("n-0", ContractSamples.Store, new JournalAddress("h", 5709));
        var record = new FormationRecord(ContractSamples.Store, ContractSamples.Store, [member]);
        var state = new FormationState(new FormationPromise(member, [member], record), record);
        yield return Of(typeof(MetaCommandCodec), input => MetaCommandCodec.Decode(input), golden["append"], golden["delete events"], golden["save snapshot"], golden["delete snapshots"], golden["set key"]);
        yield return Of(typeof(MetaRead), input => MetaRead.Decode(input), new MetaRead.Barrier().Encode(), new MetaRead.Events("p", 1, 2, 3).Encode(), new MetaRead.Highest("p").Encode(),
            new MetaRead.Snapshot("p", new MetaSnapshotRange(1, 2, 3, 4)).Encode(), new MetaRead.Key("k").Encode(), new MetaRead.Keys("k").Encode(), new MetaRead.Members().Encode());
        yield return Of(typeof(MetaReply), input => MetaReply.Decode(input), MetaReply.Done([1, 2]).Encode());
        yield return Of(typeof(MetaState), input => new MetaState().Load(input), golden["image"]) with { Method = "Load" };
        yield return Of(typeof(Hello), input => Hello.Decode(input), golden["hello"]);
        yield return Of(typeof(HelloAnswer), input => HelloAnswer.Decode(input), golden["hello answer"]);
        yield return Of(typeof(JournalFrameHeader), input => JournalFrameHeader.Decode(input, 100), golden["frame"]) with { Reseal = SealJournalFrame };
        yield return Of(typeof(RaftMessageCodec), input => RaftMessageCodec.Decode(input), [golden["raft append"], golden["raft snapshot"], .. RaftMessages()]);
        yield return Of(typeof(RaftMembers), input => RaftMembers.Decode(input), golden["members"]);
        yield return Of(typeof(GroupView), input => GroupView.Decode(input), golden["group view"]);
        yield return Of(typeof(AkkaFormationRecord), input => AkkaFormationRecord.Decode(input), golden["akka formation"]);
        yield return Of(typeof(NodeRecord), input => NodeRecord.Decode(input), golden["node record"]);
        yield return Of(typeof(SnapshotGroupRecord), input => SnapshotGroupRecord.Decode(input), golden["snapshot group record"]);
        yield return Of(typeof(FormationRequest), input => FormationRequest.Decode(input), new FormationRequest.Prepare(state.Promise!).Encode(), new FormationRequest.Commit(record).Encode(),
            new FormationRequest.Abort(ContractSamples.Store).Encode());
        yield return Of(typeof(FormationAnswer), input => FormationAnswer.Decode(input), new FormationAnswer(true, state).Encode());
        yield return Of(typeof(FormationFile), input => FormationFile.Decode(input, "formation.bin"), golden["formation file"], golden["formation file v1"]) with { Reseal = Decoder.SealEnd };
        yield return Of(typeof(RecoveryImage), input => RecoveryImage.Decode(input), golden["recovery image"]) with { Reseal = Decoder.SealEnd };
        yield return RaftLog();
        yield return new Decoder(typeof(RaftRecord), "TryDecode", [golden["log record"]], input => RaftRecord.TryDecode(input, Generation, out _, out _))
        { Refusal = typeof(JournalFormatException), Reseal = SealRaftRecord };
    }

    /// <summary>A log file: head, members, snapshot, vote, an entry.</summary>
    private static Decoder RaftLog()
    {
        var members = RaftMembers.Formed([new FormationMember("n-0", ContractSamples.Store, new JournalAddress("h", 5709))]);
        (RaftRecordKind Kind, long Index, byte[] Payload)[] records =
        [
            (RaftRecordKind.Head, 0, new JournalWriter().Id(ContractSamples.Store).I64(Generation).ToArray()), (RaftRecordKind.Members, 0, members.Encode()),
            (RaftRecordKind.Snapshot, 4, [1, 2, 3]), (RaftRecordKind.Vote, 0, []), (RaftRecordKind.Entry, 5, [9]),
        ];
        var file = new List<byte>();
        foreach (var (kind, index, payload) in records)
        {
            var record = new RaftRecord(kind, RaftEntryKind.Command, index, 2, file.Count, payload.Length, RaftVote.NoVote);
            var bytes = new byte[record.TotalBytes];
            record.Encode(bytes, payload, Generation);
            file.AddRange(bytes);
        }
        return new Decoder(typeof(RaftLogReader), "Read", [[.. file]], input => RaftLogReader.Read(input, "log", Generation, ContractSamples.Store, members, out _) is not null)
        { Refusal = typeof(JournalFormatException), Reseal = SealRaftLog };
    }

    private static void SealRaftLog(Span<byte> log)
    {
        while (log.Length >= RaftRecord.HeaderBytes)
        {
            SealRaftRecord(log);
            var length = BinaryPrimitives.ReadInt32LittleEndian(log[32..]);
            if (length < 0 || length > log.Length - RaftRecord.HeaderBytes) return;
            log = log[Math.Min(log.Length, RaftRecord.HeaderBytes + ((length + 7) & ~7))..];
        }
    }

    private static IEnumerable<byte[]> RaftMessages()
    {
        RaftMessage[] messages = [new RaftMessage.PreVote(1, 2, 3, 4, 5), new RaftMessage.VoteReply(1, 2, 3, false), new RaftMessage.AppendReply(1, 2, 3, true, 4, 5, 6), new RaftMessage.StandNow(1, 2, 3)];
        foreach (var message in messages)
        {
            var writer = new JournalWriter();
            RaftMessageCodec.Encode(message, writer);
            yield return writer.ToArray();
        }
    }

    private static void SealJournalFrame(Span<byte> frame)
    {
        if (frame.Length >= 24) BinaryPrimitives.WriteUInt32LittleEndian(frame[20..], (uint)XxHash3.HashToUInt64(frame[..20]));
    }

    private static void SealRaftRecord(Span<byte> record)
    {
        if (record.Length < RaftRecord.HeaderBytes) return;
        var length = BinaryPrimitives.ReadInt32LittleEndian(record[32..]);
        if (length < 0 || length > record.Length - RaftRecord.HeaderBytes) return;
        var hash = new XxHash3(Generation);
        hash.Append(record[..40]);
        hash.Append(record.Slice(RaftRecord.HeaderBytes, length));
        BinaryPrimitives.WriteUInt64LittleEndian(record[40..], hash.GetCurrentHashAsUInt64());
    }
}
