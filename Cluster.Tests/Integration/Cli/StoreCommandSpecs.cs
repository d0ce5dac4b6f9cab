using System.Collections.Immutable;
using System.Text.Json.Nodes;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Cli;
using Cluster.Node.Ingress;
using Cluster.Node.Replica;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Cli;

public sealed class StoreCommandSpecs : IDisposable
{
    private const ulong Blocks = 40;
    private static readonly VolumeSpec Spec = new(StoreRig.Volume, "shop", "db", 1 << 30, 3, FailureModeKind.Soft, 0, 60_000, true, ImmutableSortedDictionary<string, string>.Empty);

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-store-").FullName;

    private string NodeDirectory => Path.Combine(_directory, "node-0");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "store show tells volumes, segments and log of a node that does not run, and store check reads it all")]
    public async Task A_whole_store()
    {
        await FillAsync(_ => Task.CompletedTask);
        var shown = await RunAsync("store", "show", "--data", NodeDirectory);
        Assert.Equal((ExitCode.Ok, ""), (shown.Exit, shown.Error));
        Assert.Contains("Last stop   in order", shown.Output, StringComparison.Ordinal);
        Assert.Contains("v7  shop/db  r2", shown.Output, StringComparison.Ordinal);

        var json = JsonNode.Parse((await RunAsync("store", "show", "--data", Path.Combine(NodeDirectory, "store"), "-o", "json")).Output)!;
        Assert.Equal(1UL, json["openCount"]!.GetValue<ulong>());
        var volume = json["volumes"]![0]!;
        Assert.Equal((Blocks, (long)Blocks, ""), (volume["committedSequence"]!.GetValue<ulong>(), volume["blocks"]!.GetValue<long>(), volume["damage"]!.GetValue<string>()));

        var log = (await RunAsync("store", "show", "--data", NodeDirectory, "--log", "--volume", "v7")).Output.Split('\n');
        Assert.Equal((int)Blocks, log.Count(line => line.Contains("\tWrite\tv7\t1\t", StringComparison.Ordinal)));
        Assert.Contains(log, line => line.Contains("\tReplicaHeader\tv7\t", StringComparison.Ordinal));
        Assert.Single((await RunAsync("store", "show", "--data", NodeDirectory, "--log", "--volume", "v8")).Output.Trim().Split('\n'));
        Assert.Contains("segment-", (await RunAsync("store", "show", "--data", NodeDirectory, "--segments")).Output, StringComparison.Ordinal);

        var check = await RunAsync("store", "check", "--data", NodeDirectory);
        Assert.Equal(ExitCode.Ok, check.Exit);
        Assert.Contains($"1 volumes, {Blocks} blocks read: no problem found.", check.Output, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "store check names the volume and the block whose bytes have changed on the disk, and fails")]
    public async Task A_bad_block()
    {
        await FillAsync(_ => Task.CompletedTask);
        var path = Directory.EnumerateFiles(Path.Combine(NodeDirectory, "store"), "segment-*").Single(file => File.ReadAllBytes(file).AsSpan().IndexOf(StoreRig.Bytes(17)) > 0);
        var bytes = File.ReadAllBytes(path);
        bytes[bytes.AsSpan().IndexOf(StoreRig.Bytes(17)) + 1000] ^= 4;
        File.WriteAllBytes(path, bytes);

        var check = await RunAsync("store", "check", "--data", NodeDirectory);
        Assert.Equal(ExitCode.Failure, check.Exit);
        Assert.Contains("does not match its checksum", check.Output, StringComparison.Ordinal);
        var json = JsonNode.Parse((await RunAsync("store", "check", "--data", NodeDirectory, "-o", "json")).Output)!;
        Assert.Equal((false, 1L, "v7", 17UL), (json["ok"]!.GetValue<bool>(), json["problems"]!.GetValue<long>(), json["listed"]![0]!["volume"]!.GetValue<string>(),
            json["listed"]![0]!["block"]!.GetValue<ulong>()));
    }

    [Fact(DisplayName = "store show lists the disks of a store, a missing one with what is wrong, and store forget takes that out of the list once the store went on without it")]
    public async Task Disks()
    {
        var disk = Path.Combine(_directory, "disk-1");
        Directory.CreateDirectory(disk);
        await FillAsync(_ => Task.CompletedTask, disk);
        var shown = JsonNode.Parse((await RunAsync("store", "show", "--data", NodeDirectory, "-o", "json")).Output)!["disks"]!.AsArray();
        Assert.Equal([Path.Combine(NodeDirectory, "store"), disk], shown.Select(each => each!["path"]!.GetValue<string>()));
        Assert.All(shown, each => Assert.Equal("in-use", each!["state"]!.GetValue<string>()));
        Assert.Contains(disk, (await RunAsync("store", "show", "--data", NodeDirectory, "--segments")).Output, StringComparison.Ordinal);
        var id = shown[1]!["id"]!.GetValue<string>();
        Assert.Contains("is in use", (await RunAsync("store", "forget", id, "--data", NodeDirectory)).Error, StringComparison.Ordinal);

        Directory.Move(disk, disk + "-away");
        Assert.Contains($"{id} at {disk}: missing, ", (await RunAsync("store", "show", "--data", NodeDirectory)).Output, StringComparison.Ordinal);
        await OpenOnceAsync();
        var forgotten = await RunAsync("store", "forget", id, "--data", NodeDirectory);
        Assert.Equal((ExitCode.Ok, ""), (forgotten.Exit, forgotten.Error));
        Assert.Single(JsonNode.Parse((await RunAsync("store", "show", "--data", NodeDirectory, "-o", "json")).Output)!["disks"]!.AsArray());
        Assert.Equal(ExitCode.Conflict, (await RunAsync("store", "forget", id, "--data", NodeDirectory)).Exit);
        Assert.Equal(ExitCode.Usage, (await RunAsync("store", "forget", "disk-1", "--data", NodeDirectory)).Exit);
    }

    [Fact(DisplayName = "Disks that are somewhere else now are found by their labels when they are named; a directory that is none of the store's is refused by name")]
    public async Task Moved_disks()
    {
        string[] disks = [Path.Combine(_directory, "disk-1"), Path.Combine(_directory, "disk-2")];
        foreach (var disk in disks) Directory.CreateDirectory(disk);
        await FillAsync(_ => Task.CompletedTask, disks);
        var ids = JsonNode.Parse((await RunAsync("store", "show", "--data", NodeDirectory, "-o", "json")).Output)!["disks"]!.AsArray().ToDictionary(disk => (string)disk!["path"]!, disk => (string)disk!["id"]!);
        Directory.Move(disks[0], disks[0] + "-moved");
        Assert.Contains("missing", (await RunAsync("store", "show", "--data", NodeDirectory)).Output, StringComparison.Ordinal);
        var shown = JsonNode.Parse((await RunAsync("store", "show", "--data", NodeDirectory, "--disks", disks[0] + "-moved/", "-o", "json")).Output)!["disks"]!.AsArray();
        Assert.All(shown, disk => Assert.Equal("in-use", (string)disk!["state"]!));
        Assert.Equal(ids[disks[0]], (string)shown.Single(disk => (string)disk!["path"]! == disks[0] + "-moved")!["id"]!);
        Assert.Contains(shown, disk => (string)disk!["path"]! == disks[1]);
        Assert.Equal(ExitCode.Ok, (await RunAsync("store", "check", "--data", NodeDirectory, "--disks", $"{disks[0]}-moved,{disks[1]}")).Exit);
        foreach (var (paths, said) in ((string, string)[])[(_directory, $"{_directory} (--disks) is no disk of a store"), ($"{disks[1]},{disks[1]}", "named already"), (Path.Combine(_directory, "none"), "is no disk of a store")])
        {
            var refused = await RunAsync("store", "check", "--data", NodeDirectory, "--disks", paths);
            Assert.Equal(ExitCode.Usage, refused.Exit);
            Assert.Contains(said, refused.Error, StringComparison.Ordinal);
        }
        Assert.False(Directory.Exists(Path.Combine(_directory, "none")));
    }

    [Fact(DisplayName = "A look at a store opens nothing for writing, and keeps a node out with a lock that it only reads")]
    public async Task Read_only_look()
    {
        await FillAsync(_ => Task.CompletedTask);
        var store = Path.Combine(NodeDirectory, "store");
        using (var look = new FileDisk(store, readOnly: true))
        using (var node = new FileDisk(store))
        {
            Assert.True(look.TryLock().IsOk);
            Assert.Equal(IoStatus.Busy, node.TryLock().Status);
            Assert.True(look.Open("superblock", create: false, out var file).IsOk);
            Assert.Equal(IoStatus.DeviceError, file!.WriteAll(0, new byte[8]).Status);
            file!.Dispose();
            Assert.False(look.Open("new", create: true, out _).IsOk);
        }
        using (var node = new FileDisk(store))
        using (var look = new FileDisk(store, readOnly: true))
        {
            Assert.True(node.TryLock().IsOk);
            Assert.Equal(IoStatus.Busy, look.TryLock().Status);
        }
        Assert.False(File.Exists(Path.Combine(store, "new")));
    }

    /// <summary>For a spec that puts the store on another file system.</summary>
    internal static async Task<string> NewStoreAsync(string directory)
    {
        using var specs = new StoreCommandSpecs();
        await specs.FillAsync(_ => Task.CompletedTask);
        var data = Path.Combine(directory, "data", "store");
        Directory.CreateDirectory(data);
        foreach (var file in Directory.EnumerateFiles(Path.Combine(specs.NodeDirectory, "store"))) File.Copy(file, Path.Combine(data, Path.GetFileName(file)));
        return Path.Combine(directory, "data");
    }

    [Fact(DisplayName = "store bench runs its jobs in a directory of its own and removes it; also with so little room that the cleaner works; what it can't take is refused")]
    public async Task Bench()
    {
        var directory = Path.Combine(_directory, "bench");
        var rows = JsonNode.Parse((await RunAsync("store", "bench", "--data", directory, "--size", "300MiB", "--capacity", "640MiB", "--time", "200ms", "-o", "json")).Output)!.AsArray();
        Assert.Equal(["fill", "write", "write-sync32", "write-80-20", "read"], rows.Select(row => row!["job"]!.GetValue<string>()));
        Assert.All(rows, row => Assert.True(row!["operations"]!.GetValue<long>() > 0 && row["perSecond"]!.GetValue<double>() > 0, row!.ToJsonString()));
        Assert.Equal(300L << 8, rows[0]!["operations"]!.GetValue<long>());
        Assert.All(rows.Take(4), row => Assert.True(row!["writeAmplification"]!.GetValue<double>() >= 1, row!.ToJsonString()));
        Assert.InRange(rows[3]!["liveRatio"]!.GetValue<double>(), 0.45, 0.6);
        Assert.False(Directory.Exists(directory));

        var exists = await RunAsync("store", "bench", "--data", _directory);
        Assert.Equal(ExitCode.Usage, exists.Exit);
        Assert.Contains("exists already", exists.Error, StringComparison.Ordinal);
        Assert.Contains("There is no job 'burn'", (await RunAsync("store", "bench", "--data", directory, "--jobs", "read,burn")).Error, StringComparison.Ordinal);
        Assert.Contains("--capacity is too small", (await RunAsync("store", "bench", "--data", directory, "--capacity", "64MiB")).Error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A store in use, a directory without a store and one of several nodes are refused, each in a sentence that says what to do")]
    public async Task Refusals()
    {
        await FillAsync(async _ =>
        {
            foreach (var verb in (string[])["show", "check"])
            {
                var (exit, _, error) = await RunAsync("store", verb, "--data", NodeDirectory);
                Assert.Equal(ExitCode.Conflict, exit);
                Assert.Contains("is in use by another process: stop the node first", error, StringComparison.Ordinal);
            }
        });
        var none = await RunAsync("store", "show", "--data", Path.Combine(_directory, "nothing"));
        Assert.Equal(ExitCode.NotFound, none.Exit);
        Assert.Contains("There is no store in", none.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(Path.Combine(_directory, "nothing")));
        var several = await RunAsync("store", "check", "--data", _directory);
        Assert.Equal(ExitCode.NotFound, several.Exit);
        Assert.Contains($"such as {NodeDirectory}", several.Error, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Usage, (await RunAsync("store", "show", "--data", NodeDirectory, "--log", "--volume", "db")).Exit);
    }

    private async Task OpenOnceAsync()
    {
        await using var loop = new EpollLoop("store test", NullLogger.Instance, error => Assert.Fail(error.ToString()));
        using var scheduler = new ThreadDiskScheduler(loop, "store test");
        var opened = BlockStore.Open(new StoreOptions(), loop, new FileDisk(Path.Combine(NodeDirectory, "store")), scheduler, NullLogger.Instance);
        Assert.True(opened.Store is not null, opened.Reason);
        loop.Start();
        await opened.Store.DisposeAsync();
    }

    /// <summary>A store with one volume, while the work runs; then stopped in order.</summary>
    private async Task FillAsync(Func<BlockStore, Task> work, params string[] disks)
    {
        await using var loop = new EpollLoop("store test", NullLogger.Instance, error => Assert.Fail(error.ToString()));
        using var scheduler = new ThreadDiskScheduler(loop, "store test");
        var options = new StoreOptions { SegmentBytes = 1 << 20, CapacityBytes = 24 << 20 };
        var opened = BlockStore.Open(options, loop, new FileDisk(Path.Combine(NodeDirectory, "store")), scheduler, NullLogger.Instance,
            [.. disks.Select(path => new FileDisk(path, mustExist: true))]);
        Assert.True(opened.Store is not null, opened.Reason);
        loop.Start();
        loop.Post(() =>
        {
            loop.AddPhase(TurnPhase.Store, opened.Store);
            var header = new ReplicaHeader(Guid.NewGuid(), Guid.NewGuid(), Spec.Id, new ReplicaId(2), Guid.NewGuid(), 1, default, 1, 1, 0, false, 0, 0, VolumeSpecCodec.Encode(Spec));
            var volume = opened.Store.Create(Spec.Id, header.Encode()).Volume!;
            for (var block = 0UL; block < Blocks; block++) StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block));
            volume.Commit(Blocks);
        });
        try
        {
            await work(opened.Store);
        }
        finally
        {
            await opened.Store.DisposeAsync();
        }
    }

    internal static async Task<(int Exit, string Output, string Error)> RunAsync(params string[] args)
    {
        using var output = new CapturedText();
        using var error = new CapturedText();
        var exit = await CommandLine.RunAsync(args, output, error);
        return (exit, output.ToString(), error.ToString());
    }
}
