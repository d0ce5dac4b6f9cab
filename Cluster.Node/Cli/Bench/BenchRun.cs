using System.Globalization;
using System.Net.Sockets;
using System.Security.Cryptography;
using Cluster.Messages.Model;
using Cluster.Node.Api;

namespace Cluster.Node.Cli.Bench;

/// <summary>One bench from its volume to its report. The volume of its own is deleted however it ends.</summary>
internal sealed class BenchRun(ApiClient api, BenchSettings settings, BenchProgress progress, Action<string> say)
{
    private static readonly BenchJob Fill = new("fill", ReadPercent: 0, Sequential: true, Flushes: false, Depth: 4, BlockBytes: 1 << 20);

    public async Task<BenchReport> RunAsync(CancellationToken cancellation)
    {
        using var cluster = new BenchCluster(api);
        var node = await cluster.FindAsync(settings.Node, cancellation);
        if (settings.Volume is { } named)
        {
            var attached = await AttachedToAsync(cluster, named, cancellation);
            return await RunOnAsync(cluster, attached ?? node, named, cancellation);
        }
        var own = new VolumeName(VolumeSpec.DefaultNamespace, $"bench-{RandomNumberGenerator.GetHexString(8, lowercase: true)}");
        try
        {
            await cluster.CreateAsync(own, settings.SizeBytes, settings.Replicas, cancellation);
            return await RunOnAsync(cluster, node, own, cancellation);
        }
        finally
        {
            if (await cluster.DeleteAsync(own) is { } left) say($"The volume {own} of the bench could not be deleted: {left}");
        }
    }

    /// <summary>The node to which the volume is attached: no other one serves it. Null: each does.</summary>
    private async Task<NodeResource?> AttachedToAsync(BenchCluster cluster, VolumeName volume, CancellationToken cancellation)
    {
        if ((await cluster.VolumeAsync(volume, cancellation)).Attachment.Node is not { } attached) return null;
        if (settings.Node is { } asked && asked != attached)
            throw new BenchException($"The volume {volume} is attached to node {attached}, and node {asked} does not serve it: use --node {attached}, or detach it with `myrmidon volume detach {volume}`.",
                ExitCode.Conflict);
        return await cluster.FindAsync(attached, cancellation);
    }

    private async Task<BenchReport> RunOnAsync(BenchCluster cluster, NodeResource node, VolumeName volume, CancellationToken cancellation)
    {
        var state = await cluster.WholeAsync(volume, cancellation);
        var size = settings.Volume is null ? settings.SizeBytes : Math.Min(settings.SizeBytes, state.SizeBytes);
        Check(volume, state, size);
        if (size < settings.SizeBytes) say($"The volume {volume} has {SizeText.Format(size)}, less than the {SizeText.Format(settings.SizeBytes)} of --size: the jobs work on all of it.");
        try
        {
            using var client = await NbdClient.ConnectAsync(new Uri($"{node.Nbd!.TrimEnd('/')}/{volume}"), cancellation);
            if (settings.Volume is null || settings.Jobs.Any(job => job.Writes)) await FillAsync(client, size, cancellation);
            var jobs = new List<BenchJobReport>();
            foreach (var job in settings.Jobs) jobs.Add(await MeasureAsync(cluster, client, job, size, node.Name, volume, cancellation));
            await client.DisconnectAsync(cancellation);
            return new BenchReport(volume.ToString(), size, node.Name, state.Owner!, state.ReplicaCount, jobs);
        }
        catch (Exception failure) when (failure is IOException or SocketException)
        {
            // Cancelling one request ends the connection, and the others fail by that.
            cancellation.ThrowIfCancellationRequested();
            throw new BenchException($"The volume {volume} failed at node {node.Name} ({node.Nbd}): {failure.Message}", ExitCode.Failure);
        }
    }

    /// <summary>What holds data is written only by somebody who says so.</summary>
    private void Check(VolumeName volume, VolumeResource state, ulong size)
    {
        var largest = settings.Jobs.Max(job => job.BlockBytes);
        if (size < (ulong)Math.Max(largest, Fill.BlockBytes))
            throw new BenchException($"{SizeText.Format(size)} of the volume {volume} are too little for a bench: use {SizeText.Format((ulong)Math.Max(largest, Fill.BlockBytes))} at least.", ExitCode.Usage);
        if (settings.Volume is null || settings.Overwrite || state.UsedBytes == 0 || settings.Jobs.FirstOrDefault(job => job.Writes) is not { } writes) return;
        var holds = state.UsedBytes is { } used ? $"holds {SizeText.Format(used)} of data" : "may hold data (its owner does not tell)";
        throw new BenchException(
            $"The volume {volume} {holds} and the job {writes.Name} would overwrite it: name another one, run only jobs that read, or say --overwrite.", ExitCode.Conflict);
    }

    private async Task FillAsync(NbdClient client, ulong size, CancellationToken cancellation)
    {
        var load = new BenchLoad(client, Fill, size);
        await progress.ShowAsync("fill", () => load.Operations, load.FillAsync(cancellation));
        await client.FlushAsync(cancellation);
    }

    /// <summary>Nothing is under way at either look at the metrics, so that what the node has counted is what the job has done.</summary>
    private async Task<BenchJobReport> MeasureAsync(
        BenchCluster cluster, NbdClient client, BenchJob job, ulong size, string frontEnd, VolumeName volume, CancellationToken cancellation)
    {
        if (settings.WarmUp > TimeSpan.Zero) await LoadAsync(client, job, size, settings.WarmUp, $"{job.Name}, warming up", cancellation);
        // It follows its client, so that it may be another one than when the bench began.
        var ownerBefore = await cluster.OwnerAsync(volume, cancellation);
        var before = await cluster.MetricsAsync(cancellation);
        var load = await LoadAsync(client, job, size, settings.Time, job.Name, cancellation);
        var after = await cluster.MetricsAsync(cancellation);
        var owner = await cluster.OwnerAsync(volume, cancellation);
        var nodes = cluster.Nodes.Select(node => NodeFigures.Between(node.Name, volume.ToString(), before[node.Name], after[node.Name])).ToList();
        var figures = new BenchFigures(load.Operations, load.Seconds, load.Latencies.MeanNs / 1e9, load.ClientCpuSeconds, Environment.ProcessorCount, load.Reads, load.Writes,
            load.Flushes, frontEnd, owner, nodes)
        {
            OwnerBefore = ownerBefore == owner ? null : ownerBefore,
        };
        var report = BenchJobReport.Of(job, load, figures);
        say(string.Create(CultureInfo.InvariantCulture, $"{job.Name}: {report.PerSecond:N0} IOPS, p99 {report.P99Us:N0} us; bottleneck {report.Bottleneck}: {report.Evidence}."));
        return report;
    }

    private async Task<BenchLoadResult> LoadAsync(NbdClient client, BenchJob job, ulong size, TimeSpan time, string what, CancellationToken cancellation)
    {
        var load = new BenchLoad(client, job, size);
        return await progress.ShowAsync(what, () => load.Operations, load.RunAsync(time, cancellation));
    }
}
