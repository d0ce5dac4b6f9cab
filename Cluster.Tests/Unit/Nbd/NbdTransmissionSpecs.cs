using System.Buffers.Binary;
using System.Text;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Nbd;

public class NbdTransmissionSpecs
{
    private const ushort Read = 0;
    private const ushort Write = 1;
    private const ushort Flush = 3;
    private const ushort Trim = 4;
    private const ushort Cache = 5;
    private const ushort Zeroes = 6;
    private const ushort Status = 7;
    private readonly FakeLoop _loop = new();

    private MemoryDevice Device(ulong sizeBytes = 1 << 20) => new(_loop, sizeBytes);

    private static string Repeat(string hex, int count) => string.Concat(Enumerable.Repeat(hex, count));

    [Fact(DisplayName = "Simple replies: what was written is read back, each reply with its cookie")]
    public void Simple_round_trip()
    {
        var wire = NbdWire.Connected(Device(), structured: false);
        wire.Feed(NbdWire.Request(Write, 0x1122, 512, 4, payload: "cafef00d"));
        Assert.Equal(NbdWire.Simple(0x1122), wire.Sent());
        wire.Feed(NbdWire.Request(Read, 0x33, 511, 6));
        Assert.Equal(NbdWire.Simple(0x33) + "00cafef00d00", wire.Sent());
    }

    [Fact(DisplayName = "Structured replies: a read is a data chunk with the flag DONE; success without data stays simple")]
    public void Structured_round_trip()
    {
        var wire = NbdWire.Connected(Device(), structured: true);
        wire.Feed(NbdWire.Request(Write, 1, 0, 2, payload: "abcd"));
        Assert.Equal(NbdWire.Simple(1), wire.Sent());
        wire.Feed(NbdWire.Request(Read, 2, 0, 3));
        var sent = wire.Sent();
        Assert.True(
            sent == "668e33ef" + "0001" + "0001" + "0000000000000002" + "0000000b" + "0000000000000000" + "abcd00" ||
            sent == "668e33ef" + "0000" + "0001" + "0000000000000002" + "0000000b" + "0000000000000000" + "abcd00" +
                    "668e33ef" + "0001" + "0000" + "0000000000000002" + "00000000",
            sent);
    }

    [Fact(DisplayName = "A long structured read arrives in chunks that cover it once, in any order, ended by DONE")]
    public void Long_structured_read()
    {
        var device = Device(2 << 20);
        var wire = NbdWire.Connected(device, structured: true);
        wire.Feed(NbdWire.Request(Write, 1, 0, 1 << 20, payload: Repeat("5a", 1 << 20)));
        wire.Sent();
        device.Held = [];
        wire.Feed(NbdWire.Request(Read, 2, 1000, 700_000));
        Assert.Equal("", wire.Sent());
        device.Release();
        var covered = ReadChunks(Convert.FromHexString(wire.Sent()), out var dones);
        Assert.Equal(1, dones);
        Assert.Equal(700_000, covered.Sum(chunk => chunk.Length));
        Assert.True(covered.Count > 1);
        Assert.Equal(covered.Count, covered.Select(chunk => chunk.Offset).Distinct().Count());
        Assert.All(covered, chunk => Assert.True(chunk.AllSet));
    }

