using System.Diagnostics;
using System.Text;
using Cluster.Csi.Attach;
using Cluster.Csi.Kernel;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Node.Cli.Dev;
using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>What happens in the guest of <see cref="KernelNbdNodeSpecs"/>, in order: a whole node, a cluster by itself, whose volume is a device of the kernel's NBD client, by the command line.</summary>
internal sealed class GuestNode(string root)
{
    private const string Volume = "db";
    private const int ErrorIo = 5;

    private Process? _node;
    private string _device = "";
    private string _mounted = "";

    private string Mount => Path.Combine(root, "mnt");

    private string Data => Path.Combine(root, "data");

    private string Log => Path.Combine(root, "log");

    public async Task<int> RunAsync()
    {
        Directory.CreateDirectory(Mount);
        if (!await GuestSteps.RunAsync(
        [
            ("start", StartAsync), ("attach", AttachAsync), ("upgrade", UpgradeAsync), ("resize", ResizeAsync), ("in-use", InUseAsync), ("detach", DetachAsync), ("stale", StaleAsync),
        ]))
        {
            Console.WriteLine(NodeProcess.Tail(Log, 60));
            return 1;
        }
        await EndAsync(NodeProcess.Term);
        Console.WriteLine(GuestSteps.Done);
        return 0;
    }

    private async Task StartAsync()
    {
        _node = NodeProcess.Start([], ["--name", "node-0", "--data", Data, "--attacher", "kernel-nbd"], Log);
        await GuestTools.UntilAsync(async () =>
        {
            Assert.False(_node.HasExited, $"the node has ended:\n{NodeProcess.Tail(Log, 60)}");
            using var api = Api();
            return (await api.GetAsync("/v1/health", default)).IsOk;
        }, "the node is not ready");
    }

    private async Task AttachAsync()
    {
        // How long a start takes here is no part of what is tested.
        var request = new CreateVolumeRequest { Name = Volume, SizeBytes = 128UL << 20, Replicas = 1, Labels = new Dictionary<string, string> { ["myrmidon.dev/hold-time"] = "1h" } };
        using (var api = Api())
        {
            var created = await api.PostAsync("/v1/volumes", request, default);
            Assert.True(created.IsOk, created.Error);
        }
        await MountAsync();
        Assert.StartsWith("/dev/nbd", _device, StringComparison.Ordinal);
        Assert.Contains(":v1.", Assert.Single(KernelNbdDevices.Read()).Backend, StringComparison.Ordinal);
        await File.WriteAllTextAsync(Path.Combine(Mount, "kept"), "kept");
    }

