using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// The only user of a clone, on a node without copies: a few requests at once, no two of them on one block, so that each answer is exactly what the block must hold: what the origin had
/// at the snapshot, or what was written here last. Where hosts lose power it writes with FUA only: what was answered is never lost.
/// </summary>
internal sealed class SimCloneClient
{
    private const int OutstandingMax = 4;
    private const int SilenceUs = 2_500_000;

    /// <summary>Of one read that comes back bad: a disk fails one read at a time, and blocks that are lost stay bad.</summary>
    private const int BadReadsMax = 40;

    private readonly SimClone _clone;
    private readonly SimNode _node;
    private readonly SimRandom _random;
    private readonly SessionId _session;
    private readonly SortedDictionary<ulong, Request> _open = [];

    /// <summary>What each block must hold: the snapshot's, until it is written to. 0: nothing.</summary>
    private readonly Dictionary<ulong, Block> _blocks = [];
    private ulong _nextId = 1;
    private ulong _route;
    private IFrameLink? _link;
    private bool _isReady;
    private bool _reopens;
    private bool _isEnded;
    private long _heardUs;
    private (ulong Epoch, ulong Acknowledged, ulong Durable) _seen;

    private sealed record Request(ulong Id, SimKind Kind, BlockRange Range, ulong Value, bool IsConditional)
    {
        public IoBuffer? Record { get; set; }

        public int BadReads { get; set; }
    }

    /// <param name="Sequence">Where it is known; 0: it is not.</param>
    private readonly record struct Block(ulong Value, ulong Sequence);

    public SimCloneClient(SimClone clone, SimNode node, SimRandom random, SimOrder.Content content, int requests)
    {
        (_clone, _node, _random, Left) = (clone, node, random, requests);
        _session = new SessionId(0, random.Next() | 1);
        foreach (var (block, held) in content) _blocks[block] = new Block(held.Value, held.Sequence);
    }

    /// <summary>Requests that it has not asked yet.</summary>
    public int Left { get; private set; }

    public bool IsDone => Left == 0 && _open.Count == 0;

    public string State => $"left {Left} unanswered {string.Join(",", _open.Values.Select(request => $"{request.Kind} {request.Range}"))} ready {_isReady}";

    /// <summary>What every copy must hold now; only with nothing on its way.</summary>
    public List<(ulong Block, ulong Value)> Expected => [.. _blocks.Where(pair => pair.Value.Value != 0).OrderBy(pair => pair.Key).Select(pair => (pair.Key, pair.Value.Value))];

    public void Start()
    {
        Reopen(0);
        _node.Post(SilenceUs, Watch);
        PostWork();
    }

    /// <summary>Every block is read once more.</summary>
    public void ReadAll()
    {
        for (ulong block = 0; block < _clone.Blocks; block++) Ask(SimKind.Read, new BlockRange(block, 1));
    }

    public void End()
    {
        _isEnded = true;
        Left = 0;
        foreach (var request in _open.Values) request.Record?.Release();
        _open.Clear();
        if (!_isReady) return;
        _isReady = false;
        Span<byte> body = stackalloc byte[SessionOpenBody.SizeBytes];
        if (_link is { IsUp: true }) _link.Send(FrameHeader.Of(FrameKind.SessionClose, _clone.Volume, argument: _route), new SessionOpenBody(_session, _nextId).Encode(body));
    }

    public void OnLinkUp(SimNode at, SimLink link)
    {
        if (at == _node && !_isReady) Reopen(_random.Between(0, 20_000));
    }

    public void OnLinkDown(SimLink link)
    {
        if (_link != link) return;
        (_link, _isReady) = (null, false);
        Reopen(_random.Between(1_000, 50_000));
    }

    public void OnFrame(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (from != _link || header.Argument != _route || _isEnded) return;
        _heardUs = _node.World.NowUs;
        switch (header.Kind)
        {
            case FrameKind.SessionOpened: OnOpened(header.Status); break;
            case FrameKind.SessionNotice:
                if (header.Status != IoStatus.Ok) Reopen(_random.Between(1_000, 100_000));
                break;
            case FrameKind.Present: throw _clone.Broken("its owner asks for what is kept, and all that was answered is on media");
            case FrameKind.ClientCommitted: break;
            default: OnAnswer(in header, body); break;
        }
    }

