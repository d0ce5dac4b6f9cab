using System.Diagnostics;
using System.Globalization;
using Cluster.Node.Api;
using Cluster.Node.Cli.Dev;
using Spectre.Console;

namespace Cluster.Node.Cli.Demo;

/// <summary>The demo's acts, on a cluster of three that runs. Every number that it prints was measured in this run.</summary>
internal sealed class DemoRun(IAnsiConsole console, DevCluster cluster, long dataBytes)
{
    private const string Volume = "demo";

    /// <summary>
    /// Share of the copy at which the kill begins; from there on the copy is slowed down, so that it is under way when the owner dies however small
    /// it is, and at the second share it waits for that.
    /// </summary>
    private const double KillAt = 0.45;
    private const double KilledAtMax = 0.7;

    /// <summary>Pause between two chunks while the owner is being killed.</summary>
    private const int SlowChunkMs = 10;

    /// <summary>How long the returning node may take to be in sync, in milliseconds.</summary>
    private const int CatchUpMs = 180_000;

    private const int PollMs = 100;

    private readonly NbdCopy _copy = NbdCopy.Find();
    private readonly DemoData _data = new(Environment.TickCount);

    private ulong VolumeBytes => ((ulong)dataBytes * 4) + GapProbe.AreaBytes;

    /// <summary>True only if every byte that was acknowledged came back.</summary>
    public async Task<bool> RunAsync(CancellationToken cancellation)
    {
        Say($"Three nodes run: {string.Join(", ", cluster.Nodes.Select(node => $"{node.Name} (pid {node.Pid})"))}.");
        using var api = new ApiClient(new Uri(cluster.Nodes[0].Api));
        var created = Require(await api.PostAsync("/v1/volumes",
            new CreateVolumeRequest { Name = Volume, SizeBytes = VolumeBytes, Replicas = 3 }, cancellation));
        var copies = string.Join(", ", created.Replicas.Select(replica => replica.Node));
        Say($"Volume \"{Volume}\" of {SizeText.Format(VolumeBytes)} has copies on {copies}; "
            + $"{created.Owner} owns it. It is thin: nothing is used yet.");
        if (!_copy.IsStandard) Say(
            "nbdcopy is not installed (Debian: apt-get install libnbd-bin), so our own NBD client does the copying.");

        var owner = cluster.Nodes.First(node => node.Name == created.Owner);
        var front = cluster.Nodes.First(node => node.Name != created.Owner);
        var export = new Uri($"{front.Nbd}/{Volume}");
        using var client = await NbdClient.ConnectAsync(export, cancellation);
        using var probe = new GapProbe(client, VolumeBytes - GapProbe.AreaBytes);
        var writtenMeanwhile = await WriteAndKillAsync(export, owner, front, probe, cancellation);
        var good = await CompareAsync(export, probe, cancellation);
        return await CatchUpAsync(owner, front, writtenMeanwhile, cancellation) && good;
    }

    /// <summary>Answers the bytes written after the kill.</summary>
    private async Task<long> WriteAndKillAsync(
        Uri export, DevNode owner, DevNode front, GapProbe probe, CancellationToken cancellation)
    {
        probe.Start();
        Task<string>? kill = null;
        long acknowledgedAtKill = 0;
        var shareAtKill = 0.0;
        var isDead = false;
        var clock = Stopwatch.StartNew();
        await WithProgressAsync($"Writing {SizeText.Format((ulong)dataBytes)} through {front.Name}", bar =>
            _copy.InAsync(export, dataBytes, _data.Fill, async share =>
            {
                bar(share);
                if (share < KillAt || isDead) return;
                kill ??= DevOperations.KillAsync(cluster.File, owner.Name, NodeProcess.KillNow, cancellation);
                if (share < KilledAtMax) await Task.WhenAny(kill, Task.Delay(SlowChunkMs, cancellation));
                else await kill;
                if (!kill.IsCompleted) return;
                await kill;
                (isDead, shareAtKill, acknowledgedAtKill) = (true, share, probe.Acknowledged);
            }, cancellation));
        var seconds = clock.Elapsed.TotalSeconds;
        await probe.StopAsync();
        Say(string.Create(CultureInfo.InvariantCulture,
            $"The owner {owner.Name} was killed with kill -9 at {shareAtKill:P0} of the write. No client saw an error."));
        Say(string.Create(CultureInfo.InvariantCulture,
            $"Longest pause between two acknowledged writes: {probe.LongestGap.TotalSeconds:0.00} s "
            + $"({probe.Acknowledged} probe writes; the copy took {seconds:0.0} s)."));
        return (long)((1 - shareAtKill) * dataBytes) + ((probe.Acknowledged - acknowledgedAtKill) * GapProbe.BlockBytes);
    }

