using System.Buffers.Binary;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>
/// Takes the frames that a <see cref="FrameReader"/> found sound. False ends the reading without an error (the
/// connection was closed).
/// </summary>
public interface IFrameSink
{
    bool OnFrame(in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer);
}

/// <summary>
/// Cuts a stream of bytes into frames, for one connection: bytes are put into <see cref="Space"/>, then
/// <see cref="Advance"/> is told how many. A header is checked before its length is used, a body before it is given on.
/// Small bodies are spans of the staging buffer; larger ones and records get a buffer of their own, into which the rest
/// of a body is received without a copy. The first fault ends it: <see cref="Error"/>. Memory is bounded: the staging
/// buffer and one body. It knows no socket.
/// </summary>
public sealed class FrameReader : IDisposable
{
    private const int MagicBytes = 4;
    private readonly BufferPool _pool;
    private readonly IoBuffer _staging;
    private int _staged;
    private FrameHeader _bodyHeader;
    private IoBuffer? _body;
    private int _bodyFilled;

    public FrameReader(BufferPool pool) => (_pool, _staging) = (pool, pool.Rent(MeshLimits.StagingBytes));

    /// <summary>Why the stream is broken, in words for the log; null as long as it is not.</summary>
    public string? Error { get; private set; }

    /// <summary>Where the next bytes go; never empty.</summary>
    public Span<byte> Space => _body is null ? _staging.Span[_staged..] : _body.Span[_bodyFilled..];

    /// <summary>
    /// The first <paramref name="count"/> bytes of <see cref="Space"/> were filled. False: an error, or the sink has
    /// had enough.
    /// </summary>
    public bool Advance(int count, IFrameSink sink)
    {
        Invariant.That(Error is null && count <= Space.Length, "a frame reader was fed after its end, or beyond its room");
        if (_body is null)
        {
            _staged += count;
            return ReadStaged(sink);
        }
        _bodyFilled += count;
        return _bodyFilled < _body.Length || FinishBody(sink);
    }

    /// <summary>Copies <paramref name="bytes"/> through the same way as received ones.</summary>
    public bool Feed(ReadOnlySpan<byte> bytes, IFrameSink sink)
    {
        while (!bytes.IsEmpty)
        {
            var space = Space;
            var count = Math.Min(space.Length, bytes.Length);
            bytes[..count].CopyTo(space);
            if (!Advance(count, sink)) return false;
            bytes = bytes[count..];
        }
        return true;
    }

    public void Dispose()
    {
        _body?.Release();
        _body = null;
        _staging.Release();
    }

    private bool ReadStaged(IFrameSink sink)
    {
        var at = 0;
        while (_body is null)
        {
            var rest = _staging.Span[at.._staged];
            if (!CheckMagic(rest)) return false;
            if (rest.Length < FrameHeader.SizeBytes) break;
            var status = FrameHeader.TryDecode(rest, out var header);
            if (status != IoStatus.Ok) return Fail($"a frame header is refused: {status}");
            if (!CheckMeaning(in header)) return false;
            var length = (int)header.BodyLength;
            rest = rest[FrameHeader.SizeBytes..];
            if (length > Limits.SmallBodyBytesMax || FrameKinds.CarriesRecord(header.Kind))
                at += FrameHeader.SizeBytes + BeginBody(in header, rest);
            else if (rest.Length < length) break;
            else
            {
                if (!Dispatch(in header, rest[..length], null, sink)) return false;
                at += FrameHeader.SizeBytes + length;
            }
            if (_body is not null && _bodyFilled == length && !FinishBody(sink)) return false;
        }
        // What is left is less than one small frame, or nothing.
        _staging.Span[at.._staged].CopyTo(_staging.Span);
        _staged -= at;
        return true;
    }

    /// <summary>Looked at as soon as its bytes are there: a port scanner or a browser is cut off at once.</summary>
    private bool CheckMagic(ReadOnlySpan<byte> rest) =>
        rest.Length < MagicBytes || BinaryPrimitives.ReadUInt32LittleEndian(rest) == FrameHeader.Magic
        || Fail("this is not the mesh protocol");

    private bool CheckMeaning(in FrameHeader header)
    {
        var (kind, length) = (header.Kind, header.BodyLength);
        var record = FrameKinds.CarriesRecord(kind);
        if ((header.Flags & ~FrameFlags.SelfChecked) != 0) return Fail($"a {kind} frame has unknown flags ({(byte)header.Flags:x2})");
        if (record != ((header.Flags & FrameFlags.SelfChecked) != 0)) return Fail($"a {kind} frame has the wrong kind of checksum");
        if (record && header.BodyHash != 0) return Fail($"a {kind} frame has two checksums");
        if (length > FrameKinds.BodyBytesMax(kind)) return Fail($"a {kind} frame has a body of {length} B");
        return !record || length >= RecordHeader.SizeBytes || Fail($"a {kind} frame holds no whole record");
    }

    private int BeginBody(in FrameHeader header, ReadOnlySpan<byte> rest)
    {
        _bodyHeader = header;
        _body = _pool.Rent((int)header.BodyLength);
        _bodyFilled = Math.Min(rest.Length, _body.Length);
        rest[.._bodyFilled].CopyTo(_body.Span);
        return _bodyFilled;
    }

    private bool FinishBody(IFrameSink sink)
    {
        var body = _body!;
        _body = null;
        try
        {
            return Dispatch(in _bodyHeader, body.Span, body, sink);
        }
        finally
        {
            body.Release();
        }
    }

    private bool Dispatch(in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer, IFrameSink sink)
    {
        if (!header.BodyMatches(body)) return Fail($"the body of a {header.Kind} frame does not match its checksum");
        if (FrameKinds.CarriesRecord(header.Kind) && !CheckRecord(in header, body)) return false;
        return sink.OnFrame(in header, body, buffer);
    }

    private bool CheckRecord(in FrameHeader header, ReadOnlySpan<byte> body)
    {
        var frame = header.Kind;
        var status = RecordHeader.TryDecode(body, out var record);
        if (status != IoStatus.Ok) return Fail($"the record of a {frame} frame is refused: {status}");
        if (record.Kind >= RecordKind.StoreFirst) return Fail($"a {frame} frame holds a record of the store's own ({record.Kind})");
        if (record.TotalBytes != body.Length) return Fail($"a {frame} frame of {body.Length} B holds a record of {record.TotalBytes} B");
        return (record.Volume == header.Volume && record.Slice == header.Slice)
            || Fail($"a {frame} frame of volume {header.Volume} holds a record of volume {record.Volume}");
    }

    private bool Fail(string error)
    {
        Error = error;
        return false;
    }
}