    /// <summary>The process is stopped as an upgrade does it, under a writer, and another one started: no error, and the same mount.</summary>
    private async Task UpgradeAsync()
    {
        using var stop = new CancellationTokenSource();
        var path = Path.Combine(Mount, "log");
        var writer = new GuestWriter(path);
        var writing = Task.Factory.StartNew(() => writer.Run(stop.Token), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        await writer.MoreAsync(10);
        await EndAsync(NodeProcess.Term);
        await StartAsync();
        await writer.MoreAsync(10);
        await stop.CancelAsync();
        await writing;
        Assert.Equal(string.Concat(Enumerable.Range(0, writer.Count).Select(GuestWriter.Line)), Encoding.ASCII.GetString(GuestTools.ReadDirect(path, 0, writer.Count * GuestWriter.LineBytes)));
        Assert.Equal(_mounted, MountLine());
        Assert.Equal("0", (await File.ReadAllTextAsync($"/sys/fs/ext4/{Path.GetFileName(_device)}/errors_count")).Trim());
        // The next process knows the device for its own.
        var device = await DeviceAsync();
        Assert.Equal((_device, true, "kernel-nbd"), (device.Device, device.Served, device.Kind));
        Console.WriteLine($"the longest pause of a writer was {writer.LongestMs} ms");
    }

    private async Task ResizeAsync()
    {
        (await VolumeAsync("resize", Volume, "--size", "256MiB")).Ok();
        (await VolumeAsync("attach", Volume, "--mount", Mount)).Ok();
        Assert.Equal(256UL << 20, (await DeviceAsync()).SizeBytes);
        Assert.Equal(_mounted, MountLine());
    }

    private async Task InUseAsync()
    {
        using (File.OpenRead(Path.Combine(Mount, "kept")))
        {
            var refused = await VolumeAsync("detach", Volume);
            Assert.Equal(ExitCode.Conflict, refused.Exit);
            Assert.Contains(Mount, refused.Error, StringComparison.Ordinal);
        }
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(Mount, "kept")));
    }

    private async Task DetachAsync()
    {
        (await VolumeAsync("detach", Volume)).Ok();
        AssertNothingLeft();
        await MountAsync();
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(Mount, "kept")));
        (await VolumeAsync("detach", Volume)).Ok();
        AssertNothingLeft();
    }

    /// <summary>An attachment that ended while its device was open, and a node that is killed before the device has gone: the next process takes it away.</summary>
    private async Task StaleAsync()
    {
        (await VolumeAsync("attach", Volume)).Ok();
        _device = (await DeviceAsync()).Device;
        using (Native.Open(_device, Native.ReadOnly, out var error))
        {
            Assert.Equal(0, error);
            Assert.Equal(0, GuestTools.ReadError(_device, 0));
            using (var api = Api()) Assert.True((await api.PostAsync($"/v1/volumes/{Volume}/detach", null, default)).IsOk);
            await GuestTools.UntilAsync(() => Task.FromResult(GuestTools.ReadError(_device, 0) == ErrorIo), "the device of an attachment that has ended still answers");
            await EndAsync(NodeProcess.KillNow);
        }
        Assert.Single(KernelNbdDevices.Read());
        await StartAsync();
        await GuestTools.UntilAsync(() => Task.FromResult(KernelNbdDevices.Read().Count == 0 && Left().Length == 0), "the device of the attachment that had ended stays");
        await MountAsync();
        Assert.Equal("kept", await File.ReadAllTextAsync(Path.Combine(Mount, "kept")));
        (await VolumeAsync("detach", Volume)).Ok();
        AssertNothingLeft();
    }

    private async Task EndAsync(int signal)
    {
        Assert.True(NodeProcess.Signal(_node!.Id, signal));
        await _node.WaitForExitAsync(new CancellationTokenSource(GuestTools.PatienceMs).Token);
        _node.Dispose();
    }

    private async Task MountAsync()
    {
        (await VolumeAsync("attach", Volume, "--mount", Mount, "--fs", "ext4")).Ok();
        _device = (await DeviceAsync()).Device;
        _mounted = MountLine();
    }

    /// <summary>With the number that each mount has of its own.</summary>
    private string MountLine() => Assert.Single(File.ReadAllLines("/proc/self/mountinfo"), line => line.Contains($" {Mount} ", StringComparison.Ordinal));

    private static async Task<DeviceResource> DeviceAsync()
    {
        using var api = Api();
        return Assert.Single((await api.GetAsync("/v1/devices", default)).As<DeviceListResource>().Devices);
    }

    /// <summary>A command that waits for its node no longer goes on there, and is given again: that waits for it.</summary>
    private static async Task<ToolRun> VolumeAsync(params string[] arguments)
    {
        var program = NodeProcess.Program();
        ToolRun? run = null;
        await GuestTools.UntilAsync(async () => (run = await Tool.RunAsync(program[0], [.. program[1..], "volume", .. arguments])).Exit != ExitCode.Unreachable, $"volume {arguments[0]} has no answer");
        return run!;
    }

    private static ApiClient Api() => new(new Uri(ApiClient.DefaultEndpoint), TimeSpan.FromMilliseconds(GuestTools.PatienceMs));

    private string[] Left() => Directory.GetDirectories(Path.Combine(Data, "attach", "kernel"));

    private void AssertNothingLeft()
    {
        Assert.Empty(KernelNbdDevices.Read());
        Assert.Empty(Left());
        Assert.DoesNotContain(File.ReadAllLines("/proc/self/mountinfo"), line => line.Contains($" {Mount} ", StringComparison.Ordinal));
    }
}
