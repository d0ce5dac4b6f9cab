using System.Diagnostics;
using System.Net.Sockets;
using Cluster.Messages.Model;

namespace Cluster.Node.Cli.Chaos;

/// <summary>
/// The end of a run, when nothing is in flight: everything is read back through every node, and once more from every copy, which is
/// made the owner's for that. Each reading is checked by the history, and all must be equal.
/// </summary>
internal sealed class ChaosVerify(IChaosCluster cluster, ChaosControl control, ChaosSettings settings, FaultLog log, ChaosTally tally)
{
    private const int ChunkBytes = 256 << 10;
    private const int ReadersPerPass = 4;
    private const int RetryMs = 250;
    private static readonly TimeSpan MoveMax = TimeSpan.FromSeconds(60);

    /// <summary>Readings of whole volumes that were made.</summary>
    public int Readings { get; private set; }

    /// <summary>Blocks that two readings showed differently.</summary>
    public long BlocksThatDiffer { get; private set; }

    public async Task RunAsync(IEnumerable<ChaosVolume> volumes, CancellationToken cancellation)
    {
        log.Open(FaultLog.End);
        foreach (var volume in volumes) await CheckAsync(volume, cancellation);
    }

    private async Task CheckAsync(ChaosVolume volume, CancellationToken cancellation)
    {
        var (whole, seen) = await control.WaitForAsync(volume.Name, ChaosControl.IsWhole, settings.HealWithin, cancellation);
        if (!whole) tally.Fail($"{volume.Name} is not whole {settings.HealWithin.TotalSeconds:0} s after the last fault: "
            + ChaosControl.Text(seen));
        byte[]? first = null;
        foreach (var node in cluster.Nodes)
        {
            first = await CompareAsync(volume, node, first, $"through {node.Name}", cancellation);
        }
        foreach (var replica in seen?.Replicas.Where(replica => replica.Node != seen.Owner) ?? [])
        {
            if (!await MakeOwnerAsync(volume, replica.Node, cancellation)) continue;
            var front = cluster.Nodes.First(node => node.Name != replica.Node);
            first = await CompareAsync(volume, front, first, $"from the copy on {replica.Node}", cancellation);
        }
    }

    private async Task<bool> MakeOwnerAsync(ChaosVolume volume, string node, CancellationToken cancellation)
    {
        string? refusal;
        var waited = Stopwatch.StartNew();
        // The copy just read from may still be taking over, or another node be catching up: asked for again.
        while ((refusal = await control.MoveAsync(volume.Name, node, cancellation)) is not null && waited.Elapsed < MoveMax)
        {
            await Task.Delay(RetryMs, cancellation);
        }
        if (refusal is null)
        {
            var (moved, last) = await control.WaitForAsync(volume.Name, now => now.Owner == node && now.State == "healthy", MoveMax,
                cancellation);
            if (moved) return true;
            refusal = $"after {MoveMax.TotalSeconds:0} s it is {ChaosControl.Text(last)}";
        }
        tally.Fail($"{volume.Name} could not be moved to {node}, to read its copy: {refusal}");
        return false;
    }

    /// <summary>Reads the whole area; answers the first reading, to compare the next ones with.</summary>
    private async Task<byte[]?> CompareAsync(
        ChaosVolume volume, ChaosNode node, byte[]? first, string how, CancellationToken cancellation)
    {
        var data = new byte[volume.AreaBytes];
        if (await ReadAllAsync(volume, node, data, how, cancellation) is { } problem)
        {
            tally.Fail($"{volume.Name} could not be read {how}: {problem}");
            return first;
        }
        Readings++;
        if (first is null) return data;
        long differ = 0;
        var where = -1L;
        for (var at = 0; at < data.Length; at += Limits.BlockBytes)
        {
            if (data.AsSpan(at, Limits.BlockBytes).SequenceEqual(first.AsSpan(at, Limits.BlockBytes))) continue;
            differ++;
            if (where < 0) where = at / Limits.BlockBytes;
        }
        BlocksThatDiffer += differ;
        if (differ > 0) tally.Fail($"{volume.Name} read {how} differs from its first reading in {differ} blocks, the first is {where}.");
        return first;
    }

    /// <summary>
    /// Null, or why it is not possible. A node that was taken out by the last fault may be about to start anew, or just do so: a connection that it
    /// refuses or ends is no answer.
    /// </summary>
    private async Task<string?> ReadAllAsync(ChaosVolume volume, ChaosNode node, byte[] data, string how, CancellationToken cancellation)
    {
        for (var waited = Stopwatch.StartNew(); ; await Task.Delay(RetryMs, cancellation))
        {
            try
            {
                using var connection = await NbdClient.ConnectAsync(new Uri($"{node.Nbd.ToString().TrimEnd('/')}/{volume.Name}"), cancellation);
                await Task.WhenAll(Enumerable.Range(0, ReadersPerPass).Select(reader => ReadAsync(volume, connection, data, reader, how,
                    cancellation)));
                return null;
            }
            catch (Exception failure) when (failure is IOException or SocketException)
            {
                if (failure is NbdErrorException || waited.Elapsed > settings.HealWithin) return failure.Message;
            }
        }
    }

    private async Task ReadAsync(
        ChaosVolume volume, NbdClient connection, byte[] data, int reader, string how, CancellationToken cancellation)
    {
        for (var at = reader * ChunkBytes; at < data.Length; at += ReadersPerPass * ChunkBytes)
        {
            var length = Math.Min(ChunkBytes, data.Length - at);
            var isFollowed = volume.History.TryBeginRead((ulong)at, length, out var read);
            try
            {
                await connection.ReadAsync((ulong)at, data.AsMemory(at, length), cancellation);
            }
            catch
            {
                if (isFollowed) volume.History.Drop(read!);
                throw;
            }
            if (!isFollowed || volume.History.Answer(read!, data.AsSpan(at, length), final: true) is not { } violation) continue;
            log.Present.OnWrongRead(violation.Kind);
            tally.Fail($"{violation.Kind} in {volume.Name}, read {how}: {violation.Text}");
        }
    }
}
