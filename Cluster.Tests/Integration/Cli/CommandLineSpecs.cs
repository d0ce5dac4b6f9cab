using System.Net;
using System.Text.Json.Nodes;
using Cluster.Node.Api;
using Cluster.Node.Cli;
using Cluster.Tests.Integration.Api;

namespace Cluster.Tests.Integration.Cli;

public sealed class CommandLineSpecs : IAsyncLifetime
{
    private readonly FakeControlPlane _control = new();
    private ApiServer _server = null!;

    public async Task InitializeAsync() =>
        _server = await ApiServer.StartAsync(new ApiOptions("node-0", IPAddress.Loopback, 0), _control, new FakeRecovery(), new FakeDevices(), new Health(TimeProvider.System),
            new Metrics());

    public async Task DisposeAsync() => await _server.DisposeAsync();

    [Fact(DisplayName = "Volumes are created, shown, changed and deleted from the command line")]
    public async Task Volume_verbs_work()
    {
        await OkAsync("Volume db created: 10GiB, copies on node-0, node-1.", "volume", "create", "db", "--size", "10GiB", "--replicas",
            "2", "--label", "a=b");
        await OkAsync("2/2 in sync", "volume", "list");
        await OkAsync("node-0 (epoch 1)", "volume", "show", "db");
        await OkAsync("Volume db is 20GiB now, with copies on no", "volume", "resize", "db", "--size", "20GiB");
        await OkAsync("has the labels c=d", "volume", "label", "db", "a-", "c=d");
        await OkAsync("Volume db has no labels.", "volume", "label", "db", "c-");
        await OkAsync("attached to node-1", "volume", "attach", "db", "--node", "node-1");
        Assert.Equal(ExitCode.Conflict, (await RunAsync("volume", "delete", "db")).Exit);
        await OkAsync("is detached", "volume", "detach", "db");
        await OkAsync("served by node-1 (epoch 2)", "volume", "move", "db", "--node", "node-1");
        await OkAsync("VolumeCreated", "volume", "explain", "db");
        await OkAsync("Volume db deleted.", "volume", "delete", "db");
        await OkAsync("Volume shop/web created", "volume", "create", "shop/web", "--size", "1GiB");
        await OkAsync("attached to node-1", "volume", "attach", "shop/web", "--node", "node-1");
        await OkAsync("Volume shop/web deleted.", "volume", "delete", "shop/web", "--force");
    }

    [Fact(DisplayName = "Waiting for a volume's copies ends when all are in sync, or with a failure after the time given, and tells how far they are")]
    public async Task Wait_works()
    {
        foreach (var name in (string[])["db", "behind"]) await RunAsync("volume", "create", name, "--size", "1GiB");
        await OkAsync("State       healthy", "volume", "wait", "db");
        var (exit, output, error) = await RunAsync("volume", "wait", "behind", "--timeout", "1");
        Assert.Equal(ExitCode.Failure, exit);
        Assert.Contains("Not all copies of volume behind are in sync after 1 s.", error, StringComparison.Ordinal);
        Assert.Contains("catching-up (1MiB of about 3MiB sent, 512KiB per second, about 00:00:04 left)", output, StringComparison.Ordinal);
        Assert.Equal(ExitCode.NotFound, (await RunAsync("volume", "wait", "gone")).Exit);
        Assert.Equal(ExitCode.Usage, (await RunAsync("volume", "wait", "db", "--timeout", "-1")).Exit);
    }

    [Fact(DisplayName = "A scrub is started, waited for and told of; blocks that no copy has make the command fail")]
    public async Task Scrub_works()
    {
        foreach (var name in (string[])["db", "rotten"]) await RunAsync("volume", "create", name, "--size", "1GiB");
        await OkAsync("4KiB of about 8KiB read on each copy, 1 blocks mended, 0 differed, 0 lost", "volume", "scrub", "db");
        await OkAsync("State  idle", "volume", "scrub", "db", "--wait");
        await OkAsync("ended 1970-01-01 00:00:00Z, 8KiB read on each copy", "volume", "scrub", "db", "--show");
        Assert.Equal(ExitCode.Failure, (await RunAsync("volume", "scrub", "rotten", "--wait")).Exit);
        Assert.Equal(ExitCode.NotFound, (await RunAsync("volume", "scrub", "gone")).Exit);
    }

