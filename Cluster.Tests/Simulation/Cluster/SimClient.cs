using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

internal enum SimKind
{
    Unset = 0,
    Write,
    Trim,
    Read,
    Flush,
}

/// <summary>One I/O of a simulated front end.</summary>
internal sealed class SimRequest(SimClient client, ulong id, SimKind kind, BlockRange range)
{
    public SimClient Client => client;

    public SessionId Session { get; } = client.Session;

    public ulong Id => id;

    public SimKind Kind => kind;

    public BlockRange Range => range;

    public ulong Value { get; init; }

    public bool ForceUnitAccess { get; init; }

    public bool IsConditional { get; init; }

    public ulong Expected { get; init; }

    public IoBuffer? Record { get; set; }

    public long StartedUs { get; init; }

    /// <summary>Per block of the range: the least sequence that a read which starts now may answer.</summary>
    public ulong[] Floors { get; init; } = [];

    /// <summary>The same, of what no loss of power can undo.</summary>
    public ulong[] MediaFloors { get; init; } = [];

    /// <summary>How often promised writes had been lost before.</summary>
    public int Drops { get; set; }

    /// <summary>What the client has of what it reads.</summary>
    public KnownBlocks? Known { get; set; }

    /// <summary>What the flush has to cover.</summary>
    public List<SimRequest> Covers { get; init; } = [];
}

/// <summary>
/// A front end: one session, several requests at once, all of them sent again by request id after each new link, until they are
/// answered. Its
/// process dies with its node; what was not answered then may or may not have been applied.
/// </summary>
internal sealed class SimClient
{
    private const int OutstandingMax = 12;
    private const int SilenceUs = 2_500_000;
    private const int RestLookUs = 200_000;

    private readonly SimNode _node;
    private readonly SortedDictionary<ulong, SimRequest> _open = [];
    private readonly Dictionary<ulong, ulong> _seen = [];
    private int _left;
    private ulong _nextId;
    private ulong _route;
    private IFrameLink? _link;
    private bool _isReady;
    private bool _reopens;
    private bool _works;
    private ulong _seenEpoch;
    private ulong _acknowledged;
    private ulong _durable;
    private long _heardUs;

    /// <summary>What it keeps; and what it must keep, as the checker sees it.</summary>
    private KeptWrites _kept = new(new KeptBudget());
    private readonly SortedDictionary<ulong, SimRequest> _unflushed = [];
    private bool _flushes;
    private bool _rests;

    /// <summary>Room for some of the blocks.</summary>
    private const int CacheBytes = 8 * 512;

    private readonly ReadCache _cache = new(CacheBytes);
    private readonly CachedVolume _cached;
    private ulong _epoch;

    public SimClient(SimNode node, int operations)
    {
        (_node, _left) = (node, operations);
        _cached = new CachedVolume(_cache);
        Number = node.World.History.NewClient();
    }

    public int Number { get; }

    public string Name => $"c{Number}";

    public SimNode Node => _node;

    public SessionId Session { get; private set; }

    /// <summary>Sessions are opened under this generation of the attachment.</summary>
    public ulong Generation { get; set; }

    /// <summary>Blocks that it had and that were still so; and all others that it read while it might have kept them.</summary>
    public (long Hits, long Misses, long Evictions) Cached => (_cache.Hits, _cache.Misses, _cache.Evictions);

    public bool IsDone => _left == 0 && _open.Count == 0;

    public int Unanswered => _open.Count;

    public bool IsReady => _isReady;

    /// <summary>Requests that it has not asked yet.</summary>
    public int Left => _left;

    public bool Works => _works;

    public bool WasFenced { get; private set; }

    /// <summary>Whether the volume was attached elsewhere meanwhile: being fenced is then right, and a new attachment brings it back.</summary>
    public bool MayBeFenced { get; set; }

    public List<IoStatus> Refusals { get; } = [];

    private SimWorld World => _node.World;

    /// <summary>A new process: a new incarnation, whose request ids start anew.</summary>
    public void OnNodeStarted()
    {
        var attachment = World.Journal.State.Attachment;
        var isAttached = attachment.Mode == AttachmentMode.Shared || attachment.Node == _node.Id;
        if (MayBeFenced && isAttached) Generation = attachment.Generation;
        (Session, _nextId, _isReady, _link) = (new SessionId(Generation, World.Random.Next() | 1), 1, false, null);
        (_seenEpoch, _acknowledged, _durable) = (0, 0, 0);
        WasFenced = MayBeFenced && !isAttached;
        _reopens = false;
        Reopen(World.Random.Between(0, 5_000));
        _works = false;
        _node.Post(SilenceUs, Watch);
        if (_left > 0) PostWork();
    }

