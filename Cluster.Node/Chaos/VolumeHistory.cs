using System.Diagnostics.CodeAnalysis;
using Cluster.Messages.Model;

namespace Cluster.Node.Chaos;

/// <summary>A read or a write of a volume that was asked: its blocks' parts, in order.</summary>
public sealed class VolumeOperation
{
    internal VolumeOperation(ulong offsetBytes, int lengthBytes, uint value, bool isWrite, RegisterOperation[] parts) =>
        (OffsetBytes, LengthBytes, Value, IsWrite, Parts) = (offsetBytes, lengthBytes, value, isWrite, parts);

    public ulong OffsetBytes { get; }

    public int LengthBytes { get; }

    /// <summary>What a write writes: its number, or 0 for zeroes.</summary>
    public uint Value { get; }

    public bool IsWrite { get; }

    internal RegisterOperation[] Parts { get; }
}

/// <summary>
/// What clients asked of one volume and were answered, checked as the answers come: every 4 KiB block is a linearizable register
/// (<see cref="BlockHistory"/>). An operation over several blocks is one operation on each, as the promise is about blocks. Made for
/// hours: memory is bounded by the area's size, four bytes a cell, and by what is in flight or uncertain.
///
/// Thread-safe. Begin before the request is sent and End after the answer has come: the order of these calls is what "before" means.
/// </summary>
public sealed class VolumeHistory
{
    private const int ViolationsKept = 100;

    private readonly Lock _lock = new();
    private readonly uint[] _settled;
    private readonly Dictionary<ulong, BlockHistory> _open = [];
    private readonly HashSet<ulong> _broken = [];
    private readonly List<Violation> _violations = [];
    private readonly long[] _counts = new long[Enum.GetValues<ViolationKind>().Length];
    private readonly ulong _salt;
    private uint _lastValue;

    /// <param name="areaBytes">Bytes at the volume's start that belong to this history: whole blocks.</param>
    /// <param name="cellBytes">Unit of offsets and lengths; see <see cref="CellStamp.IsCellSize"/>.</param>
    /// <param name="salt">The volume's own number, so that another volume's data is not taken for its.</param>
    public VolumeHistory(ulong areaBytes, int cellBytes, ulong salt)
    {
        Invariant.That(CellStamp.IsCellSize(cellBytes), "cells of this size do not fill a block");
        Invariant.That(areaBytes > 0 && areaBytes % Limits.BlockBytes == 0, "a history's area is not whole blocks");
        (AreaBytes, CellBytes, _salt) = (areaBytes, cellBytes, salt);
        _settled = new uint[areaBytes / (ulong)cellBytes];
    }

    public ulong AreaBytes { get; }

    public int CellBytes { get; }

    /// <summary>Writes, trims and zeroings that were acknowledged.</summary>
    public long WritesAcknowledged { get; private set; }

    /// <summary>Those that were never answered.</summary>
    public long WritesUnknown { get; private set; }

    public long ReadsChecked { get; private set; }

    /// <summary>Blocks that are no longer followed because too much was uncertain at one time; 0 in any ordinary run.</summary>
    public int BlocksGivenUp { get; private set; }

    /// <summary>The first ones, oldest first.</summary>
    public IReadOnlyList<Violation> Violations
    {
        get
        {
            lock (_lock) return [.. _violations];
        }
    }

    private int CellsPerBlock => Limits.BlockBytes / CellBytes;

    /// <summary>Blocks of which this was seen: each counts once while the run goes on, and once more if it is so at the end.</summary>
    public long Count(ViolationKind kind)
    {
        lock (_lock) return _counts[(int)kind];
    }

    /// <summary>
    /// A write of `lengthBytes`, both multiples of the cell, or of zeroes. False when one of its blocks has too much in flight or
    /// uncertain: take another place.
    /// </summary>
    public bool TryBeginWrite(ulong offsetBytes, int lengthBytes, bool zeroes, [NotNullWhen(true)] out VolumeOperation? write)
    {
        lock (_lock)
        {
            write = null;
            if (!MayBegin(offsetBytes, lengthBytes, isWrite: true)) return false;
            var value = zeroes ? 0 : ++_lastValue;
            Invariant.That(value < CellStamp.Foreign, "a history has no number left for a write");
            write = Begin(offsetBytes, lengthBytes, value, isWrite: true);
            return true;
        }
    }

    /// <summary>As <see cref="TryBeginWrite"/>.</summary>
    public bool TryBeginRead(ulong offsetBytes, int lengthBytes, [NotNullWhen(true)] out VolumeOperation? read)
    {
        lock (_lock)
        {
            read = MayBegin(offsetBytes, lengthBytes, isWrite: false) ? Begin(offsetBytes, lengthBytes, 0, isWrite: false) : null;
            return read is not null;
        }
    }

    /// <summary>The bytes that this write must carry.</summary>
    public void Fill(VolumeOperation write, Span<byte> data)
    {
        for (var at = 0; at < write.LengthBytes; at += CellBytes)
        {
            CellStamp.Write(data.Slice(at, CellBytes), _salt, (write.OffsetBytes + (ulong)at) / (ulong)CellBytes, write.Value);
        }
    }