    private void Reopen(long delayUs)
    {
        _isReady = false;
        if (_reopens || _isEnded) return;
        _reopens = true;
        _node.Post(delayUs, () =>
        {
            _reopens = false;
            Open();
        });
    }

    private void Open()
    {
        if (_isEnded) return;
        _link = _clone.OwnerNode is { } owner ? _node.LinkTo(owner.Id) : null;
        if (_link is not { IsUp: true })
        {
            Reopen(_random.Between(20_000, 150_000));
            return;
        }
        (_route, _heardUs) = (_random.Next(), _node.World.NowUs);
        Span<byte> body = stackalloc byte[SessionOpenBody.SizeBytes];
        var isKept = _seen.Acknowledged > _seen.Durable;
        var open = new SessionOpenBody(_session, _open.Count == 0 ? _nextId : _open.Keys.First(), _seen.Epoch, isKept ? _seen.Acknowledged : 0);
        _link.Send(FrameHeader.Of(FrameKind.SessionOpen, _clone.Volume, argument: _route), open.Encode(body));
    }

    private void OnOpened(IoStatus status)
    {
        if (status is IoStatus.StaleSession or IoStatus.DataLost) throw _clone.Broken($"a session was opened with {status}");
        if (status != IoStatus.Ok) Reopen(_random.Between(20_000, 200_000));
        else if (!_isReady)
        {
            _isReady = true;
            foreach (var request in _open.Values.ToList()) Send(request);
        }
    }

