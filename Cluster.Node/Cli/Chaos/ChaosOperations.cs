using Cluster.Messages.Model;
using Cluster.Node.Chaos;

namespace Cluster.Node.Cli.Chaos;

/// <summary>A request that was begun in the history: it is sent once, and then completed or lost.</summary>
internal sealed class ChaosRequest(VolumeHistory history, NbdRequest kind, VolumeOperation? operation, Memory<byte> data, bool onMedia)
{
    public bool IsFlush => kind == NbdRequest.Flush;

    public bool IsWrite => kind is NbdRequest.Write or NbdRequest.Trim or NbdRequest.WriteZeroes;

    public Task SendAsync(NbdClient connection) => kind switch
    {
        NbdRequest.Read => connection.ReadAsync(operation!.OffsetBytes, data, CancellationToken.None),
        NbdRequest.Write => connection.WriteAsync(operation!.OffsetBytes, data, CancellationToken.None, onMedia),
        NbdRequest.Trim => connection.TrimAsync(operation!.OffsetBytes, (uint)operation.LengthBytes, CancellationToken.None),
        NbdRequest.WriteZeroes => connection.WriteZeroesAsync(operation!.OffsetBytes, (uint)operation.LengthBytes, CancellationToken.None),
        _ => connection.FlushAsync(CancellationToken.None),
    };

    /// <summary>It was answered. Answers what its data shows to be wrong.</summary>
    public Violation? Complete()
    {
        if (operation is null) return null;
        if (!IsWrite) return history.Answer(operation, data.Span);
        history.Acknowledge(operation);
        return null;
    }

    /// <summary>It will not be answered.</summary>
    public void Lose()
    {
        if (operation is null) return;
        if (IsWrite) history.Lose(operation);
        else history.Drop(operation);
    }
}

/// <summary>
/// Draws requests for one worker: reads, writes, trims, zeroes and flushes, of parts of blocks to many blocks, at any cell. Nearly half
/// of them meet in a few blocks that all workers of the volume use for a while. Not thread-safe; one request at a time.
/// </summary>
internal sealed class ChaosOperations(ChaosVolume volume, Random random)
{
    private const int BlocksMax = 96;
    private const int HotBlocks = 12;
    private const int HotShiftMs = 20_000;
    private const int Attempts = 8;

    private readonly byte[] _data = new byte[BlocksMax * Limits.BlockBytes];

    private VolumeHistory History => volume.History;

    /// <summary>Null when no place was found that has room for one more.</summary>
    public ChaosRequest? Next()
    {
        for (var attempt = 0; attempt < Attempts; attempt++)
        {
            var draw = random.Next(100);
            if (draw < 3) return new ChaosRequest(History, NbdRequest.Flush, null, default, onMedia: false);
            var (offset, length) = Place();
            var request = draw < 45 ? Read(offset, length) : draw < 90 ? Write(offset, length) : Zero(offset, length, trim: draw < 95);
            if (request is not null) return request;
        }
        return null;
    }

    private ChaosRequest? Read(ulong offset, int length) => History.TryBeginRead(offset, length, out var read)
        ? new ChaosRequest(History, NbdRequest.Read, read, _data.AsMemory(0, length), onMedia: false) : null;

    private ChaosRequest? Write(ulong offset, int length)
    {
        if (!History.TryBeginWrite(offset, length, zeroes: false, out var write)) return null;
        History.Fill(write, _data.AsSpan(0, length));
        return new ChaosRequest(History, NbdRequest.Write, write, _data.AsMemory(0, length), onMedia: random.Next(20) == 0);
    }

    private ChaosRequest? Zero(ulong offset, int length, bool trim) => History.TryBeginWrite(offset, length, zeroes: true, out var write)
        ? new ChaosRequest(History, trim ? NbdRequest.Trim : NbdRequest.WriteZeroes, write, default, onMedia: false) : null;

    private (ulong Offset, int Length) Place()
    {
        var isHot = random.Next(100) < 45;
        var draw = random.Next(100);
        // One block, a part of one or two, several with ragged ends, and now and then many.
        var lengthBytes = draw < 45 ? Limits.BlockBytes
            : draw < 75 ? Cells(2 * Limits.BlockBytes)
            : draw < (isHot ? 100 : 97) ? Cells(8 * Limits.BlockBytes)
            : Cells(BlocksMax * Limits.BlockBytes);
        var blocks = volume.AreaBytes / Limits.BlockBytes;
        var block = isHot ? HotBlock(blocks) : (ulong)random.NextInt64((long)blocks);
        var offset = block * Limits.BlockBytes;
        if (draw >= 45) offset += (ulong)random.Next(Limits.BlockBytes / volume.CellBytes) * (ulong)volume.CellBytes;
        return (Math.Min(offset, volume.AreaBytes - (ulong)lengthBytes), lengthBytes);
    }

    private int Cells(int bytesMax) => (1 + random.Next(bytesMax / volume.CellBytes)) * volume.CellBytes;

    /// <summary>The blocks that are hot move on, so that no block collects lost writes for ever.</summary>
    private ulong HotBlock(ulong blocks)
    {
        var shift = (ulong)(Environment.TickCount64 / HotShiftMs);
        return ((shift * 7919) + (ulong)random.Next(HotBlocks)) % blocks;
    }
}