    /// <summary>The write was answered.</summary>
    public void Acknowledge(VolumeOperation write) => EndWrite(write, acknowledged: true);

    /// <summary>Nobody knows whether the write has happened, or whether it will: time-out, cut connection, error.</summary>
    public void Lose(VolumeOperation write) => EndWrite(write, acknowledged: false);

    /// <summary>The read was answered with these bytes. Answers the first violation that this shows, or null.</summary>
    /// <param name="final">Nothing is in flight any more: what is missing now is lost.</param>
    public Violation? Answer(VolumeOperation read, ReadOnlySpan<byte> data, bool final = false)
    {
        Violation? first = null;
        lock (_lock)
        {
            ReadsChecked++;
            var from = 0;
            for (var index = 0; index < read.Parts.Length; index++)
            {
                var part = read.Parts[index];
                var block = (read.OffsetBytes / Limits.BlockBytes) + (ulong)index;
                var values = Values(data, from, block, part.Cells);
                from += part.Cells.Count * CellBytes;
                var violation = Record(_open[block].EndRead(part, values, final), final);
                first ??= violation;
                Settle(block);
            }
        }
        return first;
    }

    /// <summary>The read will not be answered.</summary>
    public void Drop(VolumeOperation read)
    {
        lock (_lock)
        {
            for (var index = 0; index < read.Parts.Length; index++)
            {
                var block = (read.OffsetBytes / Limits.BlockBytes) + (ulong)index;
                Record(_open[block].DropRead(read.Parts[index]), final: false);
                Settle(block);
            }
        }
    }

    private uint[] Values(ReadOnlySpan<byte> data, int from, ulong block, CellRange cells)
    {
        var values = new uint[cells.Count];
        var first = (block * (ulong)CellsPerBlock) + (ulong)cells.First;
        for (var cell = 0; cell < values.Length; cell++)
        {
            var value = CellStamp.Read(data.Slice(from + (cell * CellBytes), CellBytes), _salt, first + (ulong)cell);
            values[cell] = value <= _lastValue ? value : CellStamp.Foreign;
        }
        return values;
    }

    private void EndWrite(VolumeOperation write, bool acknowledged)
    {
        lock (_lock)
        {
            if (acknowledged) WritesAcknowledged++;
            else WritesUnknown++;
            for (var index = 0; index < write.Parts.Length; index++)
            {
                var block = (write.OffsetBytes / Limits.BlockBytes) + (ulong)index;
                Record(_open[block].EndWrite(write.Parts[index], acknowledged), final: false);
                Settle(block);
            }
        }
    }

    private bool MayBegin(ulong offsetBytes, int lengthBytes, bool isWrite)
    {
        Invariant.That(lengthBytes > 0 && offsetBytes % (ulong)CellBytes == 0 && lengthBytes % CellBytes == 0
            && offsetBytes + (ulong)lengthBytes <= AreaBytes, "an operation is not whole cells of its history's area");
        var end = offsetBytes + (ulong)lengthBytes;
        for (var block = offsetBytes / Limits.BlockBytes; block * Limits.BlockBytes < end; block++)
        {
            if (_open.TryGetValue(block, out var history) && !history.MayBegin(isWrite)) return false;
        }
        return true;
    }

    private VolumeOperation Begin(ulong offsetBytes, int lengthBytes, uint value, bool isWrite)
    {
        var end = offsetBytes + (ulong)lengthBytes;
        var firstBlock = offsetBytes / Limits.BlockBytes;
        var parts = new RegisterOperation[((end - 1) / Limits.BlockBytes) - firstBlock + 1];
        for (var index = 0; index < parts.Length; index++)
        {
            var start = (firstBlock + (ulong)index) * Limits.BlockBytes;
            var from = Math.Max(start, offsetBytes) - start;
            var to = Math.Min(start + Limits.BlockBytes, end) - start;
            var cells = new CellRange((int)from / CellBytes, (int)(to - from) / CellBytes);
            var history = Open(firstBlock + (ulong)index);
            parts[index] = isWrite ? history.BeginWrite(cells, value) : history.BeginRead(cells);
        }
        return new VolumeOperation(offsetBytes, lengthBytes, value, isWrite, parts);
    }

    private BlockHistory Open(ulong block)
    {
        if (_open.TryGetValue(block, out var history)) return history;
        history = new BlockHistory(block, _settled.AsSpan((int)block * CellsPerBlock, CellsPerBlock).ToArray());
        _open.Add(block, history);
        return history;
    }

    /// <summary>A block that nothing is uncertain about costs no more than its cells.</summary>
    private void Settle(ulong block)
    {
        var history = _open[block];
        if (history.TakeGivenUp()) BlocksGivenUp++;
        if (history.Settled is not { } cells) return;
        cells.CopyTo(_settled, (int)block * CellsPerBlock);
        _open.Remove(block);
    }

    private Violation? Record(Violation? violation, bool final)
    {
        if (violation is null) return null;
        // While the run goes on a block counts once: what follows from one fault is one fault.
        if (!_broken.Add(violation.Block) && !final) return violation;
        _counts[(int)violation.Kind]++;
        if (_violations.Count < ViolationsKept) _violations.Add(violation);
        return violation;
    }
}
