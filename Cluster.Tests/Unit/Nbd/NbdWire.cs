using System.Buffers.Binary;
using System.Text;
using Cluster.Csi.Nbd;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Nbd;

/// <summary>A client that writes the protocol out by hand, from the specification and not from the server's constants.</summary>
internal sealed class NbdWire
{
    public const uint Ack = 1;
    public const string Greeting = "4e42444d41474943" + "49484156454f5054" + "0003";

    public NbdWire(params (string Name, MemoryDevice Device)[] exports)
        : this(new FakeLoop(), exports)
    {
    }

    public NbdWire(FakeLoop loop, params (string Name, MemoryDevice Device)[] exports)
        : this(new NbdServer(new NbdOptions(), loop, new FakeExports(exports), NullLoggerFactory.Instance), loop)
    {
    }

    /// <summary>One connection more of that server.</summary>
    public NbdWire(NbdServer server, FakeLoop loop)
    {
        (Server, Loop) = (server, loop);
        FakeSocket? socket = null;
        Server.Attach(events => socket = new FakeSocket(loop, events));
        Socket = socket!;
    }

    public FakeLoop Loop { get; }

    public NbdServer Server { get; }

    public FakeSocket Socket { get; }

    public static MemoryDevice Device(FakeLoop loop, ulong sizeBytes = 1 << 20) => new(loop, sizeBytes);

    /// <summary>A connection past the handshake.</summary>
    public static NbdWire Connected(MemoryDevice device, bool structured, bool contexts = false)
    {
        return Connected(new NbdWire((FakeLoop)device.Loop, ("vol", device)), structured, contexts);
    }

    /// <summary>The same with bounds of its own; further connections by <see cref="Another"/>.</summary>
    public static NbdWire Connected(NbdOptions options, params (string Name, MemoryDevice Device)[] exports)
    {
        var loop = (FakeLoop)exports[0].Device.Loop;
        return Connected(new NbdWire(new NbdServer(options, loop, new FakeExports(exports), NullLoggerFactory.Instance), loop), structured: false, contexts: false, exports[0].Name);
    }

    /// <summary>Another client of the same server.</summary>
    public NbdWire Another(string export, bool structured = false) => Connected(new NbdWire(Server, Loop), structured, contexts: false, export);

    private static NbdWire Connected(NbdWire wire, bool structured, bool contexts, string export = "vol")
    {
        wire.Sent();
        wire.Feed("00000003");
        if (structured) wire.Feed(Option(8, ""));
        if (contexts) wire.Feed(Option(10, Name(export) + "00000001" + "0000000f" + Text("base:allocation")));
        wire.Feed(Option(7, Name(export) + "0000"));
        wire.Loop.RunUntil(() => !wire.Socket.IsPaused);
        wire.Sent();
        return wire;
    }

    private static string Name(string export) => $"{export.Length:x8}{Text(export)}";

    public static string Text(string text) => Convert.ToHexString(Encoding.UTF8.GetBytes(text)).ToLowerInvariant();

    public static string Option(uint option, string data) => $"49484156454f5054{option:x8}{data.Length / 2:x8}{data}";

    public static string Request(ushort type, ulong cookie, ulong offset, uint length, ushort flags = 0, string payload = "") =>
        $"25609513{flags:x4}{type:x4}{cookie:x16}{offset:x16}{length:x8}{payload}";

    public static string Simple(ulong cookie, uint error = 0) => $"67446698{error:x8}{cookie:x16}";

    public void Feed(string hex) => Socket.Feed(Convert.FromHexString(hex));

    /// <summary>Everything sent since the last call, once the server has nothing more to do.</summary>
    public string Sent()
    {
        Loop.Run();
        return Convert.ToHexString(Socket.Sent()).ToLowerInvariant();
    }

    /// <summary>Option replies: the type and the data of each.</summary>
    public List<(uint Type, byte[] Data)> Replies(uint option)
    {
        Loop.RunUntil(() => !Socket.IsPaused || !Socket.IsOpen);
        var bytes = Socket.Sent();
        var replies = new List<(uint, byte[])>();
        for (var at = 0; at < bytes.Length;)
        {
            Assert.Equal(0x3e889045565a9UL, BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(at)));
            Assert.Equal(option, BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at + 8)));
            var length = (int)BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at + 16));
            replies.Add((BinaryPrimitives.ReadUInt32BigEndian(bytes.AsSpan(at + 12)), bytes[(at + 20)..(at + 20 + length)]));
            at += 20 + length;
        }
        return replies;
    }
}
