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
            Assert.Equal(round, deck.Rounds);
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
        for (var refusal = 0; refusal < FaultDeck.RefusalsMax - 1; refusal++)
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
        foreach (var bytes in (long[])[100, 200, 900, 300, 500, 400]) meter.Add(bytes);
        Assert.Equal([150, 600, 450], Enumerable.Range(0, 3).Select(meter.MeanBytes));
        Assert.Equal((900, 400), (meter.MostBytes, meter.LastBytes));
        Assert.Equal(0, new MemoryMeter().MeanBytes(2));
    }

    [Theory(DisplayName = "However long a run is, its thirds are thirds")]
    [InlineData(300)]
    [InlineData(192 * 3)]
    [InlineData(100_000)]
    public void Long_memory(int looks)
    {
        var meter = new MemoryMeter();
        for (var look = 0; look < looks; look++) meter.Add(look);
        for (var third = 0; third < MemoryMeter.Thirds; third++)
        {
            var middle = (third + 0.5) * looks / MemoryMeter.Thirds;
            Assert.InRange(meter.MeanBytes(third), middle - (looks * 0.01), middle + (looks * 0.01));
        }
    }

    private static List<ChaosFault> Deal(FaultDeck deck)
    {
        var dealt = new List<ChaosFault>();
        for (var count = 0; count < Faults.Length; count++, deck.Advance()) dealt.Add(deck.Present);
        return dealt;
    }
}
