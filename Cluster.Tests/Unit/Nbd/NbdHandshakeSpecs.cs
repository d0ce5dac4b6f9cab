using System.Text;
using Cluster.Csi.Nbd;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Nbd;

public class NbdHandshakeSpecs
{
    private static NbdWire Greeted(ulong sizeBytes = 1 << 20, bool readOnly = false)
    {
        var loop = new FakeLoop();
        var wire = new NbdWire(loop, ("vol", new MemoryDevice(loop, sizeBytes) { ReadOnly = readOnly }),
            ("team/other", new MemoryDevice(loop, 4096)));
        Assert.Equal(NbdWire.Greeting, wire.Sent());
        wire.Feed("00000003");
        return wire;
    }

    [Fact(DisplayName = "The server greets with both magics, FIXED_NEWSTYLE and NO_ZEROES")]
    public void Greets() => Assert.Equal(NbdWire.Greeting, new NbdWire().Sent());

    [Theory(DisplayName = "EXPORT_NAME is answered with size and flags, and with 124 zeroes unless the client declined them")]
    [InlineData("00000003", 0)]
    [InlineData("00000001", 124)]
    public void Export_name(string clientFlags, int zeroes)
    {
        var loop = new FakeLoop();
        var wire = new NbdWire(loop, ("vol", new MemoryDevice(loop, 1 << 20)));
        wire.Sent();
        wire.Feed(clientFlags);
        wire.Feed(NbdWire.Option(1, NbdWire.Text("vol")));
        wire.Loop.RunUntil(() => !wire.Socket.IsPaused);
        Assert.Equal("0000000000100000" + "0d6d" + new string('0', zeroes * 2), wire.Sent());
    }