    private async Task<bool> CompareAsync(Uri export, GapProbe probe, CancellationToken cancellation)
    {
        await WithProgressAsync("Reading everything back", bar => _copy.OutAsync(export, dataBytes, _data.Compare, bar, cancellation));
        var wrong = await probe.CountWrongAsync(cancellation);
        var good = _data.Differences == 0 && _data.Compared == dataBytes && wrong == 0;
        Say(good
            ? $"All {SizeText.Format((ulong)dataBytes)} are equal, byte for byte, and so are the probe's blocks."
            : $"DATA DIFFERS: {_data.Differences + dataBytes - _data.Compared} bytes of the copy, {wrong} blocks of the probe.");
        return good;
    }

    /// <summary>Starts the killed node again and follows its copy until it is in sync.</summary>
    private async Task<bool> CatchUpAsync(DevNode killed, DevNode front, long writtenMeanwhile, CancellationToken cancellation)
    {
        var clock = Stopwatch.StartNew();
        await DevOperations.StartAsync(cluster.File, killed.Name, cancellation);
        using var api = new ApiClient(new Uri(front.Api));
        ulong copied = 0;
        var inSync = false;
        await WithProgressAsync($"{killed.Name} is back and catches up", async bar =>
        {
            while (!inSync && clock.ElapsedMilliseconds < CatchUpMs)
            {
                var answer = await api.GetAsync($"/v1/volumes/{Volume}", cancellation);
                var replica = answer.IsOk ? answer.As<VolumeResource>().Replicas.FirstOrDefault(copy => copy.Node == killed.Name) : null;
                if (replica is not null)
                {
                    copied = Math.Max(copied, replica.CatchUpBytesSent);
                    inSync = replica.State == "in-sync";
                    bar(inSync ? 1 : Math.Min(1, (double)copied / Math.Max(1, replica.CatchUpBytesTotal)));
                }
                if (!inSync) await Task.Delay(PollMs, cancellation);
            }
        });
        Say(inSync
            ? string.Create(CultureInfo.InvariantCulture,
                $"{killed.Name} is in sync again, {clock.Elapsed.TotalSeconds:0.0} s after its start: "
                + $"{SizeText.Format(copied)} were copied, "
                + $"{SizeText.Format((ulong)writtenMeanwhile)} had been written meanwhile, the volume has {SizeText.Format(VolumeBytes)}.")
            : $"{killed.Name} is NOT in sync {CatchUpMs / 1000} s after its start; see {cluster.File.LogOf(killed.Name)}.");
        return inSync;
    }

    private Task WithProgressAsync(string what, Func<Action<double>, Task> work) => console.Progress()
        .Columns(new SpinnerColumn(), new TaskDescriptionColumn { Alignment = Justify.Left }, new ProgressBarColumn(),
            new PercentageColumn(), new ElapsedTimeColumn())
        .StartAsync(async progress =>
        {
            var task = progress.AddTask(Markup.Escape(what), maxValue: 1);
            await work(share => task.Value = share);
            task.Value = 1;
        });

    private void Say(string sentence) => console.WriteLine(sentence);

    private static VolumeResource Require(ApiAnswer answer) =>
        answer.IsOk ? answer.As<VolumeResource>() : throw new DevException(answer.Error, answer.ExitCode);
}
