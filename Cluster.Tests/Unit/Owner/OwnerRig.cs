using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Node.Repair;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>
/// An owner's machine on node 0 whose replicas, journal and clock are played by hand. Buffers are given back by <see
/// cref="Dispose"/>.
/// </summary>
internal sealed class OwnerRig : IVolumeEffects, ILocalReplica, IDisposable
{
    /// <summary>Of the volume.</summary>
    public const int HoldMs = 5000;

    private readonly Queue<(ILocalReads Reads, ulong Token, BlockRange Range)> _reads = new();
    private readonly Queue<VolumeEvent> _proposals = new();
    private readonly VolumeSpec _spec;

    public OwnerRig(int copies, FailureModeKind mode, VolumeState? state = null, bool readLease = true, int spareNodes = 0, VolumeSource? source = null)
    {
        _spec = new VolumeSpec(SimWorld.Volume, VolumeSpec.DefaultNamespace, "rig", 64 * Limits.BlockBytes, copies, mode, 1, HoldMs, false,
            SimWorld.Labels(readLease), source);
        Nodes = [.. Enumerable.Range(0, copies + spareNodes).Select(index => new NodeId(new Guid(index + 1, 0, 0, new byte[8])))];
        Links = [.. Nodes.Select(node => new RecordingLink(node))];
        LeaseUntil = [.. Nodes.Select(_ => long.MaxValue)];
        Front = new RecordingLink(new NodeId(new Guid(99, 0, 0, new byte[8])));
        State = (state ?? VolumeState.Empty).Apply(new VolumeCreated(_spec.Id, _spec,
            [.. Enumerable.Range(0, copies).Select(Placement)]));
        Machine = new VolumeMachine(State, this);
    }

    /// <summary>Of the map of the replica on node 0, as a test says it is.</summary>
    public IReadOnlyList<ulong> Snapshots { get; set; } = [];

    public (long Bytes, long Blocks, long? SharedBytes) SnapshotUsage(ulong snapshot) => default;

    /// <summary>Blocks of that map that hold data.</summary>
    public List<ulong> Data { get; } = [];

    /// <summary>One look at the map goes no further than so many blocks.</summary>
    public uint LookMax { get; set; } = uint.MaxValue;

    public ulong Changed(ulong from, ulong to, BlockRange range, int extentsMax, List<BlockRange> extents)
    {
        var end = Math.Min(range.End, range.First + LookMax);
        extents.AddRange(Data.Where(block => block >= range.First && block < end).Order().Take(extentsMax).Select(block => new BlockRange(block, 1)));
        return end;
    }

    public ReplicaPlacement Placement(int index) => new(new ReplicaId((ushort)(index + 1)), Nodes[index], $"n{index}", Nodes[index].Value);

    public NodeId[] Nodes { get; }

    public RecordingLink[] Links { get; }

    public long[] LeaseUntil { get; }

    public RecordingLink Front { get; }

    public VolumeState State { get; private set; }

    public VolumeMachine Machine { get; private set; }

    public SessionId Session { get; } = new(0, 5);

    public long NowMs { get; set; } = 1_000_000;

    public ulong LocalWatermark { get; private set; }

    public bool LocalTakes { get; set; } = true;

    public string Ended { get; private set; } = "";

    public IReadOnlyCollection<VolumeEvent> Proposals => _proposals;

    /// <summary>The journal as another process left it.</summary>
    public void Journaled(params VolumeEvent[] events)
    {
        foreach (var e in events) State = State.Apply(e);
        Machine = new VolumeMachine(State, this);
    }

    public InSyncMember Member(int index, ulong openCount = 1) => new(new ReplicaId((ushort)(index + 1)), Nodes[index].Value, openCount, MarkOf(openCount));

    /// <summary>Of a store that was opened so often, by itself.</summary>
    public static StoreOpens OpensOf(ulong count) => new(count, [.. Enumerable.Range(0, (int)Math.Min(count, StoreOpens.MarksMax)).Select(back => MarkOf(count - (ulong)back))]);

    private static ulong MarkOf(ulong count) => 1000 + count;

    /// <summary>The oldest proposal is in the journal, and its proposer reads it back.</summary>
    public VolumeEvent Journal()
    {
        var e = _proposals.Dequeue();
        State = State.Apply(e);
        Machine.OnJournaled(e);
        return e;
    }

