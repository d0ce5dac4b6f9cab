using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Cluster.Messages.Model;

namespace Cluster.Node.Chaos;

/// <summary>
/// What a cell looks like in the volume: the number of the write that wrote it, and bytes that follow from volume, cell and number, so
/// that one byte of another write, cell or volume is seen. Number 0 is zeroes. Layout, little-endian: number u32 | cell u32 | filler u64…
/// </summary>
public static class CellStamp
{
    /// <summary>Read where no write of this history can have been written.</summary>
    public const uint Foreign = uint.MaxValue;

    /// <summary>Cells are a multiple of this.</summary>
    public const int BytesMin = 16;

    /// <param name="cell">The bytes to fill.</param>
    /// <param name="salt">The volume's own number.</param>
    /// <param name="index">Number of the cell in its volume.</param>
    public static void Write(Span<byte> cell, ulong salt, ulong index, uint value)
    {
        if (value == 0)
        {
            cell.Clear();
            return;
        }
        var words = MemoryMarshal.Cast<byte, ulong>(cell);
        words[0] = value | (index << 32);
        var word = Mix(salt ^ Mix((index << 32) ^ value));
        for (var at = 1; at < words.Length; at++)
        {
            words[at] = word;
            // Every other write is compressible, so that both encodings are used.
            if ((value & 1) == 0) word = Mix(word + (ulong)at);
        }
    }

    /// <summary>The number of the write that this is, 0 for zeroes, or <see cref="Foreign"/>.</summary>
    public static uint Read(ReadOnlySpan<byte> cell, ulong salt, ulong index)
    {
        if (!cell.ContainsAnyExcept((byte)0)) return 0;
        var value = BinaryPrimitives.ReadUInt32LittleEndian(cell);
        if (value is 0 or Foreign) return Foreign;
        Span<byte> expected = stackalloc byte[cell.Length];
        Write(expected, salt, index, value);
        return cell.SequenceEqual(expected) ? value : Foreign;
    }

    /// <summary>Whether cells of this size fill a block.</summary>
    public static bool IsCellSize(int bytes) => bytes >= BytesMin && bytes <= Limits.BlockBytes && Limits.BlockBytes % bytes == 0;

    private static ulong Mix(ulong value)
    {
        value ^= value >> 33;
        value *= 0xff51afd7ed558ccd;
        value ^= value >> 33;
        value *= 0xc4ceb9fe1a85ec53;
        return value ^ (value >> 33);
    }
}