    private static List<(ulong Offset, int Length, bool AllSet)> ReadChunks(byte[] bytes, out int dones)
    {
        var covered = new List<(ulong, int, bool)>();
        dones = 0;
        for (var at = 0; at < bytes.Length;)
        {
            Assert.Equal(0x668e33efu, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at)));
            Assert.Equal(0, dones);
            if (BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(at + 4)) == 1) dones++;
            var length = (int)BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at + 16));
            if (BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(at + 6)) == 1)
            {
                var data = bytes.AsSpan(at + 28, length - 8);
                var offset = BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(at + 20));
                covered.Add((offset, length - 8, data.IndexOfAnyExcept((byte)0x5a) < 0));
            }
            at += 20 + length;
        }
        return covered;
    }

    [Theory(DisplayName = "DF, and clients without structured replies, get a long read in one piece")]
    [InlineData(true)]
    [InlineData(false)]
    public void Unfragmented(bool structured)
    {
        var device = Device(2 << 20);
        var wire = NbdWire.Connected(device, structured);
        device.Held = [];
        wire.Feed(NbdWire.Request(Read, 9, 100, 600_000, flags: (ushort)(structured ? 4 : 0)));
        device.Release();
        var header = structured
            ? "668e33ef" + "0001" + "0001" + "0000000000000009" + $"{600_008:x8}" + "0000000000000064"
                : NbdWire.Simple(9);
        Assert.Equal(header + Repeat("00", 600_000), wire.Sent());
    }

    [Fact(DisplayName = "A read that fails in part sends no success: error chunk with DONE, or an error in the simple reply and no data")]
    public void Failed_read()
    {
        var device = Device();
        var structured = NbdWire.Connected(device, structured: true);
        device.Answer = IoStatus.BadChecksum;
        structured.Feed(NbdWire.Request(Read, 1, 0, 4096));
        Assert.StartsWith("668e33ef" + "0001" + "8001" + "0000000000000001", structured.Sent(), StringComparison.Ordinal);
        device.Answer = IoStatus.Ok;
        var simple = NbdWire.Connected(device, structured: false);
        device.Answer = IoStatus.HoldExpired;
        simple.Feed(NbdWire.Request(Read, 1, 0, 4096));
        Assert.Equal(NbdWire.Simple(1, 5), simple.Sent());
    }

    [Theory(DisplayName = "What can't be done gets the protocol's own error, and the connection goes on")]
    [InlineData(Read, 0, 1 << 20, 1, "", 22u)]
    [InlineData(Read, 0, 0xffffffffffffffff, 2, "", 22u)]
    [InlineData(Read, 0, 0, 0, "", 22u)]
    [InlineData(Read, 0, 0, 0x2000001, "", 22u)]
    [InlineData(Read, 4, 0, 512, "", 22u)]
    [InlineData(Read, 2, 0, 512, "", 22u)]
    [InlineData(Write, 0, (1 << 20) - 1, 2, "aabb", 28u)]
    [InlineData(Write, 0, 0xffffffffffffffff, 2, "aabb", 28u)]
    [InlineData(Write, 16, 0, 2, "aabb", 22u)]
    [InlineData(Write, 0, 0, 0, "", 22u)]
    [InlineData(Trim, 0, 1 << 20, 1, "", 22u)]
    [InlineData(Trim, 2, 0, 512, "", 22u)]
    [InlineData(Zeroes, 0, 1 << 20, 512, "", 28u)]
    [InlineData(Zeroes, 8, 0, 512, "", 22u)]
    [InlineData(Cache, 0, 1 << 20, 512, "", 22u)]
    [InlineData(Flush, 0, 1, 0, "", 22u)]
    [InlineData(Flush, 0, 0, 1, "", 22u)]
    [InlineData(Status, 0, 0, 512, "", 22u)]
    [InlineData((ushort)8, 0, 0, 512, "", 22u)]
    [InlineData((ushort)0xffff, 0, 0, 512, "", 22u)]
    public void Errors(ushort type, int flags, ulong offset, uint length, string payload, uint error)
    {
        var wire = NbdWire.Connected(Device(), structured: false);
        wire.Feed(NbdWire.Request(type, 5, offset, length, (ushort)flags, payload));
        Assert.Equal(NbdWire.Simple(5, error), wire.Sent());
        wire.Feed(NbdWire.Request(Flush, 6, 0, 0));
        Assert.Equal(NbdWire.Simple(6), wire.Sent());
    }

    [Fact(DisplayName = "A write above 32 MiB is swallowed and answered with EINVAL; one above 128 MiB ends the connection")]
    public void Oversize_write()
    {
        var wire = NbdWire.Connected(Device(256 << 20), structured: false);
        wire.Feed(NbdWire.Request(Write, 1, 0, (32 << 20) + 1));
        var piece = new byte[1 << 20];
        for (var count = 0; count < 32; count++) wire.Socket.Feed(piece);
        Assert.Equal("", wire.Sent());
        wire.Socket.Feed(0);
        Assert.Equal(NbdWire.Simple(1, 22), wire.Sent());
        wire.Feed(NbdWire.Request(Write, 2, 0, (128 << 20) + 1));
        Assert.False(wire.Socket.IsOpen);
    }

    [Fact(DisplayName = "A structured error carries a sentence that names what was wrong")]
    public void Structured_error()
    {
        var wire = NbdWire.Connected(Device(), structured: true);
        wire.Feed(NbdWire.Request(Read, 5, 1 << 20, 512));
        var bytes = Convert.FromHexString(wire.Sent());
        Assert.Equal(22u, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(20)));
        Assert.Equal("offset 1048576 + length 512 is beyond the end of the export (1048576 B)", Encoding.UTF8.GetString(bytes[26..]));
        Assert.Equal(bytes.Length - 26, BinaryPrimitives.ReadUInt16BigEndian(bytes.AsSpan(24)));
    }

    [Fact(DisplayName = "A wrong request magic ends the connection")]
    public void Wrong_magic()
    {
        var wire = NbdWire.Connected(Device(), structured: true);
        wire.Feed("25609514" + new string('0', 48));
        Assert.False(wire.Socket.IsOpen);
        Assert.Equal(CloseReason.Protocol, wire.Socket.Reason);
    }

    [Fact(DisplayName = "A read-only export refuses writes with EPERM, payload swallowed")]
    public void Read_only()
    {
        var wire = NbdWire.Connected(new MemoryDevice(_loop, 1 << 20) { ReadOnly = true }, structured: false);
        wire.Feed(NbdWire.Request(Write, 1, 0, 2, payload: "aabb") + NbdWire.Request(Trim, 2, 0, 512) + NbdWire.Request(Zeroes, 3, 0, 512));
        Assert.Equal(NbdWire.Simple(1, 1) + NbdWire.Simple(2, 1) + NbdWire.Simple(3, 1), wire.Sent());
    }

    [Fact(DisplayName = "TRIM, WRITE_ZEROES (NO_HOLE, FAST_ZERO), CACHE, FUA and FLUSH reach the device")]
    public void Other_commands()
    {
        var device = Device();
        var wire = NbdWire.Connected(device, structured: false);
        wire.Feed(NbdWire.Request(Write, 1, 0, 8192, flags: 1, payload: Repeat("77", 8192)));
        Assert.Equal((2, 1), (device.AllocatedBlocks, device.ForcedCount));
        wire.Feed(NbdWire.Request(Zeroes, 2, 0, 4096, flags: 2 | 16));
        wire.Feed(NbdWire.Request(Trim, 3, 4096, 4096));
        wire.Feed(NbdWire.Request(Cache, 4, 0, 4096));
        wire.Feed(NbdWire.Request(Flush, 5, 0, 0));
        Assert.Equal(string.Concat(Enumerable.Range(1, 5).Select(cookie => NbdWire.Simple((ulong)cookie))), wire.Sent());
        Assert.Equal((0, 1), (device.AllocatedBlocks, device.FlushCount));
    }

    [Theory(DisplayName = "BLOCK_STATUS describes holes and data in order; REQ_ONE gives one descriptor")]
    [InlineData(0, "0000001c", "00000001" + "00001000" + "00000003" + "00002000" + "00000000" + "00000fff" + "00000003")]
    [InlineData(8, "0000000c", "00000001" + "00001000" + "00000003")]
    public void Block_status(int flags, string length, string payload)
    {
        var wire = NbdWire.Connected(Device(), structured: true, contexts: true);
        wire.Feed(NbdWire.Request(Write, 1, 4096, 8192, payload: Repeat("77", 8192)));
        wire.Sent();
        wire.Feed(NbdWire.Request(Status, 2, 0, 16383, flags: (ushort)flags));
        Assert.Equal("668e33ef" + "0001" + "0005" + "0000000000000002" + length + payload, wire.Sent());
    }

    [Fact(DisplayName = "Replies go out in the order in which commands are done")]
    public void Out_of_order()
    {
        var device = Device();
        var wire = NbdWire.Connected(device, structured: false);
        device.Held = [];
        wire.Feed(NbdWire.Request(Flush, 1, 0, 0) + NbdWire.Request(Trim, 2, 0, 512));
        Assert.Equal("", wire.Sent());
        device.Release();
        Assert.Equal(NbdWire.Simple(2) + NbdWire.Simple(1), wire.Sent());
    }

    [Fact(DisplayName = "DISC is obeyed after what is in flight was answered; later bytes are ignored")]
    public void Disconnect()
    {
        var device = Device();
        var wire = NbdWire.Connected(device, structured: false);
        device.Held = [];
        wire.Feed(NbdWire.Request(Flush, 1, 0, 0) + NbdWire.Request(2, 2, 0, 0) + NbdWire.Request(Flush, 3, 0, 0));
        Assert.True(wire.Socket.IsOpen);
        device.Release();
        Assert.Equal(NbdWire.Simple(1), wire.Sent());
        Assert.False(wire.Socket.IsOpen);
        Assert.Equal(1, device.Closes);
    }

    [Fact(DisplayName = "Commands above the bound wait, unread, and go on when one was answered")]
    public void Backpressure()
    {
        var device = Device();
        var wire = NbdWire.Connected(device, structured: false);
        device.Held = [];
        for (ulong cookie = 0; cookie < NbdLimits.CommandsMax + 3; cookie++) wire.Feed(NbdWire.Request(Flush, cookie, 0, 0));
        Assert.Equal(NbdLimits.CommandsMax, device.Held.Count);
        Assert.True(wire.Socket.IsPaused);
        while (device.Held.Count > 0)
        {
            device.Release();
            wire.Socket.Offer();
        }
        Assert.Equal((NbdLimits.CommandsMax + 3) * 32, wire.Sent().Length);
        Assert.False(wire.Socket.IsPaused);
    }

    [Fact(DisplayName = "A client that does not read its replies is not read from until it does")]
    public void Slow_reader()
    {
        var wire = NbdWire.Connected(Device(), structured: false);
        wire.Socket.QueuedBytes = NbdLimits.OutQueueBytesMax + 1;
        wire.Feed(NbdWire.Request(Flush, 1, 0, 0));
        Assert.Equal("", wire.Sent());
        Assert.True(wire.Socket.IsPaused);
        wire.Socket.Drain();
        Assert.Equal(NbdWire.Simple(1), wire.Sent());
    }

    [Fact(DisplayName = "A connection that dies with commands in flight and a payload half received gives everything back")]
    public void Death()
    {
        var device = Device(2 << 20);
        var wire = NbdWire.Connected(device, structured: true);
        device.Held = [];
        wire.Feed(NbdWire.Request(Read, 1, 0, 600_000) + NbdWire.Request(Write, 2, 0, 600_000, payload: Repeat("11", 400_000)));
        Assert.NotEmpty(device.Held);
        wire.Socket.Hangup();
        Assert.All(device.Held, request => Assert.True(request.Abandoned));
        Assert.Equal(1, device.Closes);
        device.Release();
        Assert.Equal("", wire.Sent());
        Assert.Equal(0, wire.Server.CountedBytes);
    }

    [Fact(DisplayName = "Stopping answers nothing that is in flight (R14)")]
    public async Task Planned_stop()
    {
        var device = Device();
        var wire = NbdWire.Connected(device, structured: true);
        device.Held = [];
        wire.Feed(NbdWire.Request(Flush, 1, 0, 0));
        var stopped = wire.Server.Stop();
        wire.Loop.Run();
        await stopped;
        device.Release();
        Assert.Equal("", wire.Sent());
        Assert.False(wire.Socket.IsOpen);
    }

    [Fact(DisplayName = "A size that grew is seen by the next command")]
    public void Resize()
    {
        var device = Device(4096);
        var wire = NbdWire.Connected(device, structured: false);
        wire.Feed(NbdWire.Request(Trim, 1, 4096, 4096));
        device.SizeBytes = 8192;
        wire.Feed(NbdWire.Request(Trim, 2, 4096, 4096));
        Assert.Equal(NbdWire.Simple(1, 22) + NbdWire.Simple(2), wire.Sent());
    }
}
