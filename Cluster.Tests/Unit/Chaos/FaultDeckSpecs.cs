using Cluster.Node.Cli.Chaos;

namespace Cluster.Tests.Unit.Chaos;

/// <summary>Which fault comes next, and what is told of a node's memory.</summary>
public sealed class FaultDeckSpecs
{
    private static readonly ChaosFault[] Faults = [.. Enumerable.Range(0, 6).Select<int, ChaosFault>(number => (_, _) =>
        Task.FromResult<ChaosStrike?>(new ChaosStrike($"{number}", "", [], _ => Task.CompletedTask)))];

    [Theory(DisplayName = "Every fault comes once before one comes again, in an order that the seed decides")]
    [InlineData(1)]
    [InlineData(2)]
    public void Rounds(int seed)
    {
        var (deck, again) = (new FaultDeck(Faults, new Random(seed)), new FaultDeck(Faults, new Random(seed)));
        for (var round = 0; round < 5; round++)
        {
            Assert.Equal(round > 0, deck.IsDealt);
            var dealt = Deal(deck);
            Assert.Equal(Faults.ToHashSet(), dealt.ToHashSet());
            Assert.Equal(dealt, Deal(again));
        }
    }

    [Fact(DisplayName = "A fault that can't strike now comes again, and is left out for the round when it never can")]
    public void Refusals()
    {
        var deck = new FaultDeck(Faults, new Random(1));
        var first = deck.Present;
        for (var refusal = 0; refusal < 4; refusal++)
        {
            deck.Refuse();
            Assert.Same(first, deck.Present);
        }
        deck.Refuse();
        Assert.NotSame(first, deck.Present);
    }

    [Fact(DisplayName = "Memory is told as the mean of each third of the run, with the most and the last")]
    public void Memory()
    {
        var meter = new MemoryMeter();
        foreach (var (bytes, done) in ((long, double)[])[(100, 0), (200, 0.3), (900, 0.4), (300, 0.7), (500, 1), (400, 1.5)]) meter.Add(bytes, done);
        Assert.Equal([150, 900, 400], Enumerable.Range(0, 3).Select(meter.MeanBytes));
        Assert.Equal((900, 400), (meter.MostBytes, meter.LastBytes));
        Assert.Equal(0, new MemoryMeter().MeanBytes(2));
    }

    private static List<ChaosFault> Deal(FaultDeck deck)
    {
        var dealt = new List<ChaosFault>();
        for (var count = 0; count < Faults.Length; count++, deck.Advance()) dealt.Add(deck.Present);
        return dealt;
    }
}