    public void Promised(int index, ulong last = 0, ulong lastEpoch = 0, ulong inSyncEpoch = 0, ulong openCount = 1, ulong tailFrom = 0, uint leaseLeftMs = 0,
        bool catchingUp = false, IoStatus status = IoStatus.Ok, ulong suspectSince = 0, ulong catchUpTo = 0, ulong catchUpCursor = 0, StoreOpens? opens = null,
        StoreOpenStamp stampedOpen = default)
    {
        var body = new PromisedBody(Nodes[index].Value, Nodes[index].Value, opens ?? OpensOf(openCount), Machine.EpochNumber, inSyncEpoch, lastEpoch, last, last, tailFrom, tailFrom,
            catchingUp, leaseLeftMs, suspectSince, catchUpTo, catchUpCursor, stampedOpen);
        Reply(index, FrameKind.Promised, status, body.Encode(new byte[PromisedBody.SizeBytesMax]));
    }

    /// <summary>What every copy grants with its acks (R21).</summary>
    public ulong CreditBytes { get; set; } = (ulong)Limits.CreditBytesMax;

    public List<string?> HeldForRoom { get; } = [];

    public List<int> Presented { get; } = [];

    public void OnPresented(int writes) => Presented.Add(writes);

    public void OnHeldForRoom(string? reason) => HeldForRoom.Add(reason);

    public void Truncated(int index, ulong to) => Reply(index, FrameKind.Truncated, IoStatus.Ok, new AppendAckBody(to, to, 0, CreditBytes).Encode(new byte[32]));

    /// <summary>The newest stamp sent to that copy is on its media.</summary>
    public void Stamped(int index) =>
        Reply(index, FrameKind.Stamped, IoStatus.Ok, (LastStamp(index) with { Spec = [], Members = [] }).Encode(new byte[64]));

    public StampBody LastStamp(int index)
    {
        Assert.True(StampBody.TryDecode(Links[index].Of(FrameKind.Stamp).Last().Body, out var stamp));
        return stamp;
    }

    public void Appended(int index, ulong appended, ulong durable = 0, IoStatus status = IoStatus.Ok) =>
        Reply(index, FrameKind.AppendAck, status, new AppendAckBody(appended, durable, 0, CreditBytes).Encode(new byte[32]));

    public void CaughtUp(int index, ulong item) =>
        Machine.OnReplicaFrame(Links[index], FrameHeader.Of(FrameKind.CatchUpAck, _spec.Id, Machine.EpochNumber, item, status: IoStatus.Ok),
            new AppendAckBody(0, 0, 0, 0).Encode(new byte[32]), null);

    public void Tick(long afterMs = 100)
    {
        NowMs += afterMs;
        Machine.OnTick();
    }

    /// <summary>A new volume, claimed, promised, aligned, opened and stamped on the given copies.</summary>
    public static OwnerRig Serving(int copies, FailureModeKind mode = FailureModeKind.Soft, bool readLease = true, int spareNodes = 0,
        ulong grants = (ulong)Limits.CreditBytesMax)
    {
        var rig = new OwnerRig(copies, mode, readLease: readLease, spareNodes: spareNodes) { CreditBytes = grants };
        rig.Machine.Start();
        rig.Journal();
        for (var index = 0; index < copies; index++) rig.Promised(index);
        for (var index = 0; index < copies; index++) rig.Truncated(index, 0);
        rig.Journal();
        for (var index = 0; index < copies; index++) rig.Stamped(index);
        Assert.Equal(VolumePhase.Serving, rig.Machine.Phase);
        rig.Open(rig.Session);
        return rig;
    }

    /// <summary>A copy says yes to the newest question whether it follows this epoch.</summary>
    public void Confirmed(int index) => Confirmed(index, Links[index].LastOf(FrameKind.ConfirmEpoch).RequestId);

    public void Confirmed(int index, ulong round) => Machine.OnReplicaFrame(Links[index],
        FrameHeader.Of(FrameKind.EpochConfirmed, _spec.Id, Machine.EpochNumber, round, status: IoStatus.Ok), [], null);

    public void Open(SessionId session, RecordingLink? from = null) =>
        Client(from, FrameKind.SessionOpen, 0, new SessionOpenBody(session, 1).Encode(new byte[SessionOpenBody.SizeBytes]));

