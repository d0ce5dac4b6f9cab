using BenchmarkDotNet.Attributes;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Ingress;

namespace Cluster.Tests.Bench;

/// <summary>A frame onto a mesh connection up to the socket's out queue, and out of the bytes of one: a record of one block, and an acknowledgement.</summary>
public class FrameBenchmarks : IFrameSink
{
    private readonly NoSocket _socket = new();
    private readonly FrameReader _reader = new(BufferPool.Shared);
    private readonly byte[] _ack = new AppendAckBody(9, 8, 0, 1 << 20).Encode(new byte[64]).ToArray();
    private MeshLink? _link;
    private IoBuffer? _record;
    private byte[] _recordFrame = [];
    private byte[] _ackFrame = [];
    private int _frames;

    [GlobalSetup]
    public void Setup()
    {
        _link = new MeshLink(_socket, new NodeId(Guid.NewGuid()), "peer", 1, 0, LoopStages.Off);
        var benchmarks = new RecordHeaderBenchmarks { Blocks = 1 };
        var bytes = benchmarks.MakeRecord();
        _record = BufferPool.Shared.Rent(bytes.Length);
        bytes.CopyTo(_record.Span);
        _recordFrame = Bytes(SendRecord);
        _ackFrame = Bytes(SendAck);
    }

    [GlobalCleanup]
    public void Cleanup()
    {
        _record?.Release();
        _reader.Dispose();
    }

    [Benchmark]
    public void SendRecord() => _link!.Send(FrameHeader.Of(FrameKind.Append, new VolumeId(7), epoch: 3), _record!);

    [Benchmark]
    public void SendAck() => _link!.Send(FrameHeader.Of(FrameKind.AppendAck, new VolumeId(7), epoch: 3), _ack);

    [Benchmark]
    public bool ReceiveRecord() => Receive(_recordFrame);

    [Benchmark]
    public bool ReceiveAck() => Receive(_ackFrame);

    /// <summary>Frames that were found sound.</summary>
    public int Frames => _frames;

    bool IFrameSink.OnFrame(in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        _frames++;
        return true;
    }

    private bool Receive(byte[] frame) => _reader.Feed(frame, this) ? true : throw new IOException(_reader.Error);

    /// <summary>What the call puts onto the socket.</summary>
    private byte[] Bytes(Action send)
    {
        _socket.Kept = [];
        send();
        byte[] bytes = [.. _socket.Kept];
        _socket.Kept = null;
        return bytes;
    }

    /// <summary>Takes what is sent, and keeps it if it is told to.</summary>
    private sealed class NoSocket : ILoopSocket
    {
        public List<byte>? Kept { get; set; }

        public System.Net.EndPoint? RemoteEndPoint => null;

        public bool IsOpen => true;

        public long QueuedBytes => 0;

        public int Receive(Span<byte> to) => -1;

        public void Send(ReadOnlySpan<byte> bytes) => Kept?.AddRange(bytes);

        public void Send(IoBuffer buffer, int offset, int length) => Kept?.AddRange(buffer.Span.Slice(offset, length));

        public void PauseReading()
        {
        }

        public void ResumeReading()
        {
        }

        public void Close(CloseReason reason, string detail)
        {
        }
    }
}