    [Fact(DisplayName = "Snapshots are made, listed, shown, compared, gone back to and deleted from the command line")]
    public async Task Snapshot_verbs_work()
    {
        await RunAsync("volume", "create", "shop/db", "--size", "1GiB");
        await OkAsync("Snapshot monday of volume shop/db made.", "snapshot", "create", "shop/db", "monday");
        await OkAsync("Snapshot tuesday of volume shop/db made.", "snapshot", "create", "shop/db", "tuesday");
        await OkAsync("tuesday  1970-01-01 01:00:00Z  20        8KiB    unknown", "snapshot", "list", "shop/db");
        await OkAsync("\"storedBytes\": 1048576", "snapshot", "list", "shop/db", "-o", "json");
        await OkAsync("monday   1970-01-01 00:00:00Z  10        8KiB    16KiB", "snapshot", "list", "shop/db");
        await OkAsync("Shared    16KiB on each copy, with the volume", "snapshot", "show", "shop/db", "monday");
        await OkAsync("Shared    unknown", "snapshot", "show", "shop/db", "tuesday");
        await OkAsync("Unique    8KiB on each copy, for 3 blocks", "snapshot", "show", "shop/db", "monday");
        await OkAsync("Snapshots   2", "volume", "show", "shop/db");
        await OkAsync("0       16384 \n20480   8192 ", "snapshot", "diff", "shop/db", "--from", "monday", "--to", "tuesday");
        await OkAsync("\"length\": 16384", "snapshot", "diff", "shop/db", "-o", "json");
        await OkAsync("Volume shop/db is what it was in snapshot monday.", "snapshot", "restore", "shop/db", "monday");
        Assert.Equal(ExitCode.Conflict, (await RunAsync("volume", "delete", "shop/db")).Exit);
        await OkAsync("Snapshot monday of volume shop/db deleted.", "snapshot", "delete", "shop/db", "monday");
        await OkAsync("Volume shop/db deleted.", "volume", "delete", "shop/db", "--force");
    }

    [Fact(DisplayName = "Snapshots of several volumes are made, listed, shown and deleted; what is wrong is told, with the name that was probably meant")]
    public async Task Snapshot_group_verbs_work()
    {
        foreach (var volume in (string[])["db", "shop/log"]) await RunAsync("volume", "create", volume, "--size", "1GiB");
        await OkAsync("Snapshot nightly of the volumes db, shop/log made, at one point.", "snapshot", "group", "create", "nightly", "db", "shop/log");
        await OkAsync("nightly  ready  1970-01-01 00:00:00Z  db, shop/log", "snapshot", "group", "list");
        await OkAsync("shop/log: snapshot nightly at sequence 10", "snapshot", "group", "show", "nightly");
        await OkAsync("\"state\": \"ready\"", "snapshot", "group", "list", "-o", "json");
        foreach (var (code, sentence, args) in new (int, string, string[])[]
        {
            (ExitCode.Conflict, "There is a snapshot group \"nightly\" of these volumes already", ["create", "nightly", "db", "shop/log"]),
            (ExitCode.Conflict, "of other volumes", ["create", "nightly", "db"]), (ExitCode.NotFound, "Did you mean \"nightly\"?", ["show", "nigtly"]),
            (ExitCode.NotFound, "Did you mean \"nightly\"?", ["delete", "nightl"]), (ExitCode.NotFound, "There is no volume", ["create", "x", "no"]),
            (ExitCode.Usage, "The volume name \"Db\" is not valid", ["create", "x", "db", "Db"]), (ExitCode.Usage, "The name of a snapshot group \"X\" is not valid", ["show", "X"]),
            (ExitCode.Conflict, "The record of snapshot group \"nightly\" can be read.", ["delete", "nightly", "--forget-record"]),
            (ExitCode.Usage, "are the schedule's", ["create", "auto-1", "db"]), (ExitCode.Usage, "The volume db is named twice", ["create", "x", "db", "db"]),
        })
        {
            var (exit, output, error) = await RunAsync(["snapshot", "group", .. args]);
            Assert.True(code == exit && output.Length == 0, $"{string.Join(' ', args)}: {exit}: {output}{error}");
            Assert.Contains(sentence, error, StringComparison.Ordinal);
        }
        await OkAsync("Snapshot group nightly deleted.", "snapshot", "group", "delete", "nightly");
    }

