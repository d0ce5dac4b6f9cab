using System.Buffers.Binary;

namespace Cluster.Tests.Unit.Fuzz;

/// <summary>Inputs made of samples, and of nothing. The same seed makes the same.</summary>
internal sealed class Mutator(int seed)
{
    public const int LengthMax = 300_000;

    /// <summary>What counts and lengths are made, since it is where decoders go wrong.</summary>
    private static readonly uint[] Extremes = [0, 1, 2, 7, 8, 64, 65, 255, 256, 2048, 4096, 65_535, 1 << 20, int.MaxValue, 0x8000_0000, uint.MaxValue - 7, uint.MaxValue];

    private readonly Random _random = new(seed);

    public byte[] Next(Decoder decoder)
    {
        var bytes = _random.Next(20) == 0 ? Noise(decoder) : Changed(decoder);
        if (decoder.Reseal is { } reseal && _random.Next(4) > 0) reseal(bytes);
        return bytes;
    }

    private byte[] Noise(Decoder decoder)
    {
        var length = decoder.Samples[_random.Next(decoder.Samples.Length)].Length;
        var noise = new byte[decoder.IsOfFixedLength ? length : _random.Next((2 * length) + 16)];
        _random.NextBytes(noise);
        return noise;
    }

    private byte[] Changed(Decoder decoder)
    {
        var bytes = (byte[])decoder.Samples[_random.Next(decoder.Samples.Length)].Clone();
        for (var changes = _random.Next(1, 5); changes > 0 && bytes.Length > 0; changes--) Change(bytes, decoder.Samples);
        if (decoder.IsOfFixedLength) return bytes;
        return _random.Next(8) switch
        {
            0 => bytes[.._random.Next(bytes.Length + 1)],
            1 => [.. bytes, .. Tail()],
            2 => Cut(bytes),
            _ => bytes,
        };
    }

    private void Change(byte[] bytes, byte[][] samples)
    {
        var at = _random.Next(bytes.Length);
        switch (_random.Next(6))
        {
            case 0:
                bytes[at] ^= (byte)(1 << _random.Next(8));
                break;
            case 1:
                bytes[at] = (byte)_random.Next(256);
                break;
            case 2 when bytes.Length - at >= 4:
                BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), Extremes[_random.Next(Extremes.Length)]);
                break;
            case 3 when bytes.Length - at >= 8:
                BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(at), unchecked((ulong)-_random.Next(0, 3)));
                break;
            case 4:
                // A piece of another sample, or of this one from elsewhere.
                var other = samples[_random.Next(samples.Length)];
                if (other.Length == 0) break;
                var from = _random.Next(other.Length);
                var length = Math.Min(_random.Next(1, 32), Math.Min(other.Length - from, bytes.Length - at));
                other.AsSpan(from, length).CopyTo(bytes.AsSpan(at));
                break;
            default:
                bytes.AsSpan(at, Math.Min(_random.Next(1, 9), bytes.Length - at)).Fill((byte)(_random.Next(2) * 255));
                break;
        }
    }

    private byte[] Tail()
    {
        var tail = new byte[_random.Next(1, 64)];
        _random.NextBytes(tail);
        return tail;
    }

    /// <summary>Without a piece in the middle.</summary>
    private byte[] Cut(byte[] bytes)
    {
        var at = _random.Next(bytes.Length + 1);
        var length = Math.Min(_random.Next(1, 17), bytes.Length - at);
        return [.. bytes[..at], .. bytes[(at + length)..]];
    }
}