    private void PostWork()
    {
        _works = true;
        _node.Post(World.Random.Between(0, 500_000), Work);
    }

    /// <summary>The volume is attached here anew: the old session is over, and what it had asked is left to its fate.</summary>
    public void Attach(ulong generation)
    {
        if (generation <= Generation) return;
        Generation = generation;
        if (!_node.IsAlive) return;
        OnNodeDied();
        // What is still on its way to the old session, that it is over first of all, is not the new one's.
        _link = null;
        (Session, _nextId, _isReady, WasFenced) = (new SessionId(Generation, World.Random.Next() | 1), 1, false, false);
        (_seenEpoch, _acknowledged, _durable) = (0, 0, 0);
        Reopen(World.Random.Between(0, 20_000));
        if (_left > 0 && !_works) PostWork();
    }

    public void OnNodeDied()
    {
        foreach (var request in _open.Values) Forget(request);
        _open.Clear();
        _seen.Clear();
        _kept.Clear();
        _cached.Clear();
        while (_cache.Step()) { }
        // In a quarter of the seeds there is hardly room to keep anything: then it can't present all, and must hear of it.
        _kept = new KeptWrites(World.Seed % 4 == 2 ? new KeptBudget(4 * 512) : new KeptBudget());
        _unflushed.Clear();
        _flushes = false;
    }

    public void End()
    {
        _left = 0;
        OnNodeDied();
    }

    /// <summary>Asks nothing new, and closes its session once all is answered.</summary>
    public void Rest()
    {
        _rests = true;
        CloseIfAtRest();
    }

    public void Wake()
    {
        if (!_rests) return;
        _rests = false;
        if (_node.IsAlive && !_isReady) Reopen(0);
    }

    private bool IsAtRest => _rests && _open.Count == 0;

    private void CloseIfAtRest()
    {
        if (!IsAtRest || !_isReady) return;
        _isReady = false;
        Span<byte> body = stackalloc byte[SessionOpenBody.SizeBytes];
        _link!.Send(FrameHeader.Of(FrameKind.SessionClose, SimWorld.Volume, argument: _route), new SessionOpenBody(Session, _nextId, 0, 0).Encode(body));
    }

    public void OnLinkUp(SimLink link)
    {
    }

    public void OnLinkDown(SimLink link)
    {
        if (_link != link) return;
        (_link, _isReady) = (null, false);
        Reopen(World.Random.Between(1_000, 50_000));
    }

    /// <summary>Starts I/O; what is asked while the session is not open is sent once it is.</summary>
    public SimRequest Ask(SimKind kind, BlockRange range, bool fua = false, ulong? expected = null)
    {
        var history = World.History;
        var value = kind == SimKind.Write ? history.NewValue() : 0;
        var request = new SimRequest(this, _nextId++, kind, range)
        {
            Value = value,
            ForceUnitAccess = fua,
            IsConditional = expected is not null,
            Expected = expected ?? 0,
            StartedUs = World.NowUs,
            Floors = history.Floors(range),
            MediaFloors = history.MediaFloors(range),
            Covers = kind == SimKind.Flush ? history.AcknowledgedWrites(this) : [],
        };
        request.Record = Encode(request);
        _open.Add(request.Id, request);
        history.OnAsked(request);
        if (_isReady) Send(request);
        return request;
    }