    [Theory(DisplayName = "What is wrong with a snapshot is told, with the name that was probably meant")]
    [InlineData(ExitCode.Conflict, "Volume db has a snapshot \"monday\" already, made 1970-01-01 00:00:00Z: choose another name", "create", "db", "monday")]
    [InlineData(ExitCode.NotFound, "Did you mean \"monday\"?", "show", "db", "mondy")]
    [InlineData(ExitCode.NotFound, "Did you mean \"monday\"?", "restore", "db", "mondya")]
    [InlineData(ExitCode.NotFound, "Did you mean \"monday\"?", "diff", "db", "--from", "mnday")]
    [InlineData(ExitCode.NotFound, "Did you mean \"db\"?", "list", "dbx")]
    [InlineData(ExitCode.NotFound, "Did you mean \"db\"?", "delete", "dbx", "monday")]
    [InlineData(ExitCode.Usage, "The snapshot name \"Monday\" is not valid", "delete", "db", "Monday")]
    [InlineData(ExitCode.Usage, "are the schedule's", "create", "db", "auto-1")]
    [InlineData(ExitCode.Usage, "Did you mean 'myrmidon snapshot restore'?", "restor", "db", "monday")]
    public async Task Snapshot_failures_are_told(int code, string sentence, params string[] args)
    {
        await RunAsync("volume", "create", "db", "--size", "1GiB");
        await RunAsync("snapshot", "create", "db", "monday");
        var (exit, output, error) = await RunAsync(["snapshot", .. args]);
        Assert.True(code == exit, $"{exit}: {output}{error}");
        Assert.Contains(sentence, error, StringComparison.Ordinal);
        Assert.Equal("", output);
    }

    [Fact(DisplayName = "Nodes and the cluster are shown, and nodes cordoned")]
    public async Task Node_verbs_work()
    {
        await OkAsync("nbd://127.0.0.1:10809", "node", "list");
        await OkAsync("Node node-1 is cordoned.", "node", "cordon", "node-1");
        await OkAsync("up, cordoned (no new copies", "node", "show", "node-1");
        await OkAsync("Node node-1 is uncordoned.", "node", "uncordon", "node-1");
        await _control.DrainNodeAsync("node-1", TimeSpan.Zero, forRestart: true, CancellationToken.None);
        await OkAsync("up, cordoned for its restart (no new copies", "node", "show", "node-1");
        await OkAsync("up, cordoned for restart", "node", "list");
        await OkAsync("Node node-1 is uncordoned.", "node", "uncordon", "node-1");
        await OkAsync("2 of 2 up", "status");
        var (exit, _, error) = await RunAsync("node", "remove", "node-1");
        Assert.Equal(ExitCode.Conflict, exit);
        Assert.Contains("node-1 is up", error, StringComparison.Ordinal);
        _control.SetNode("node-1", node => node with { State = "down" });
        await OkAsync("Node node-1 is removed.", "node", "remove", "node-1");
        Assert.Equal(ExitCode.NotFound, (await RunAsync("node", "remove", "node-1")).Exit);
    }

    [Fact(DisplayName = "A drain goes on until the node owns nothing, or until its time is over, and says what it waits for")]
    public async Task Drain_works()
    {
        foreach (var name in (string[])["a", "b", "c"]) await RunAsync("volume", "create", name, "--size", "1GiB");
        _control.StuckDrain = true;
        var (exit, _, error) = await RunAsync("node", "drain", "node-0", "--timeout", "1ms");
        Assert.Equal(ExitCode.Unreachable, exit);
        Assert.Contains("Node node-0 still serves 3 volumes after 0 s; it stays cordoned.", error, StringComparison.Ordinal);
        Assert.Contains("volume db can move nowhere yet", error, StringComparison.Ordinal);
        _control.StuckDrain = false;
        await OkAsync("Node node-0 is drained", "node", "drain", "node-0");
        await OkAsync("up, cordoned", "node", "show", "node-0");
        await OkAsync("node-1 (epoch 1)", "volume", "show", "c");
        await OkAsync("Node node-0 is uncordoned.", "node", "uncordon", "node-0");
        await RunAsync("volume", "create", "one", "--size", "1GiB", "--replicas", "1");
        (exit, _, error) = await RunAsync("node", "drain", "node-0");
        Assert.Equal(ExitCode.Conflict, exit);
        Assert.Contains("it holds an only copy", error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "What is done to a node that is down is told with that it is")]
    public async Task Node_that_is_down()
    {
        await RunAsync("volume", "create", "db", "--size", "1GiB");
        await OkAsync("Volume db is attached to node-1.", "volume", "attach", "db", "--node", "node-1");
        await RunAsync("volume", "detach", "db");
        _control.SetNode("node-1", node => node with { State = "down" });
        await OkAsync("Volume db is attached to node-1 (it is down).", "volume", "attach", "db", "--node", "node-1");
        await RunAsync("volume", "detach", "db");
        await OkAsync("Node node-1 is drained (it is down): it is cordoned", "node", "drain", "node-1");
        _control.SetNode("node-1", node => node with { State = "unreachable" });
        await OkAsync("Node node-1 is drained (it is unreachable): it serves no volume.", "node", "drain", "node-1", "--for-restart");
    }