    private void OnAnswer(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!_isReady || !_open.TryGetValue(header.RequestId, out var request)) return;
        switch (header.Status)
        {
            case IoStatus.Ok: break;
            case IoStatus.Busy:
                SendLater(request);
                return;
            case IoStatus.Offline or IoStatus.NotOwner:
                Reopen(_random.Between(10_000, 200_000));
                return;
            case IoStatus.BadChecksum or IoStatus.DeviceError when request.Kind == SimKind.Read && ++request.BadReads <= BadReadsMax:
                SendLater(request);
                return;
            // An owner whose own copy has failed knows no block's sequence. What it refused is never applied. It may have been deposed since it sent this (seed 62).
            case IoStatus.Conflict when request.IsConditional && !_clone.HasItsCopy(_link!.Peer):
                _clone.Tally.Add("Conflict");
                _open.Remove(request.Id);
                request.Record?.Release();
                return;
            default: throw _clone.Broken($"{request.Kind} {request.Range} was answered with {header.Status}");
        }
        _open.Remove(request.Id);
        if (request.Kind == SimKind.Read) OnRead(request, in header, body);
        else OnAcknowledged(request, in header, body);
        request.Record?.Release();
    }

    private void SendLater(Request request)
    {
        var route = _route;
        _node.Post(_random.Between(5_000, 60_000), () =>
        {
            if (_isReady && _route == route && _open.ContainsKey(request.Id)) Send(request);
        });
    }

    private void OnRead(Request request, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        _clone.Tally.Add("Read");
        var found = SimRecords.DecodeReply(body, request.Range, _clone.Volume);
        for (var index = 0; index < found.Count; index++)
        {
            var block = request.Range.First + (ulong)index;
            var (sequence, value) = found[index];
            var held = _blocks.GetValueOrDefault(block);
            if (value != held.Value) throw _clone.Broken($"block {block} was read as {value} as of {sequence} in epoch {header.Epoch}, and it is {held.Value} as of {held.Sequence}");
            if (held.Sequence != 0 && value != 0 && sequence != held.Sequence) throw _clone.Broken($"block {block} was read as of {sequence}, and it is as of {held.Sequence}");
            if (value != 0) _blocks[block] = new Block(value, sequence);
            if (sequence > _seen.Acknowledged) (_seen.Epoch, _seen.Acknowledged) = (header.Epoch, sequence);
        }
    }

    private void OnAcknowledged(Request request, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        Invariant.That(ClientAckBody.TryDecode(body, out var ack), "an ack has no body");
        // What else is committed it was not answered, and need not be on media: claimed, it would be asked for after a loss of power.
        if (header.Epoch >= _seen.Epoch) _seen = (header.Epoch, Math.Max(_seen.Acknowledged, ack.Sequence), Math.Max(_seen.Durable, ack.DurableSequence));
        _clone.Tally.Add(request.Kind.ToString());
        if (request.IsConditional) _clone.Tally.Add("Conditional");
        if (request.Kind == SimKind.Flush) return;
        for (var block = request.Range.First; block < request.Range.End; block++) _blocks[block] = new Block(request.Value, ack.Sequence);
    }

    private void Send(Request request)
    {
        Span<byte> small = stackalloc byte[32];
        var header = FrameHeader.Of(request.Kind switch { SimKind.Read => FrameKind.ClientRead, SimKind.Flush => FrameKind.ClientFlush, _ => FrameKind.ClientWrite },
            _clone.Volume, 0, request.Id, _route);
        if (request.Record is not null) _link!.Send(header, request.Record);
        else if (request.Kind == SimKind.Read) _link!.Send(header, new ClientReadBody(_session, request.Range).Encode(small));
        else _link!.Send(header, new ClientFlushBody(_session, _open.Keys.First()).Encode(small));
    }

    private void Watch()
    {
        if (_isEnded) return;
        if (_open.Count > 0 && _node.World.NowUs - _heardUs > SilenceUs) Reopen(0);
        _node.Post(SilenceUs / 2, Watch);
    }

    private void PostWork() => _node.Post(_random.Between(500, 150_000), () =>
    {
        if (_isEnded || Left == 0) return;
        if (_open.Count < OutstandingMax && _clone.HasBegun)
        {
            Left--;
            AskSomething();
        }
        PostWork();
    });

    private void AskSomething()
    {
        var range = new BlockRange((ulong)_random.Below((int)_clone.Blocks - 1), _random.Percent(80) ? 1u : 2);
        var roll = _random.Below(100);
        if (roll < 8) Ask(SimKind.Flush, range);
        else if (_open.Values.Any(request => request.Kind != SimKind.Flush && request.Range.First < range.End && range.First < request.Range.End)) Left++;
        else if (roll < 50) Ask(SimKind.Read, range);
        else if (roll < 62) Ask(SimKind.Trim, range);
        else Ask(SimKind.Write, range, isConditional: roll >= 85);
    }

    /// <summary>A conditional write is one of a block that nobody else writes, on what is known of it: it is never refused (R15).</summary>
    private void Ask(SimKind kind, BlockRange range, bool isConditional = false)
    {
        var expected = _blocks.GetValueOrDefault(range.First).Sequence;
        isConditional = isConditional && range.Count == 1 && expected != 0 && _blocks[range.First].Value != 0;
        var request = new Request(_nextId++, kind, range, kind == SimKind.Write ? _node.World.History.NewValue() : 0, isConditional);
        if (kind is SimKind.Write or SimKind.Trim) request.Record = Encode(request, expected);
        _open.Add(request.Id, request);
        if (_isReady) Send(request);
    }

    private IoBuffer Encode(Request request, ulong expected)
    {
        var isForced = _node.World.Profile.PowerLoss || _random.Percent(30);
        var header = new RecordHeader
        {
            Session = _session,
            RequestId = request.Id,
            AnsweredBelow = _open.Count == 0 ? request.Id : _open.Keys.First(),
            Range = request.Range,
            ExpectedSequence = request.IsConditional ? expected : 0,
            Flags = (isForced ? RecordFlags.ForceUnitAccess : 0) | (request.IsConditional ? RecordFlags.Conditional : 0),
        };
        return request.Kind == SimKind.Write ? SimRecords.Write(header, request.Value, _node.World.Profile.EncodedBytes, _clone.Volume) : SimRecords.Trim(header, _clone.Volume);
    }
}
