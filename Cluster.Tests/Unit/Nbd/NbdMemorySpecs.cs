using Cluster.Csi.Nbd;
using Cluster.Messages.Model;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Nbd;

/// <summary>The bounds on what commands have in memory: what is beyond waits, piece by piece, and nobody waits for ever.</summary>
public sealed class NbdMemorySpecs
{
    private const ushort Read = 0, Write = 1;
    private const int Chunk = NbdLimits.ChunkBytes, Spare = NbdLimits.SpareChunkBytes;
    private readonly FakeLoop _loop = new();

    [Fact(DisplayName = "A large write is taken in by pieces, each when those before have left the memory, and is answered once")]
    public void A_write_by_pieces()
    {
        var device = Device();
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: Chunk), ("vol", device));
        device.Held = [];
        var pieces = 0;
        wire.Feed(NbdWire.Request(Write, 1, 0, 4 * Chunk, payload: string.Concat(Enumerable.Repeat("5a", 4 * Chunk))));
        for (; device.Held.Count > 0; pieces++)
        {
            Assert.Single(device.Held);
            Assert.InRange(wire.Server.CountedBytes, 1, Chunk);
            Assert.Equal("", wire.Sent());
            Go(wire, device);
        }
        Assert.InRange(pieces, 4, 4 * Chunk / Spare);
        Assert.Equal(NbdWire.Simple(1), wire.Sent());
        Assert.Equal((0, 4 * Chunk / Limits.BlockBytes), (wire.Server.CountedBytes, device.AllocatedBlocks));
        Assert.True(wire.Server.MemoryWaits > 0);
    }

    [Fact(DisplayName = "A large read of structured replies asks for the next piece only when there is memory, and commands behind it wait")]
    public void A_read_by_pieces()
    {
        var (device, other) = (Device(), Device());
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: Chunk), ("oth", other), ("vol", device)).Another("vol", structured: true);
        device.Held = [];
        wire.Feed(NbdWire.Request(Read, 1, 0, 4 * Chunk) + NbdWire.Request(Read, 2, 0, 512));
        var most = 0L;
        for (var at = 0UL; device.Held.Count > 0;)
        {
            most = Math.Max(most, wire.Server.CountedBytes);
            if (device.Held is [{ LengthBytes: > 512 } piece])
            {
                Assert.Equal(at, piece.OffsetBytes);
                at += piece.LengthBytes;
            }
            Go(wire, device);
        }
        Assert.InRange(most, 1, Chunk + Spare);
        Assert.Equal(0, wire.Server.CountedBytes);
        Assert.False(wire.Socket.IsPaused);
        Assert.Contains("0000000000000002", wire.Sent(), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A client whose volume has no owner keeps its memory, and others go on with small pieces")]
    public void One_that_hangs()
    {
        var (hangs, works) = (Device(), Device());
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: Chunk), ("hng", hangs), ("wrk", works));
        hangs.Held = [];
        wire.Feed(NbdWire.Request(Read, 1, 0, Chunk));
        Assert.Equal(Chunk, wire.Server.CountedBytes);
        var other = wire.Another("wrk");
        works.Held = [];
        other.Feed(NbdWire.Request(Write, 7, 0, Chunk, payload: string.Concat(Enumerable.Repeat("5a", Chunk))));
        for (; works.Held.Count > 0; Go(other, works)) Assert.Equal((ulong)Spare, Assert.Single(works.Held).LengthBytes);
        Assert.Equal(NbdWire.Simple(7), other.Sent());
        Assert.Equal(Chunk, wire.Server.CountedBytes);
    }

    [Fact(DisplayName = "Of reads that are answered in one piece, and for which there is no memory, one at a time takes what it needs")]
    public void One_gathers()
    {
        var (first, second) = (Device(), Device());
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: Spare), ("one", first), ("two", second));
        var other = wire.Another("two");
        (first.Held, second.Held) = ([], []);
        wire.Feed(NbdWire.Request(Read, 1, 0, Chunk + (3 * Spare)));
        other.Feed(NbdWire.Request(Read, 2, 0, 4 * Spare));
        for (var step = 0; step < 3; step++)
        {
            Go(wire, first);
            Go(other, second);
        }
        // The one that has the turn is at its last piece, the other one got no further than its first.
        Assert.Equal((1, 0), (first.Held.Count, second.Held.Count));
        Go(wire, first);
        Assert.StartsWith(NbdWire.Simple(1), wire.Sent(), StringComparison.Ordinal);
        for (_loop.Advance(NbdLimits.StarvedLookMs); second.Held.Count > 0; _loop.Advance(NbdLimits.StarvedLookMs)) Go(other, second);
        Assert.StartsWith(NbdWire.Simple(2), other.Sent(), StringComparison.Ordinal);
        Assert.Equal(0, wire.Server.CountedBytes);
    }

    [Fact(DisplayName = "A read whose next piece does not come within a second loses the turn to gather: another one is answered, and it too when its piece comes")]
    public void The_turn_passes()
    {
        var (hangs, works) = (Device(), Device());
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: Spare), ("hng", hangs), ("wrk", works));
        var other = wire.Another("wrk");
        (hangs.Held, works.Held) = ([], []);
        wire.Feed(NbdWire.Request(Read, 1, 0, Chunk + (3 * Spare)));
        other.Feed(NbdWire.Request(Read, 2, 0, 4 * Spare));
        // The first has its second piece at the device, which does not come back.
        Go(wire, hangs);
        Assert.Single(hangs.Held);
        Go(other, works);
        _loop.Advance(NbdLimits.GatherTurnMs / 2);
        Assert.Empty(works.Held);
        for (_loop.Advance(NbdLimits.GatherTurnMs); works.Held.Count > 0; _loop.Advance(NbdLimits.StarvedLookMs)) Go(other, works);
        Assert.StartsWith(NbdWire.Simple(2), other.Sent(), StringComparison.Ordinal);
        for (; hangs.Held.Count > 0; _loop.Advance(NbdLimits.StarvedLookMs)) Go(wire, hangs);
        Assert.StartsWith(NbdWire.Simple(1), wire.Sent(), StringComparison.Ordinal);
        Assert.Equal(0, wire.Server.CountedBytes);
    }

    [Fact(DisplayName = "One client takes no more than its own bound, so that others have memory for whole pieces")]
    public void One_client()
    {
        var (hangs, works) = (Device(), Device());
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: 8 * Chunk) { ConnectionBytesMax = 2 * Chunk }, ("hng", hangs), ("wrk", works));
        var other = wire.Another("wrk");
        (hangs.Held, works.Held) = ([], []);
        for (ulong cookie = 1; cookie <= 16; cookie++) wire.Feed(NbdWire.Request(Read, cookie, 0, Chunk));
        Assert.Equal(2 * Chunk, wire.Server.CountedBytes);
        other.Feed(NbdWire.Request(Read, 1, 0, Chunk));
        Assert.Equal((ulong)Chunk, Assert.Single(works.Held).LengthBytes);
    }

    [Fact(DisplayName = "Without a limit a command that was taken is taken in whole, however much others have, and nothing is looked for by a timer")]
    public void No_limit()
    {
        var (hangs, works) = (Device(), Device());
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: Chunk) { HasLimit = false }, ("hng", hangs), ("wrk", works));
        var other = wire.Another("wrk");
        (hangs.Held, works.Held) = ([], []);
        wire.Feed(NbdWire.Request(Read, 1, 0, 4 * Chunk));
        other.Feed(NbdWire.Request(Read, 2, 0, 4 * Chunk) + NbdWire.Request(Read, 3, 0, Chunk));
        Assert.Equal((4, 4, 8 * Chunk), (hangs.Held.Count, works.Held.Count, wire.Server.CountedBytes));
        _loop.Advance(NbdLimits.GatherTurnMs);
        Assert.Equal(4, works.Held.Count);
        Go(other, works);
        Assert.Single(works.Held);
        Go(other, works);
        Go(wire, hangs);
        Assert.Equal(0, wire.Server.CountedBytes);
    }

    [Fact(DisplayName = "While the process has little memory a client has one small piece on its way, and goes on by itself when there is some again")]
    public void A_tight_process()
    {
        var (device, isTight) = (Device(), true);
        var wire = NbdWire.Connected(new NbdOptions { IsMemoryTight = () => isTight }, ("vol", device));
        device.Held = [];
        wire.Feed(NbdWire.Request(Read, 1, 0, 512) + NbdWire.Request(Read, 2, 0, 512));
        Assert.Single(device.Held);
        Assert.True(wire.Socket.IsPaused);
        isTight = false;
        _loop.Advance(NbdLimits.StarvedLookMs);
        Assert.Equal(2, device.Held.Count);
        Assert.False(wire.Socket.IsPaused);
    }

    [Fact(DisplayName = "R21: behind writes that fill the memory a trim and a flush are taken, and only then the next write waits")]
    public void What_needs_no_memory()
    {
        var device = Device();
        var wire = NbdWire.Connected(new NbdOptions(BytesMax: Chunk), ("vol", device));
        device.Held = [];
        wire.Feed(NbdWire.Request(Write, 1, 0, Chunk, payload: string.Concat(Enumerable.Repeat("5a", Chunk))));
        wire.Feed(NbdWire.Request(4, 2, 0, 4096)[..20]);
        wire.Feed(NbdWire.Request(4, 2, 0, 4096)[20..] + NbdWire.Request(3, 3, 0, 0) + NbdWire.Request(Write, 4, 0, 512, payload: string.Concat(Enumerable.Repeat("00", 512))));
        Assert.Equal([BlockOperation.Write, BlockOperation.Trim, BlockOperation.Flush], device.Held.Select(request => request.Operation));
        Assert.True(wire.Socket.IsPaused);
        Go(wire, device);
        Assert.Single(device.Held);
        Go(wire, device);
        Assert.Equal(NbdWire.Simple(1) + NbdWire.Simple(2) + NbdWire.Simple(3) + NbdWire.Simple(4), wire.Sent());
    }

    private MemoryDevice Device() => new(_loop, 16 << 20);

    private static void Go(NbdWire wire, MemoryDevice device)
    {
        var held = device.Held!.ToArray();
        device.Held!.Clear();
        foreach (var request in held) device.Finish(request);
        wire.Loop.Run();
        wire.Socket.Offer();
        wire.Loop.Run();
    }
}