    public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (from != _link || header.Argument != _route) return;
        _heardUs = World.NowUs;
        switch (header.Kind)
        {
            case FrameKind.SessionOpened: OnOpened(header.Status, header.Epoch, body); break;
            case FrameKind.SessionNotice: OnNotice(header.Status, body); break;
            case FrameKind.Present: OnPresent(body); break;
            case FrameKind.ClientCommitted: OnCommitted(in header, body); break;
            default: OnAnswer(in header, body); break;
        }
    }

    public void Reopen(long delayUs)
    {
        _isReady = false;
        if (_reopens || WasFenced || IsAtRest) return;
        _reopens = true;
        _node.Post(delayUs, () =>
        {
            _reopens = false;
            Open();
        });
    }

    private IoBuffer? Encode(SimRequest request)
    {
        if (request.Kind is not (SimKind.Write or SimKind.Trim)) return null;
        var answeredBelow = _open.Count == 0 ? request.Id : Math.Min(request.Id, _open.Keys.First());
        var header = new RecordHeader
        {
            Session = Session,
            RequestId = request.Id,
            AnsweredBelow = answeredBelow,
            Range = request.Range,
            ExpectedSequence = request.Expected,
            Flags = (request.ForceUnitAccess ? RecordFlags.ForceUnitAccess : 0) | (request.IsConditional ? RecordFlags.Conditional : 0),
        };
        return request.Kind == SimKind.Write ? SimRecords.Write(header, request.Value, World.Profile.EncodedBytes) : SimRecords.Trim(header);
    }

    private void Open()
    {
        if (IsAtRest) return;
        var owner = World.Director.OwnerNode;
        _link = owner is null ? null : _node.LinkTo(owner.Id);
        if (_link is not { IsUp: true })
        {
            Reopen(World.Random.Between(20_000, 150_000));
            return;
        }
        _route = World.Random.Next();
        _heardUs = World.NowUs;
        Span<byte> body = stackalloc byte[SessionOpenBody.SizeBytes];
        var open = new SessionOpenBody(Session, _open.Count == 0 ? _nextId : _open.Keys.First(), _seenEpoch, _acknowledged > _durable ? _acknowledged : 0);
        _link.Send(FrameHeader.Of(FrameKind.SessionOpen, SimWorld.Volume, argument: _route), open.Encode(body));
    }

    private void OnOpened(IoStatus status, ulong epoch, ReadOnlySpan<byte> body)
    {
        if (status == IoStatus.StaleSession) OnFenced();
        else if (status == IoStatus.DataLost) OnDataLost();
        else if (status != IoStatus.Ok) Reopen(World.Random.Between(20_000, 200_000));
        else if (!_isReady)
        {
            _isReady = true;
            Adopt(body);
            if (_acknowledged > _durable) _seenEpoch = Math.Max(_seenEpoch, epoch);
            foreach (var request in _open.Values.ToList()) Send(request);
            CloseIfAtRest();
        }
    }

    private void Adopt(ReadOnlySpan<byte> body)
    {
        Invariant.That(SessionOpenedBody.TryDecode(body, out var opened), "a SessionOpened has no body");
        _epoch = opened.Epoch;
        _cached.Begin(opened.Epoch, opened.Caches);
    }

    private void OnNotice(IoStatus status, ReadOnlySpan<byte> body)
    {
        if (status == IoStatus.Ok && _isReady) Adopt(body);
        if (status == IoStatus.StaleSession) OnFenced();
        else if (status != IoStatus.Ok) Reopen(World.Random.Between(1_000, 100_000));
    }

    /// <summary>What it was promised is gone, and it was told so: whoever used it begins anew.</summary>
    private void OnDataLost()
    {
        World.History.OnToldOfLoss(Session);
        OnNodeDied();
        (Session, _nextId, _isReady, _acknowledged, _durable) = (new SessionId(Generation, World.Random.Next() | 1), 1, false, 0, 0);
        Reopen(World.Random.Between(1_000, 50_000));
    }

    private void OnFenced()
    {
        (WasFenced, _isReady) = (true, false);
        if (!MayBeFenced) _left = 0;
        OnNodeDied();
    }

    private void OnAnswer(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!_isReady || !_open.TryGetValue(header.RequestId, out var request)) return;
        switch (header.Status)
        {
            case IoStatus.Ok: break;
            case IoStatus.Conflict when request.IsConditional: break;
            case IoStatus.Busy:
                var route = _route;
                _node.Post(World.Random.Between(5_000, 60_000), () =>
                {
                    if (_isReady && _route == route && _open.ContainsKey(request.Id)) Send(request);
                });
                return;
            case IoStatus.Offline or IoStatus.NotOwner:
                Reopen(World.Random.Between(10_000, 200_000));
                return;
            case IoStatus.StaleSession:
                OnFenced();
                return;
            case IoStatus.OutOfRange:
                _open.Remove(request.Id);
                World.History.OnBeyond(request);
                Forget(request);
                CloseIfAtRest();
                return;
            default: throw new InvariantException($"{Name}: request {request.Id} ({request.Kind}) was answered with {header.Status}");
        }
        _open.Remove(request.Id);
        World.History.OnAnswered(request, header.Epoch);
        Conclude(request, in header, body);
        Forget(request);
        CloseIfAtRest();
    }

    private void Conclude(SimRequest request, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (request.Kind == SimKind.Read)
        {
            var blocks = Decode(request, header.Epoch, body);
            World.History.OnRead(request, blocks);
            for (var index = 0; index < blocks.Count; index++)
            {
                _seen[request.Range.First + (ulong)index] = blocks[index].Sequence;
                if (blocks[index].Sequence > _acknowledged) (_seenEpoch, _acknowledged) = (header.Epoch, blocks[index].Sequence);
            }
            return;
        }
        if (header.Status == IoStatus.Conflict)
        {
            Refusals.Add(IoStatus.Conflict);
            World.History.OnRefused(request);
            return;
        }
        Invariant.That(ClientAckBody.TryDecode(body, out var ack), "an ack has no body");
        if (header.Epoch >= _seenEpoch) (_seenEpoch, _acknowledged, _durable) = (header.Epoch, Math.Max(_acknowledged, ack.CommittedSequence), Math.Max(_durable, ack.DurableSequence));
        World.History.OnAcknowledged(request, ack);
        Keep(request, in ack);
        if (request.Kind == SimKind.Write && ack.Sequence != 0) _seen[request.Range.First] = ack.Sequence;
    }

    /// <summary>As the program's sessions do it: what is the same is taken from here, the rest kept.</summary>
    private List<(ulong Sequence, ulong Value)> Decode(SimRequest request, ulong epoch, ReadOnlySpan<byte> body)
    {
        if (!_cached.IsOn && request.Known is not { Any: true }) return SimRecords.DecodeReply(body, request.Range);
        var blocks = new List<(ulong, ulong)>();
        var at = (int)request.Range.Count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < (int)request.Range.Count; index++)
        {
            var (read, block) = (ReadDescriptor.Read(body[(index * ReadDescriptor.SizeBytes)..]), request.Range.First + (ulong)index);
            var encoded = body.Slice(at, read.Block.Length);
            at += encoded.Length;
            if (!read.IsSame) _cached.Put(epoch, block, in read, encoded);
            else
            {
                Invariant.That(request.Known!.TryGet(index, read.Sequence, out read, out encoded), "an owner says that a block is the same which the front end does not have");
                _cached.CountHit(encoded.Length);
            }
            blocks.Add((read.Sequence, SimRecords.ValueOf(in read, block, encoded)));
        }
        return blocks;
    }

    private void Keep(SimRequest request, in ClientAckBody ack)
    {
        if (request.Kind == SimKind.Flush) _flushes = false;
        else if (ack.Sequence == 0) _kept.Miss(ack.CommittedSequence);
        else if (ack.Sequence > _durable)
        {
            _kept.Add(ack.Sequence, request.Id, request.Record!);
            _unflushed[ack.Sequence] = request;
        }
        _kept.OnDurable(_durable);
        foreach (var sequence in _unflushed.Keys.TakeWhile(sequence => sequence <= _durable).ToList()) _unflushed.Remove(sequence);
        if (!_kept.WantsFlush || _flushes || _left == 0) return;
        _flushes = true;
        Ask(SimKind.Flush, request.Range);
    }

    private void OnCommitted(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!_isReady || !_open.TryGetValue(header.RequestId, out var request)) return;
        Invariant.That(SequenceBody.TryDecode(body, out var committed), "a ClientCommitted has no body");
        if (committed.Sequence <= _durable) return;
        if (committed.Sequence > _acknowledged) (_seenEpoch, _acknowledged) = (header.Epoch, committed.Sequence);
        _kept.Add(committed.Sequence, request.Id, request.Record!);
    }

    /// <summary>Now and then something is presented twice, or though it survived: the owner must not mind.</summary>
    private void OnPresent(ReadOnlySpan<byte> body)
    {
        Invariant.That(SequenceBody.TryDecode(body, out var left), "a Present has no body");
        if (!_kept.IsWholeAbove(left.Sequence))
        {
            World.Say(Name, $"can't present what is lost above {left.Sequence}");
            OnDataLost();
            return;
        }
        var presented = _kept.Above(World.Random.Percent(20) ? 0 : left.Sequence).ToList();
        foreach (var (sequence, request) in _unflushed)
        {
            World.History.Check(sequence <= left.Sequence || presented.Exists(write => write.Sequence == sequence && write.RequestId == request.Id),
                () => $"{Name} was answered write {sequence}, which was on no media, and does not have it any more");
        }
        World.Say(Name, $"presents {presented.Count} writes above {left.Sequence}, up to {_acknowledged}");
        if (World.Random.Percent(20)) presented.AddRange(presented.ToList());
        foreach (var write in presented) Present(in write);
    }

    private void Present(in KeptWrite write)
    {
        var copy = BufferPool.Shared.Rent(write.Record.Length);
        write.Record.Span.CopyTo(copy.Span);
        RecordHeader.TryDecode(copy.Span, out var record);
        (record.Epoch, record.Sequence, record.CommitWatermark) = (0, write.Sequence, 0);
        record.Encode(copy.Span);
        _link!.Send(FrameHeader.Of(FrameKind.Presented, SimWorld.Volume, 0, write.RequestId, _route), copy);
        copy.Release();
    }

    private static void Forget(SimRequest request)
    {
        request.Record?.Release();
        request.Record = null;
        request.Known?.Release();
    }

    private void Send(SimRequest request)
    {
        Span<byte> small = stackalloc byte[32];
        switch (request.Kind)
        {
            case SimKind.Read when _cached.IsOn && _cached.Find(request.Range, request.Known ??= new KnownBlocks()):
                var asked = request.Known!.Encode(Session, request.Range);
                _link!.Send(FrameHeader.Of(FrameKind.ClientReadCached, SimWorld.Volume, request.Known.Epoch, request.Id, _route), asked);
                asked.Release();
                break;
            case SimKind.Read:
                request.Known?.Release();
                _link!.Send(Header(FrameKind.ClientRead, request), new ClientReadBody(Session, request.Range).Encode(small));
                break;
            case SimKind.Flush:
                _link!.Send(Header(FrameKind.ClientFlush, request), new ClientFlushBody(Session, _open.Keys.First()).Encode(small));
                break;
            default:
                _link!.Send(Header(FrameKind.ClientWrite, request), request.Record!);
                break;
        }
    }

    private FrameHeader Header(FrameKind kind, SimRequest request) => FrameHeader.Of(kind, SimWorld.Volume, 0, request.Id, _route);

    /// <summary>An owner that says nothing for long is looked for anew.</summary>
    private void Watch()
    {
        if (!WasFenced && _open.Count > 0 && World.NowUs - _heardUs > SilenceUs) Reopen(0);
        _node.Post(SilenceUs / 2, Watch);
    }

    // ---- the workload ----

    private void Work()
    {
        if (WasFenced)
        {
            _works = false;
            return;
        }
        if (_rests)
        {
            _node.Post(RestLookUs, Work);
            return;
        }
        var burst = Math.Min(World.Random.Between(1, 5), Math.Min(_left, OutstandingMax - _open.Count));
        for (var index = 0; index < burst; index++)
        {
            _left--;
            AskSomething();
        }
        _works = _left > 0;
        if (_works) _node.Post(World.Random.Percent(85) ? World.Random.Between(500, 150_000)
            : World.Random.Between(200_000, 3_000_000), Work);
    }

    private void AskSomething()
    {
        var random = World.Random;
        var first = (ulong)random.Below((int)World.Profile.Blocks - 1);
        // Where the volume shrinks to, more is written than beyond.
        if (World.Profile.Resizes && random.Percent(85)) first %= World.Profile.Blocks / 2;
        var range = new BlockRange(first, random.Percent(85) ? 1u : SimRecords.BlocksMax);
        var roll = random.Below(100);
        if (roll < 45) Ask(SimKind.Write, range);
        else if (roll < 52) Ask(SimKind.Write, range, fua: true);
        else if (roll < 62 && _seen.TryGetValue(first, out var seen)) Ask(SimKind.Write, new BlockRange(first, 1), expected: seen);
        else if (roll < 67) Ask(SimKind.Trim, range);
        else if (roll < 74) Ask(SimKind.Flush, range);
        else Ask(SimKind.Read, range);
    }
}
