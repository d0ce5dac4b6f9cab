using System.Text.Json;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Bench;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>`myrmidon bench` on real nodes. No figure is held to a bound: the machine may be doing anything.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class BenchSpecs(LocalClusterFixture fixture) : IClassFixture<LocalClusterFixture>
{
    private const ulong MiB = 1UL << 20;

    [Fact(DisplayName = "Every job is told with latencies, CPU by stage and a bottleneck; the nodes counted the same I/Os; the bench's own volume is gone afterwards")]
    public async Task Own_volume()
    {
        var report = await BenchAsync("--size", "32MiB", "--time", "400ms", "--warm-up", "100ms", "--node", Cluster.Nodes[1].Name);
        Assert.Equal(BenchJob.All.Select(job => job.Name), report.Jobs.Select(job => job.Job));
        Assert.Equal(Cluster.Nodes[1].Name, report.FrontEnd);
        Assert.Equal(3, report.Copies);
        foreach (var job in report.Jobs) CheckJob(job);
        var write = report.Jobs[0];
        foreach (var stage in new[] { "front-end", "owner", "mesh", "replica", "disk", "runtime", "client" }) Assert.True(write.CpuByStage[stage] > 0, $"{stage}: {JsonSerializer.Serialize(write)}");
        Assert.Equal(Cluster.Nodes.Select(node => node.Name), write.Nodes.Select(node => node.Node));
        Assert.Contains(write.Nodes, node => node.WaitUs.ContainsKey("write") && node.WaitUs.ContainsKey("owner-write"));
        Assert.Contains(write.Nodes, node => node.WaitUs.ContainsKey("replica"));
        var fsync = report.Jobs.Single(job => job.Job == "fsync");
        Assert.Equal((fsync.Writes, fsync.Writes), (fsync.Flushes, fsync.Operations));
        Assert.Contains(fsync.Nodes, node => node.WaitUs.ContainsKey("sync") && node.Fdatasync > 0);
        Assert.Null(await LocalCluster.GetVolumeAsync(Cluster.Nodes[0], report.Volume));
    }

    private static void CheckJob(BenchJobReport job)
    {
        Assert.True(job.Operations > 0, job.Job);
        Assert.Equal(job.Operations, job.Reads + job.Writes);
        Assert.Equal((job.Reads, job.Writes, job.Flushes), (job.NodeReads, job.NodeWrites, job.NodeFlushes));
        Assert.True(job.P50Us > 0 && job.P50Us <= job.P99Us && job.P99Us <= job.P999Us && job.P999Us <= job.MaxUs, job.ToString());
        Assert.True(job.PerSecond > 0 && job.MegabytesPerSecond > 0 && job.CpuUs > 0);
        Assert.Contains(job.Bottleneck, new[] { "front-end", "owner", "mesh", "replica", "disk", "other", "client" });
        Assert.NotEmpty(job.Evidence);
        Assert.All(job.Nodes, node => Assert.InRange(node.LoopBusy, 0, 1));
    }

    [Fact(DisplayName = "A volume that holds data is not written, and stays as it is; it is read, and with --overwrite written")]
    public async Task Holds_data()
    {
        await Cluster.CreateVolumeAsync("kept", 16 * MiB);
        var data = new byte[MiB];
        new Random(3).NextBytes(data);
        using (var client = await NbdClient.ConnectAsync(new Uri($"{Cluster.Nodes[0].Nbd}/kept"), default))
        {
            await client.WriteAsync(0, data, default);
            await client.FlushAsync(default);
            await client.DisconnectAsync(default);
        }
        var (code, _, error) = await RunAsync("--volume", "kept", "--jobs", "read,write", "--time", "100ms");
        Assert.Equal(ExitCode.Conflict, code);
        Assert.Contains("The volume kept holds 1MiB of data and the job write would overwrite it", error, StringComparison.Ordinal);

        var read = await BenchAsync("--volume", "kept", "--jobs", "read", "--time", "100ms", "--warm-up", "0s", "--depth", "2", "--block-size", "8KiB");
        Assert.Equal((2, 8192, 0), (read.Jobs[0].Depth, read.Jobs[0].BlockBytes, read.Jobs[0].Writes));
        Assert.Equal(data, await ReadAsync("kept"));

        Assert.True((await BenchAsync("--volume", "kept", "--overwrite", "--jobs", "write", "--time", "100ms")).Jobs[0].Writes > 0);
        Assert.NotEqual(data, await ReadAsync("kept"));
        Assert.NotNull(await LocalCluster.GetVolumeAsync(Cluster.Nodes[0], "kept"));
    }

    [Fact(DisplayName = "Ctrl-C in the middle of a job ends the bench and deletes its volume")]
    public async Task Interrupted()
    {
        using var cancel = new CancellationTokenSource();
        using var output = new CapturedText();
        using var error = new CapturedText();
        var running = CommandLine.RunAsync(["bench", "--size", "16MiB", "--time", "1h", "--endpoint", Cluster.Nodes[0].Api], output, error, cancel.Token);
        var name = (await LocalCluster.WaitForAsync(BenchVolumesAsync, volumes => volumes.Any(volume => volume.UsedBytes > 0), "no volume of the bench is written"))[0].Name;
        await cancel.CancelAsync();
        Assert.Equal(ExitCode.Interrupted, await running);
        Assert.Null(await LocalCluster.GetVolumeAsync(Cluster.Nodes[0], name));
    }

    [Fact(DisplayName = "The limits of a volume are named where they are what bounds it, and the jobs work on all of a volume that has less than --size")]
    public async Task Limited()
    {
        await Cluster.CreateVolumeAsync("limited", 4 * MiB);
        Assert.Equal(ExitCode.Ok, await CommandLine.RunAsync(["volume", "label", "limited", "myrmidon.dev/iops-max=10", "--endpoint", Cluster.Nodes[0].Api], TextWriter.Null, TextWriter.Null));
        var (code, output, error) = await RunAsync("--volume", "limited", "--jobs", "read", "--time", "100ms", "--warm-up", "0s", "-o", "json");
        Assert.True(code == ExitCode.Ok, error);
        var report = JsonSerializer.Deserialize<BenchReport>(output, ApiClient.Json)!;
        Assert.Equal((4 * MiB, "limit"), (report.SizeBytes, report.Jobs[0].Bottleneck));
        Assert.Contains("The volume limited has 4MiB, less than the 1GiB of --size: the jobs work on all of it.", error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Each job tells who owned the volume while it ran: the owner follows its client")]
    public async Task Moved_between_jobs()
    {
        await Cluster.CreateVolumeAsync("moved", 4 * MiB);
        var first = (await LocalCluster.WaitUntilInSyncAsync(Cluster.Nodes[0], "moved")).Owner!;
        var next = Cluster.Other(first);
        using var api = new ApiClient(new Uri(Cluster.Nodes[0].Api));
        var settings = new BenchSettings(new VolumeName("default", "moved"), false, null, 4 * MiB, first, [.. BenchJob.All.Where(job => !job.Writes)], TimeSpan.FromMilliseconds(100), TimeSpan.Zero);
        // Where it stays for an hour, after the first job.
        void Move(string said)
        {
            if (!said.StartsWith("read:", StringComparison.Ordinal)) return;
            Assert.Equal(ExitCode.Ok, CommandLine.RunAsync(["volume", "move", "moved", "--node", next.Name, "--endpoint", next.Api], TextWriter.Null, TextWriter.Null).GetAwaiter().GetResult());
            LocalCluster.WaitForVolumeAsync(Cluster.Nodes[0], "moved", $"owned by {next.Name}", volume => volume.Owner == next.Name).GetAwaiter().GetResult();
        }
        var report = await new BenchRun(api, settings, new BenchProgress(TextWriter.Null, isTerminal: false), Move).RunAsync(default);
        Assert.Equal([first, first, next.Name], report.Jobs.Select(job => job.Owner).Prepend(report.Owner));
    }

    [Fact(DisplayName = "A volume that is attached to a node is driven there; another node that was asked for is refused before anything is done")]
    public async Task Attached()
    {
        await Cluster.CreateVolumeAsync("attached", 4 * MiB);
        Assert.Equal(ExitCode.Ok, await CommandLine.RunAsync(["volume", "attach", "attached", "--node", Cluster.Nodes[2].Name, "--endpoint", Cluster.Nodes[0].Api], TextWriter.Null, TextWriter.Null));
        Assert.Equal(Cluster.Nodes[2].Name, (await BenchAsync("--volume", "attached", "--jobs", "read", "--time", "100ms", "--warm-up", "0s")).FrontEnd);
        var (code, _, error) = await RunAsync("--volume", "attached", "--jobs", "read", "--node", Cluster.Nodes[1].Name);
        Assert.Equal(ExitCode.Conflict, code);
        Assert.Contains("The volume attached is attached to node node-2, and node node-1 does not serve it: use --node node-2, or detach it with `myrmidon volume detach attached`.", error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A volume and a node that do not exist are named")]
    public async Task Not_found()
    {
        var (code, _, error) = await RunAsync("--volume", "nowhere");
        Assert.Equal(ExitCode.NotFound, code);
        Assert.Contains("nowhere", error, StringComparison.Ordinal);
        (code, _, error) = await RunAsync("--node", "node-9");
        Assert.Equal(ExitCode.NotFound, code);
        Assert.Contains("There is no node 'node-9' that is up: use one of node-0, node-1, node-2", error, StringComparison.Ordinal);
        Assert.Empty(await BenchVolumesAsync());
    }

    private async Task<VolumeResource[]> BenchVolumesAsync()
    {
        using var api = new ApiClient(new Uri(Cluster.Nodes[0].Api));
        return [.. (await api.GetAsync("/v1/volumes", default)).As<VolumeResource[]>().Where(volume => volume.Name.StartsWith("bench-", StringComparison.Ordinal))];
    }

    private async Task<byte[]> ReadAsync(string volume)
    {
        var data = new byte[MiB];
        using var client = await NbdClient.ConnectAsync(new Uri($"{Cluster.Nodes[2].Nbd}/{volume}"), default);
        await client.ReadAsync(0, data, default);
        await client.DisconnectAsync(default);
        return data;
    }

    private async Task<BenchReport> BenchAsync(params string[] arguments)
    {
        var (code, output, error) = await RunAsync([.. arguments, "-o", "json"]);
        Assert.True(code == ExitCode.Ok, $"{code}: {error}");
        return JsonSerializer.Deserialize<BenchReport>(output, ApiClient.Json)!;
    }

    private async Task<(int Code, string Output, string Error)> RunAsync(params string[] arguments)
    {
        using var output = new CapturedText();
        using var error = new CapturedText();
        var code = await CommandLine.RunAsync(["bench", .. arguments, "--endpoint", Cluster.Nodes[0].Api], output, error);
        return (code, output.ToString(), error.ToString());
    }

    private LocalCluster Cluster => fixture.Cluster;
}