    [Fact(DisplayName = "What a node has free is never told as more than its capacity leaves, however much its disks have")]
    public async Task Free_within_the_capacity()
    {
        _control.SetNode("node-0", node => node with { CapacityBytes = 10UL << 30, UsedBytes = 3UL << 30, FreeBytes = 90UL << 30 });
        _control.SetNode("node-1", node => node with { CapacityBytes = 10UL << 30, UsedBytes = 11UL << 30, FreeBytes = 90UL << 30 });
        var (_, list, _) = await RunAsync("node", "list");
        Assert.Matches(@"node-0.* 7GiB +10GiB", list);
        Assert.Matches(@"node-1.* 0B? +10GiB", list);
        await OkAsync("of 10GiB; 7GiB free", "node", "show", "node-0");
    }

    [Fact(DisplayName = "Disks of all nodes are listed, and one is drained and used again, by its path, its id, or the beginning of that; what is not one disk is refused with those that there are")]
    public async Task Disk_verbs_work()
    {
        await OkAsync("/disks/2", "disk", "list");
        await OkAsync("in-use", "disk", "list", "--node", "node-1");
        await OkAsync("is draining: 7 segments are left on it.", "disk", "drain", "node-1", "/disks/2");
        await OkAsync("/disks/2: draining", "node", "show", "node-1");
        await OkAsync("at /disks/2, is in-use.", "disk", "undrain", "node-1", "112e2d3c");
        await OkAsync("at /disks/1, is draining", "disk", "drain", "node-1", "111e2d3c4b5a69788796a5b4c3d2e1f0");
        await FailsAsync(ExitCode.NotFound, "Node node-1 has no disk '/disks/3'; it has", "disk", "drain", "node-1", "/disks/3");
        await FailsAsync(ExitCode.NotFound, "Node node-1 has no disk '11'", "disk", "drain", "node-1", "11");
        await FailsAsync(ExitCode.Conflict, "is the store's home", "disk", "drain", "node-1", "/var/lib/store");
        await FailsAsync(ExitCode.NotFound, "Did you mean \"node-1\"?", "disk", "drain", "nod-1", "/disks/2");
        await FailsAsync(ExitCode.NotFound, "There is no node", "disk", "list", "--node", "other");
        _control.SetNode("node-1", node => node with { State = "unreachable", Disks = [] });
        await FailsAsync(ExitCode.Unreachable, "Node node-1 is unreachable: its disks are not known until it is up again.", "disk", "drain", "node-1", "/disks/2");
        await OkAsync("Node node-1 is unreachable: its disks are not known until it is up again.", "disk", "list");
    }

