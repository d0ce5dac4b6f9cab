using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Nbd;

public class NbdFuzzSpecs
{
    private static readonly string Session = "00000003" + NbdWire.Option(3, "") + NbdWire.Option(8, "") +
        NbdWire.Option(10, "00000003" + NbdWire.Text("vol") + "00000001" + "0000000f" + NbdWire.Text("base:allocation")) +
        NbdWire.Option(7, "00000003" + NbdWire.Text("vol") + "0001" + "0003") +
        NbdWire.Request(1, 1, 100, 8, payload: "0102030405060708") + NbdWire.Request(0, 2, 0, 9000) + NbdWire.Request(7, 3, 0, 9000) +
        NbdWire.Request(6, 4, 0, 4096, flags: 3) + NbdWire.Request(4, 5, 10, 10) + NbdWire.Request(3, 6, 0, 0) +
        NbdWire.Request(5, 7, 0, 512) + NbdWire.Request(2, 8, 0, 0);

    [Fact(DisplayName = "A session with bytes flipped, cut or inserted breaks nothing and leaves nothing in flight")]
    public void Mutated_sessions()
    {
        var random = new SeededRandom(2026);
        var whole = Convert.FromHexString(Session);
        var ended = 0;
        for (var round = 0; round < 20_000; round++)
        {
            var loop = new FakeLoop();
            var device = new MemoryDevice(loop, 1 << 16);
            var wire = new NbdWire(loop, ("vol", device));
            Feed(wire, Mutate(random, whole), random);
            if (!wire.Socket.IsOpen) ended++;
            wire.Socket.Hangup();
            loop.RunUntil(() => wire.Server.Connections == 0);
            Assert.Equal(0, wire.Server.CountedBytes);
        }
        Assert.InRange(ended, 1000, 19_999);
    }

    private static byte[] Mutate(SeededRandom random, byte[] whole)
    {
        var bytes = whole.ToList();
        for (var count = 1 + random.Next(4); count > 0; count--)
        {
            var at = random.Next(bytes.Count);
            switch (random.Next(3))
            {
                case 0:
                    bytes[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 1:
                    bytes.RemoveRange(at, Math.Min(random.Next(32), bytes.Count - at));
                    break;
                default:
                    bytes.InsertRange(at, Enumerable.Range(0, random.Next(32)).Select(_ => (byte)random.Next(256)));
                    break;
            }
        }
        return [.. bytes];
    }

    private static void Feed(NbdWire wire, byte[] bytes, SeededRandom random)
    {
        for (var at = 0; at < bytes.Length && wire.Socket.IsOpen;)
        {
            var count = Math.Min(1 + random.Next(200), bytes.Length - at);
            wire.Socket.Feed(bytes[at..(at + count)]);
            at += count;
            if (!wire.Socket.IsPaused) continue;
            wire.Loop.RunUntil(() => !wire.Socket.IsPaused || !wire.Socket.IsOpen);
            wire.Socket.Offer();
        }
    }
}