    public void Write(ulong requestId, ulong block, RecordFlags flags = 0, ulong expected = 0, SessionId? session = null, RecordingLink? from = null, ulong answeredBelow = 1)
    {
        var header = new RecordHeader
        {
            Session = session ?? Session,
            RequestId = requestId,
            AnsweredBelow = answeredBelow,
            Range = new BlockRange(block, 1),
            Flags = flags,
            ExpectedSequence = expected,
        };
        var record = SimRecords.Write(header, requestId);
        Machine.OnClientFrame(from ?? Front, FrameHeader.Of(FrameKind.ClientWrite, _spec.Id, 0, requestId), record.Span, record);
        record.Release();
    }

    public void Flush(ulong requestId) =>
        Client(null, FrameKind.ClientFlush, requestId, new ClientFlushBody(Session, 1).Encode(new byte[32]));

    public void Read(ulong requestId, ulong block) =>
        Client(null, FrameKind.ClientRead, requestId, new ClientReadBody(Session, new BlockRange(block, 1)).Encode(new byte[32]));

    public int ReadsWaiting => _reads.Count;

    /// <summary>The disk answers the oldest read.</summary>
    public void AnswerRead()
    {
        var (reads, token, range) = _reads.Dequeue();
        var reply = BufferPool.Shared.Rent((int)range.Count * ReadDescriptor.SizeBytes);
        new ReadDescriptor(new BlockDescriptor(BlockEncoding.Zero, 0, 0), 0).Write(reply.Span);
        reads.OnLocalRead(token, IoStatus.Ok, reply);
    }

    /// <summary>The disk has no good answer to the oldest read.</summary>
    public void FailRead(IoStatus status)
    {
        var (reads, token, _) = _reads.Dequeue();
        reads.OnLocalRead(token, status, null);
    }

    /// <summary>How the front end's request was answered, Unset when it was not.</summary>
    public IoStatus AnswerTo(ulong requestId, RecordingLink? at = null)
    {
        foreach (var (header, _) in (at ?? Front).Sent)
        {
            if (header.RequestId == requestId && header.Kind is FrameKind.ClientAck or FrameKind.ClientReadReply) return header.Status;
        }
        return IoStatus.Unset;
    }

    public void LinkDown(int index)
    {
        Links[index].IsUp = false;
        Machine.OnLinkDown(Links[index]);
    }

    public void LinkUp(int index)
    {
        Links[index] = new RecordingLink(Nodes[index]);
        Machine.OnLinkUp(Links[index]);
    }

    public void Dispose() => Machine.Stop();

    public void Client(RecordingLink? from, FrameKind kind, ulong requestId, ReadOnlySpan<byte> body, ulong epoch = 0) =>
        Machine.OnClientFrame(from ?? Front, FrameHeader.Of(kind, _spec.Id, epoch, requestId), body, null);

    private void Reply(int index, FrameKind kind, IoStatus status, ReadOnlySpan<byte> body) =>
        Machine.OnReplicaFrame(Links[index], FrameHeader.Of(kind, _spec.Id, Machine.EpochNumber, status: status), body, null);

    // ---- what the machine needs ----

    public NodeId Node => Nodes[0];

    public string NodeName => "n0";

    public Guid Era => default;

    void IVolumeEffects.Journal(VolumeEvent e) => _proposals.Enqueue(e);

    public IFrameLink? LinkTo(NodeId node) => Links.FirstOrDefault(link => link.Peer == node && link.IsUp);

    public bool WasLinked(NodeId node) => true;

    public long LeaseUntilMs(IFrameLink link) => LeaseUntil[Array.IndexOf(Nodes, link.Peer)];

    public ILocalReplica? Local => this;

    /// <summary>Blocks of each part of a restore.</summary>
    public ulong RestorePart { get; set; } = ulong.MaxValue;

    ulong ILocalReplica.RestoreEnd(ulong snapshot, ulong from) => RestorePart == ulong.MaxValue || from + RestorePart >= _spec.SizeBlocks ? ulong.MaxValue : from + RestorePart;

    /// <summary>What the machine has said of its serving, with the leases that it had given back by then.</summary>
    public List<(bool Serving, VolumePhase Phase, int Releases)> Servings { get; } = [];