    private async Task FailsAsync(int code, string sentence, params string[] args)
    {
        var (exit, output, error) = await RunAsync(args);
        Assert.True(code == exit, $"{exit}: {output}{error}");
        Assert.Contains(sentence, error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A drain for a restart leaves the node as cordoned as it was, also when it gives up")]
    public async Task Drain_for_a_restart()
    {
        await RunAsync("volume", "create", "a", "--size", "1GiB");
        _control.StuckDrain = true;
        var (exit, _, error) = await RunAsync("node", "drain", "node-0", "--timeout", "1ms", "--for-restart");
        Assert.Equal(ExitCode.Unreachable, exit);
        Assert.Contains("still serves 1 volumes after 0 s; its stop hands them over", error, StringComparison.Ordinal);
        Assert.False(_control.IsCordoned("node-0"));
        _control.StuckDrain = false;
        await OkAsync("Node node-0 is drained: it serves no volume.", "node", "drain", "node-0", "--for-restart");
        Assert.False(_control.IsCordoned("node-0"));
        await RunAsync("node", "cordon", "node-0");
        await OkAsync("Node node-0 is drained", "node", "drain", "node-0", "--for-restart");
        Assert.True(_control.IsCordoned("node-0"));
    }

    [Fact(DisplayName = "A drain for a restart that is interrupted, or fails half-way, uncordons what it cordoned and says so; a cordon that was there stays")]
    public async Task Interrupted_drain_for_a_restart()
    {
        await RunAsync("volume", "create", "a", "--size", "1GiB");
        _control.StuckDrain = true;
        using (var stop = new CancellationTokenSource())
        {
            _control.Drained = stop.Cancel;
            var (exit, _, error) = await RunAsync(["node", "drain", "node-0", "--for-restart"], stop.Token);
            Assert.Equal(ExitCode.Interrupted, exit);
            Assert.Contains("Cancelled; what has left node node-0 stays where it is.", error, StringComparison.Ordinal);
            Assert.Contains("Node node-0 is not cordoned.", error, StringComparison.Ordinal);
            Assert.False(_control.IsCordoned("node-0"));
        }
        // The first step is answered, the next one is not.
        _control.Drained = () => _control.Failure = new ControlFailure(ControlStatus.Unavailable, "no quorum");
        var (failed, _, said) = await RunAsync("node", "drain", "node-0", "--for-restart");
        Assert.Equal(ExitCode.Unreachable, failed);
        Assert.Contains("no quorum", said, StringComparison.Ordinal);
        Assert.Contains("may still be cordoned until it starts the next time, or `myrmidon node uncordon node-0`", said, StringComparison.Ordinal);
        _control.Failure = null;
        _control.Drained = null;

        await RunAsync("node", "cordon", "node-0");
        using (var stop = new CancellationTokenSource())
        {
            _control.Drained = stop.Cancel;
            var (exit, _, error) = await RunAsync(["node", "drain", "node-0", "--for-restart"], stop.Token);
            Assert.Equal(ExitCode.Interrupted, exit);
            Assert.Contains("Node node-0 stays cordoned, as it was.", error, StringComparison.Ordinal);
            Assert.True(_control.IsCordoned("node-0"));
        }
        _control.Drained = null;
        Assert.DoesNotContain("cordoned", (await RunAsync("node", "drain", "no", "--for-restart")).Error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "The status is a check only when it is asked to be one")]
    public async Task Status_check()
    {
        await OkAsync("2 of 2 up", "status", "--check");
        await OkAsync("node-0, node-1 (unreachable)", "status");
        _control.ClusterState = "degraded";
        Assert.Equal(ExitCode.Ok, (await RunAsync("status")).Exit);
        Assert.Equal(ExitCode.Failure, (await RunAsync("status", "--check")).Exit);
    }

    [Fact(DisplayName = "A volume of one copy says so wherever it is shown")]
    public async Task Single_copy_is_labelled()
    {
        await OkAsync("It has a single copy", "volume", "create", "one", "--size", "1GiB", "--replicas", "1");
        await OkAsync("1/1 in sync (single copy)", "volume", "list");
        await OkAsync("1/1 in sync (single copy)", "volume", "show", "one");
    }

    [Fact(DisplayName = "JSON output is the API's answer, and YAML says the same")]
    public async Task Formats_agree()
    {
        await RunAsync("volume", "create", "db", "--size", "1GiB");
        var (_, json, _) = await RunAsync("volume", "show", "db", "-o", "json");
        var volume = JsonNode.Parse(json)!;
        Assert.Equal(("node-0", 1073741824, "in-sync"),
            ((string)volume["owner"]!, (long)volume["sizeBytes"]!, (string)volume["replicas"]![0]!["state"]!));
        var (_, yaml, _) = await RunAsync("volume", "show", "db", "-o", "yaml");
        Assert.Contains("sizeBytes: 1073741824\n", yaml, StringComparison.Ordinal);
        Assert.Contains("- node: node-0\n", yaml, StringComparison.Ordinal);
        var (_, list, _) = await RunAsync("volume", "list", "-o", "json");
        Assert.Single(JsonNode.Parse(list)!.AsArray());
    }

    [Theory(DisplayName = "Exit codes and sentences say what was wrong")]
    [InlineData(ExitCode.Usage, "'lst' is not something that 'myrmidon volume' takes.", "volume", "lst")]
    [InlineData(ExitCode.Usage, "Did you mean 'myrmidon volume list'?", "volume", "lst")]
    [InlineData(ExitCode.Usage, "myrmidon: '-o json' goes behind the verb: 'myrmidon volume list -o json'.\nSee 'myrmidon volume list --help'.", "-o", "json", "volume", "list")]
    [InlineData(ExitCode.Usage, "'--output=json' goes behind the verb: 'myrmidon volume list --output=json'.\nSee", "--output=json", "volume", "list")]
    [InlineData(ExitCode.Usage, "'--endpoint http://x:1' goes behind the verb: 'myrmidon volume list --endpoint http://x:1'.\nSee", "--endpoint", "http://x:1", "volume", "list")]
    [InlineData(ExitCode.Usage, "'-o json' goes behind the verb: 'myrmidon status -o json'.\nSee", "-o", "json", "status")]
    [InlineData(ExitCode.Usage, "'-o json' goes behind a verb: 'myrmidon volume ... -o json'.", "-o", "json", "volume")]
    [InlineData(ExitCode.Usage, "Option '--size' is required.", "volume", "create", "db")]
    [InlineData(ExitCode.Usage, "write GiB (1024-based)", "volume", "create", "db", "--size", "10G")]
    [InlineData(ExitCode.Usage, "There is no job 'wirte': use write,read,seqwrite,seqread,fsync,mix.", "bench", "--jobs", "wirte")]
    [InlineData(ExitCode.Usage, "--depth 0 is out of range: use 1 to 256.", "bench", "--depth", "0")]
    [InlineData(ExitCode.Usage, "'1000' is not a block size", "bench", "--block-size", "1000")]
    [InlineData(ExitCode.Usage, "--overwrite says that a volume's data may be lost: name that volume with --volume.", "bench", "--overwrite")]
    [InlineData(ExitCode.Usage, "--replicas is for a volume of the bench's own", "bench", "--volume", "db", "--replicas", "2")]
    [InlineData(ExitCode.Usage, "The volume name \"Db\"", "volume", "show", "Db")]
    [InlineData(ExitCode.Usage, "The label 'a' is given twice", "volume", "create", "db", "--size", "1GiB", "--label", "a=1", "--label",
        "a=2")]
    [InlineData(ExitCode.Usage, "'nolabel' is not a label", "volume", "create", "db", "--size", "1GiB", "--label", "nolabel")]
    [InlineData(ExitCode.Usage, "The output format 'xml' is not known", "volume", "list", "-o", "xml")]
    [InlineData(ExitCode.Usage, "--replicas 9 is out of range: use 1 to 5.", "volume", "create", "db", "--size", "1GiB", "--replicas", "9")]
    [InlineData(ExitCode.NotFound, "There is no volume \"db\".", "volume", "show", "db")]
    [InlineData(ExitCode.NotFound, "Did you mean \"node-1\"?", "node", "show", "node-12")]
    [InlineData(ExitCode.NotFound, "Did you mean \"node-1\"?", "node", "drain", "node-12")]
    [InlineData(ExitCode.Usage, "--timeout soon is not a time: write a duration such as", "node", "drain", "node-1", "--timeout", "soon")]
    [InlineData(ExitCode.Usage, "--timeout 0s is too short: use 1ms or more.", "node", "drain", "node-1", "--timeout", "0s")]
    [InlineData(ExitCode.Usage, "--timeout 5 minutes is not a time: write a duration such as", "volume", "wait", "db", "--timeout", "5 minutes")]
    [InlineData(ExitCode.Conflict, "3 copies need 3 nodes", "volume", "create", "db", "--size", "1GiB", "--replicas", "3")]
    public async Task Failures_are_told(int code, string sentence, params string[] args)
    {
        var (exit, output, error) = await RunAsync(args);
        Assert.True(code == exit, $"{exit}: {output}{error}");
        Assert.Contains(sentence, error, StringComparison.Ordinal);
        Assert.Equal("", output);
    }

    [Fact(DisplayName = "Every option that takes a number, size or time says so when it gets something else, and names itself or what it got")]
    public void Words_for_numbers()
    {
        var seen = 0;
        foreach (var (path, command) in CommandsOf([], CommandLine.Build()))
        {
            foreach (var option in command.Options.Where(option => IsNumber(option.ValueType)))
            {
                seen++;
                // Without what it can't do without, a command says nothing of the rest.
                var needed = command.Options.Where(other => (other.Required || other.Name == "--size") && other != option).SelectMany(other => (string[])[other.Name, IsNumber(other.ValueType) ? "1GiB" : "db"]);
                string[] args = [.. path, .. command.Arguments.Where(argument => argument.Arity.MinimumNumberOfValues > 0).Select(_ => "db"), .. needed, option.Name, "many"];
                var told = CommandLine.Build().Parse(args).Errors.Select(error => error.Message).Where(error => error.Contains("many", StringComparison.Ordinal)).ToList();
                Assert.True(told.Count == 1 && !told[0].Contains("System.", StringComparison.Ordinal), $"{string.Join(' ', args)}: {string.Join(" | ", told)}");
            }
        }
        Assert.True(seen > 20, $"{seen} options");
    }

    private static IEnumerable<(string[] Path, System.CommandLine.Command Command)> CommandsOf(string[] path, System.CommandLine.Command command) =>
        command.Subcommands.SelectMany(child => CommandsOf([.. path, child.Name], child)).Prepend((path, command));

    private static bool IsNumber(Type type) => Nullable.GetUnderlyingType(type) is { } inner ? IsNumber(inner) : type == typeof(TimeSpan) || (type.IsPrimitive && type != typeof(bool));

    [Fact(DisplayName = "A volume that was not found gets the nearest name")]
    public async Task Near_volume_is_suggested()
    {
        await RunAsync("volume", "create", "database", "--size", "1GiB");
        var (exit, _, error) = await RunAsync("volume", "show", "databse");
        Assert.Equal(ExitCode.NotFound, exit);
        Assert.Contains("Did you mean \"database\"?", error, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A cluster that can't do it now, and one that is not there, are exit code 5")]
    public async Task Unreachable_is_told()
    {
        _control.Failure = new ControlFailure(ControlStatus.Unavailable, "There is no leader.");
        Assert.Equal(ExitCode.Unreachable, (await RunAsync("status")).Exit);
        using var error = new CapturedText();
        var exit = await CommandLine.RunAsync(["status", "--endpoint", "http://127.0.0.1:1"], TextWriter.Null, error);
        Assert.Equal(ExitCode.Unreachable, exit);
        Assert.Contains("No node answers at http://127.0.0.1:1", error.ToString(), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Every verb has a help page that ends with an example")]
    public async Task Every_verb_has_help()
    {
        var pages = 0;
        foreach (var noun in CommandLine.Build().Subcommands)
        {
            foreach (var path in VerbsOf(noun))
            {
                var (exit, output, _) = await RunAsync([.. path, "--help"]);
                Assert.Equal(ExitCode.Ok, exit);
                Assert.Contains($"\n  myrmidon {string.Join(' ', path)}", output[output.IndexOf("Example", StringComparison.Ordinal)..],
                    StringComparison.Ordinal);
                Assert.DoesNotContain("[default:", output, StringComparison.Ordinal);
                pages++;
            }
        }
        Assert.True(pages >= 18);
    }

    /// <summary>Of a noun, or of a noun's noun.</summary>
    private static IEnumerable<string[]> VerbsOf(System.CommandLine.Command command) => command.Subcommands.Count == 0 ? [[command.Name]]
        : command.Subcommands.SelectMany(VerbsOf).Select(path => (string[])[command.Name, .. path]);

    private async Task OkAsync(string sentence, params string[] args)
    {
        var (exit, output, error) = await RunAsync(args);
        Assert.True(exit == ExitCode.Ok, $"{exit}: {output}{error}");
        Assert.Contains(sentence, output, StringComparison.Ordinal);
    }

    private Task<(int Exit, string Output, string Error)> RunAsync(params string[] args) => RunAsync(args, CancellationToken.None);

    private async Task<(int Exit, string Output, string Error)> RunAsync(string[] args, CancellationToken cancellation)
    {
        using var output = new CapturedText();
        using var error = new CapturedText();
        var exit = await CommandLine.RunAsync(args.Contains("--help") ? args
            : [.. args, "--endpoint", _server.Address.ToString()], output, error, cancellation);
        return (exit, output.ToString(), error.ToString());
    }
}
