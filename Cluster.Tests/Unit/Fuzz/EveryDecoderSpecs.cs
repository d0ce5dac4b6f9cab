using System.Globalization;

namespace Cluster.Tests.Unit.Fuzz;

/// <summary>
/// Mutations of what a decoder takes, and noise: it takes them, or refuses in its own way; it reads nothing beyond its input, and allocates no more than a named bound. FUZZ_ROUNDS: so many inputs each.
/// </summary>
public sealed class EveryDecoderSpecs
{
    private const int RoundsDefault = 20_000;

    /// <summary>Of those that throw, which takes long.</summary>
    private const int RoundsOfThrowing = 4_000;

    public static TheoryData<string> Names => [.. Decoders.All.Select(decoder => decoder.Name)];

    [Theory(DisplayName = "Whatever it is given, a decoder refuses it in its own way or takes it, reads nothing beyond it and allocates little")]
    [MemberData(nameof(Names))]
    public void Survives(string name)
    {
        var decoder = Decoders.All.Single(each => each.Name == name);
        using var memory = new GuardedBytes(Mutator.LengthMax);
        foreach (var sample in decoder.Samples) Assert.True(Try(decoder, memory, sample), $"{name} refuses its own sample");
        var rounds = int.Parse(Environment.GetEnvironmentVariable("FUZZ_ROUNDS") ?? (decoder.Refusal is null ? $"{RoundsDefault}" : $"{RoundsOfThrowing}"), CultureInfo.InvariantCulture);
        var mutator = new Mutator(seed: 1);
        var refused = 0;
        for (var round = 0; round < rounds; round++)
        {
            if (!Try(decoder, memory, mutator.Next(decoder))) refused++;
        }
        // Fixed-length descriptors have few bits that can be wrong.
        Assert.True(refused > rounds / 50, $"{name} refused {refused} of {rounds}: the mutations do not bite");
    }

    private static bool Try(Decoder decoder, GuardedBytes memory, byte[] input)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        var isTaken = false;
        try
        {
            isTaken = decoder.Decode(memory.Put(input));
        }
        catch (Exception refusal) when (refusal.GetType() == decoder.Refusal)
        {
            // As it should.
        }
        catch (Exception other)
        {
            Assert.Fail($"{decoder.Name} threw {other.GetType().Name} ({other.Message}) at {Convert.ToHexString(input.AsSpan(0, Math.Min(input.Length, 600)))}, {input.Length} B\n{other.StackTrace}");
        }
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        if (allocated > decoder.AllocatedBytesMax(input.Length))
            Assert.Fail($"{decoder.Name} allocated {allocated} B for {input.Length} B: {Convert.ToHexString(input.AsSpan(0, Math.Min(input.Length, 600)))}");
        return isTaken;
    }
}