    public void OnServing(bool serving) => Servings.Add((serving, Machine.Phase, Links.Sum(link => link.Of(FrameKind.Release).Count())));

    public void Relocate(string reason) => Ended = reason;

    public void OnDeposed(ulong epoch) => Ended = $"deposed by {epoch}";

    public void Log(string what)
    {
    }

    public List<RepairEvent> Repairs { get; } = [];

    public void OnRepair(in RepairEvent repair) => Repairs.Add(repair);

    public List<(string Copy, bool IsOwner)> Slow { get; } = [];

    public List<NodeId> Moves { get; } = [];

    public void OnSlow(string copy, bool isOwner, string reason) => Slow.Add((copy, isOwner));

    /// <summary>For how long writes were held for a group, and whether it came to something.</summary>
    public List<(long HeldMs, bool IsCommitted)> GroupHolds { get; } = [];

    public void OnGroupHold(long heldMs, bool isCommitted) => GroupHolds.Add((heldMs, isCommitted));

    /// <summary>When the machine wants to be woken, or null.</summary>
    public long? WakeAtMs { get; set; }

    public void Wake(int afterMs) => WakeAtMs = NowMs + afterMs;

    public List<(ulong Ios, ulong Ms)> ThrottledTold { get; } = [];

    public void OnThrottled(ulong ios, ulong waitedMs) => ThrottledTold.Add((ios, waitedMs));

    public string NameOf(NodeId node) => Array.IndexOf(Nodes, node) is >= 0 and var index ? $"n{index}" : "front";

    public void MoveOwner(NodeId node, string name, string reason) => Moves.Add(node);

    public void OnChanged()
    {
    }

    public ulong NowUnixMs => (ulong)NowMs;

    public bool IsMemoryTight { get; set; }

    public long VolumeBytesMax { get; set; } = long.MaxValue;

    public int RefusedForMemory { get; private set; }

    public void OnRefusedForMemory() => RefusedForMemory++;

    public NodeRepair Repair { get; set; } = new(new RepairOptions());

    // ---- the replica on node 0 ----

    public bool HasTombstones { get; set; }

    public VolumeSpace Space => new(0, 0, 0);

    public long StoredBytes => 0;

    public long ScrubBytes => 0;

    public ScrubMark Scrub { get; set; }

    public SessionWindows Windows { get; } = new();

    public bool Commit(ulong epoch, ulong watermark)
    {
        if (LocalTakes) LocalWatermark = watermark;
        return LocalTakes;
    }

    public ulong SequenceOf(ulong block) => 0;

    void ILocalReplica.Read(BlockRange range, ILocalReads reads, ulong token, ReadOnlySpan<ulong> known)
    {
        _reads.Enqueue((reads, token, range));
        LastKnown = known.ToArray();
    }

    /// <summary>What the front end of the read that was asked for last has.</summary>
    public ulong[] LastKnown { get; private set; } = [];

    public ulong Allocated(BlockRange range, int extentsMax, List<(BlockRange Range, bool Allocated)> extents) => range.End;

    public (IoStatus Status, ChangePosition? Next) ReadChanges(ulong since, ulong upTo, ChangePosition? position, int bytesMax, List<IoBuffer> records)
    {
        Scans.Add((since, upTo, position));
        if (ChangesStatus != IoStatus.Ok) return (ChangesStatus, null);
        if (Changes.Count == 0) return (IoStatus.Ok, null);
        var (next, bytes) = Changes.Dequeue();
        var record = BufferPool.Shared.Rent(bytes);
        record.Span.Clear();
        records.Add(record);
        return (IoStatus.Ok, next);
    }

    /// <summary>What scans for changes find, one after the other: bytes of it, and where they go on.</summary>
    public Queue<(ChangePosition? Next, int Bytes)> Changes { get; } = new();

    public List<(ulong Since, ulong UpTo, ChangePosition? Position)> Scans { get; } = [];

    /// <summary>What scans for changes answer.</summary>
    public IoStatus ChangesStatus { get; set; } = IoStatus.Ok;

    public long ChangedBytes { get; set; }

    public long EstimateChanges(ulong since, ulong upTo, ulong fromBlock) => ChangedBytes;

    public (IoStatus Status, IoBuffer? Record) ReadTail(ulong sequence) => (IoStatus.OutOfRange, null);
}
