using System.Net;
using System.Net.Sockets;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Journal;

public sealed class SeedAddressesSpecs
{
    private readonly StoppedClock _clock = new();
    private readonly List<string> _asked = [];
    private string[]? _answer = [];

    [Fact(DisplayName = "Addresses stand for themselves, a name for all of its addresses, each with the seed's port")]
    public async Task Names_are_expanded()
    {
        _answer = ["10.0.0.2", "10.0.0.1", "10.0.0.2"];
        Assert.Equal(["10.0.0.9:1", "10.0.0.1:2", "10.0.0.2:2", "[fd00::1]:3"], await GetAsync(Seeds("0.0.0.0", "10.0.0.9:1", "pods:2", "[fd00::1]:3")));
        Assert.Equal(["pods"], _asked);
    }

    [Fact(DisplayName = "A name is asked for again after a second and not before, and its new addresses count")]
    public async Task Names_are_asked_again()
    {
        var seeds = Seeds("0.0.0.0", "pods:2");
        _answer = ["10.0.0.1"];
        Assert.Equal(["10.0.0.1:2"], await GetAsync(seeds));
        _answer = ["10.0.0.1", "10.0.0.2"];
        _clock.Passed += SeedAddresses.LookUpEvery - TimeSpan.FromMilliseconds(1);
        Assert.Equal(["10.0.0.1:2"], await GetAsync(seeds));
        _clock.Passed += TimeSpan.FromMilliseconds(1);
        Assert.Equal(["10.0.0.1:2", "10.0.0.2:2"], await GetAsync(seeds));
        Assert.Equal(2, _asked.Count);
    }

    [Fact(DisplayName = "A name without an address is one silent seed; one that had some keeps them while nobody answers")]
    public async Task Names_that_fail()
    {
        var seeds = Seeds("0.0.0.0", "pods:2");
        _answer = null;
        Assert.Equal(["pods:2"], await GetAsync(seeds));
        _answer = ["10.0.0.1"];
        _clock.Passed += SeedAddresses.LookUpEvery;
        Assert.Equal(["10.0.0.1:2"], await GetAsync(seeds));
        _answer = null;
        _clock.Passed += SeedAddresses.LookUpEvery;
        Assert.Equal(["10.0.0.1:2"], await GetAsync(seeds));
    }

    [Theory(DisplayName = "Of both families only the one that the node listens on counts, so that no node is two seeds")]
    [InlineData("0.0.0.0", "127.0.0.1:2")]
    [InlineData("localhost", "127.0.0.1:2")]
    [InlineData("::", "[::1]:2")]
    public async Task One_family(string listens, string expected)
    {
        _answer = ["::1", "127.0.0.1"];
        Assert.Equal([expected], await GetAsync(Seeds(listens, "pods:2")));
        _answer = ["::2"];
        Assert.Equal(["[::2]:2"], await GetAsync(Seeds(listens, "pods:2")));
    }

    private static async Task<string[]> GetAsync(SeedAddresses seeds) => [.. (await seeds.GetAsync(CancellationToken.None)).Select(address => address.ToString())];

    private SeedAddresses Seeds(string listens, params string[] seeds) => new(
        [.. seeds.Select(seed => JournalAddress.TryParse(seed, out var address) ? address : throw new ArgumentException(seed))], listens, LookUp, _clock, NullLogger.Instance);

    private Task<IPAddress[]> LookUp(string name, CancellationToken cancellation)
    {
        _asked.Add(name);
        return _answer is null ? Task.FromException<IPAddress[]>(new SocketException((int)SocketError.HostNotFound)) : Task.FromResult(_answer.Select(IPAddress.Parse).ToArray());
    }

    private sealed class StoppedClock : TimeProvider
    {
        public TimeSpan Passed { get; set; } = TimeSpan.FromHours(1);

        public override long TimestampFrequency => TimeSpan.TicksPerSecond;

        public override long GetTimestamp() => Passed.Ticks;
    }
}