    [Fact(DisplayName = "EXPORT_NAME for what does not exist ends the connection, since it can't be answered with an error")]
    public void Export_name_unknown()
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(1, NbdWire.Text("nope")));
        wire.Loop.RunUntil(() => !wire.Socket.IsOpen);
        Assert.Equal("", wire.Sent());
    }

    [Fact(DisplayName = "An unknown client flag ends the connection")]
    public void Unknown_client_flag()
    {
        var wire = new NbdWire();
        wire.Feed("00000004");
        Assert.False(wire.Socket.IsOpen);
        Assert.Equal(CloseReason.Protocol, wire.Socket.Reason);
    }

    [Fact(DisplayName = "A wrong option magic ends the connection")]
    public void Wrong_magic()
    {
        var wire = Greeted();
        wire.Feed("4948415645 4f5055 00000003 00000000".Replace(" ", "", StringComparison.Ordinal));
        Assert.False(wire.Socket.IsOpen);
    }

    [Fact(DisplayName = "LIST names every export, then acknowledges")]
    public void List()
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(3, ""));
        var replies = wire.Replies(3);
        Assert.Equal([2u, 2u, 1u], replies.Select(reply => reply.Type));
        Assert.Equal("00000003" + NbdWire.Text("vol"), Convert.ToHexString(replies[0].Data).ToLowerInvariant());
        Assert.Equal("0000000a" + NbdWire.Text("team/other"), Convert.ToHexString(replies[1].Data).ToLowerInvariant());
        Assert.Empty(replies[2].Data);
    }

    [Theory(DisplayName = "Options with data of the wrong length are ERR_INVALID, and the negotiation goes on")]
    [InlineData(3, "00")]
    [InlineData(8, "00")]
    [InlineData(6, "")]
    [InlineData(6, "000000040000")]
    [InlineData(7, "ffffffff0000")]
    [InlineData(7, "00000003766f6c0001")]
    [InlineData(7, "00000003766f6c00000003")]
    [InlineData(6, "00000002c3280000")]
    [InlineData(9, "")]
    public void Wrong_length(uint option, string data)
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(option, data));
        Assert.Equal(0x80000003u, Assert.Single(wire.Replies(option)).Type);
        wire.Feed(NbdWire.Option(8, ""));
        Assert.Equal(NbdWire.Ack, Assert.Single(wire.Replies(8)).Type);
    }

    [Theory(DisplayName = "Options that the server does not know are ERR_UNSUP")]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(11)]
    [InlineData(0xfffffffe)]
    public void Unknown_option(uint option)
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(option, "0102030405"));
        Assert.Equal(0x80000001u, Assert.Single(wire.Replies(option)).Type);
    }

    [Fact(DisplayName = "An option above 16 KiB is swallowed and answered with ERR_TOO_BIG")]
    public void Oversize_option()
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(6, new string('0', 2 * 300_000)));
        Assert.Equal(0x80000009u, Assert.Single(wire.Replies(6)).Type);
        wire.Feed(NbdWire.Option(8, ""));
        Assert.Equal(NbdWire.Ack, Assert.Single(wire.Replies(8)).Type);
    }

    [Fact(DisplayName = "An option above 1 MiB ends the connection")]
    public void Hostile_option()
    {
        var wire = Greeted();
        wire.Feed("49484156454f5054" + "00000006" + "7fffffff");
        Assert.False(wire.Socket.IsOpen);
        Assert.Equal(CloseReason.Protocol, wire.Socket.Reason);
    }

    [Fact(DisplayName = "INFO for an unknown export is ERR_UNKNOWN with a sentence for the user")]
    public void Info_unknown()
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(6, "00000004" + NbdWire.Text("nope") + "0000"));
        var reply = Assert.Single(wire.Replies(6));
        Assert.Equal(0x80000006u, reply.Type);
        Assert.Equal("no volume nope", Encoding.UTF8.GetString(reply.Data));
    }

    [Fact(DisplayName = "INFO tells size and flags always, and name, description and block sizes when asked; the negotiation goes on")]
    public void Info()
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(6, "00000003" + NbdWire.Text("vol") + "0003" + "0003" + "0001" + "0002"));
        var replies = wire.Replies(6).Select(reply => (reply.Type, Convert.ToHexString(reply.Data).ToLowerInvariant())).ToList();
        Assert.Equal(
            [
                (3u, "0000" + "0000000000100000" + "0d6d"),
                (3u, "0001" + NbdWire.Text("vol")),
                (3u, "0002" + NbdWire.Text("test vol")),
                (3u, "0003" + "00000001" + "00001000" + "02000000"),
                (1u, ""),
            ],
            replies);
        wire.Feed(NbdWire.Option(2, ""));
        Assert.Equal(NbdWire.Ack, Assert.Single(wire.Replies(2)).Type);
        Assert.False(wire.Socket.IsOpen);
    }

    [Fact(DisplayName = "After STRUCTURED_REPLY the flag SEND_DF is set; on a read-only export only reading flags are")]
    public void Flags()
    {
        var wire = Greeted(readOnly: true);
        wire.Feed(NbdWire.Option(8, ""));
        wire.Replies(8);
        wire.Feed(NbdWire.Option(6, "00000003" + NbdWire.Text("vol") + "0000"));
        Assert.Equal("0000" + "0000000000100000" + "058f", Convert.ToHexString(wire.Replies(6)[0].Data).ToLowerInvariant());
    }

    [Fact(DisplayName = "GO sends the same information and begins the transmission")]
    public void Go()
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(7, "00000003" + NbdWire.Text("vol") + "0000"));
        Assert.Equal([3u, 1u], wire.Replies(7).Select(reply => reply.Type));
        wire.Feed(NbdWire.Request(3, 7, 0, 0));
        Assert.Equal(NbdWire.Simple(7), wire.Sent());
    }

    [Theory(DisplayName = "Metadata contexts: base:allocation is found by name, by namespace when listing, and by asking for all")]
    [InlineData(9, new string[0], true)]
    [InlineData(9, new[] { "base:" }, true)]
    [InlineData(9, new[] { "qemu:dirty-bitmap", "base:allocation" }, true)]
    [InlineData(9, new[] { "x-other:" }, false)]
    [InlineData(10, new string[0], false)]
    [InlineData(10, new[] { "base:" }, false)]
    [InlineData(10, new[] { "base:allocation" }, true)]
    public void Meta_contexts(uint option, string[] queries, bool found)
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(8, ""));
        wire.Replies(8);
        var data = "00000003" + NbdWire.Text("vol") + $"{queries.Length:x8}" +
            string.Concat(queries.Select(q => $"{q.Length:x8}{NbdWire.Text(q)}"));
        wire.Feed(NbdWire.Option(option, data));
        var replies = wire.Replies(option);
        Assert.Equal(found ? [4u, 1u] : [1u], replies.Select(reply => reply.Type));
        var id = option == 10 ? "00000001" : "00000000";
        if (found) Assert.Equal(id + NbdWire.Text("base:allocation"), Convert.ToHexString(replies[0].Data).ToLowerInvariant());
    }

    [Fact(DisplayName = "A context chosen for another export does not count for this one")]
    public void Context_of_another_export()
    {
        var wire = Greeted();
        wire.Feed(NbdWire.Option(8, ""));
        wire.Replies(8);
        wire.Feed(NbdWire.Option(10, "0000000a" + NbdWire.Text("team/other") + "00000001" + "0000000f" + NbdWire.Text("base:allocation")));
        Assert.Equal([4u, 1u], wire.Replies(10).Select(reply => reply.Type));
        wire.Feed(NbdWire.Option(7, "00000003" + NbdWire.Text("vol") + "0000"));
        wire.Replies(7);
        wire.Feed(NbdWire.Request(7, 1, 0, 4096));
        Assert.StartsWith("668e33ef" + "0001" + "8001" + "0000000000000001", wire.Sent(), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A client that says nothing during the handshake is disconnected; one in transmission is not")]
    public void Idle()
    {
        var silent = Greeted();
        silent.Loop.Advance(NbdLimits.HandshakeIdleMs - 1);
        Assert.True(silent.Socket.IsOpen);
        silent.Loop.Advance(1);
        Assert.False(silent.Socket.IsOpen);
        var loop = new FakeLoop();
        var busy = NbdWire.Connected(NbdWire.Device(loop), structured: true);
        loop.Advance(NbdLimits.HandshakeIdleMs * 10);
        Assert.True(busy.Socket.IsOpen);
    }

    [Fact(DisplayName = "The handshake may come byte by byte")]
    public void Byte_by_byte()
    {
        var loop = new FakeLoop();
        var wire = new NbdWire(loop, ("vol", new MemoryDevice(loop, 4096)));
        wire.Sent();
        var bytes = Convert.FromHexString(
            "00000003" + NbdWire.Option(8, "") + NbdWire.Option(7, "00000003" + NbdWire.Text("vol") + "0000"));
        foreach (var one in bytes) wire.Socket.Feed(one);
        wire.Loop.RunUntil(() => !wire.Socket.IsPaused);
        Assert.EndsWith("0003e889045565a9" + "00000007" + "00000001" + "00000000", wire.Sent(), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Stopping drops the connection without a word")]
    public async Task Stop()
    {
        var wire = Greeted();
        wire.Sent();
        var stopped = wire.Server.Stop();
        wire.Loop.Run();
        await stopped;
        Assert.False(wire.Socket.IsOpen);
        Assert.Equal("", wire.Sent());
    }
}
