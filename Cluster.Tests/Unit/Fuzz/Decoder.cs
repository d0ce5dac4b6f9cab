using System.Buffers.Binary;
using System.IO.Hashing;

namespace Cluster.Tests.Unit.Fuzz;

/// <summary>Decodes; what it makes of the input is of no interest here. True: it took it.</summary>
internal delegate bool Decode(ReadOnlySpan<byte> input);

/// <summary>Makes the checksums of a mutated input right again, so that the checks behind them are reached.</summary>
internal delegate void Reseal(Span<byte> input);

/// <summary>One decoder of what comes from a disk or a wire.</summary>
/// <param name="Type">Where it is declared, with <paramref name="Method"/>: so it is found in the list.</param>
/// <param name="Samples">What it takes.</param>
internal sealed record Decoder(Type Type, string Method, byte[][] Samples, Decode Decode)
{
    /// <summary>How it refuses, if it does not by its answer.</summary>
    public Type? Refusal { get; init; }

    public Reseal? Reseal { get; init; }

    /// <summary>Its caller has made sure of the length.</summary>
    public bool IsOfFixedLength { get; init; }

    /// <summary>
    /// Bytes that it may allocate at most, whatever the input: a constant, and a multiple of the input's length. Texts become UTF-16, and small records objects; nothing is believed of a count that the input has no room for.
    /// </summary>
    public long AllocatedBytesMax(int inputBytes) => AllocatedBytesBase + BuiltBytesMax + ((long)AllocatedPerByte * inputBytes);

    /// <summary>What it builds once for each type that it meets in the process, whoever meets it first.</summary>
    public long BuiltBytesMax { get; init; }

    /// <summary>An exception with its message, or a few empty collections.</summary>
    public const int AllocatedBytesBase = 16 * 1024;

    public const int AllocatedPerByte = 32;

    public string Name => $"{Type.Name}.{Method}";

    /// <summary>A hash of all before it, as the last eight bytes.</summary>
    public static void SealEnd(Span<byte> input)
    {
        if (input.Length >= 8) BinaryPrimitives.WriteUInt64LittleEndian(input[^8..], XxHash3.HashToUInt64(input[..^8]));
    }

    /// <summary>A hash of all before that place, there.</summary>
    public static Reseal SealAt(int at, long seed = 0) => input =>
    {
        if (input.Length >= at + 8) BinaryPrimitives.WriteUInt64LittleEndian(input[at..], XxHash3.HashToUInt64(input[..at], seed));
    };
}
