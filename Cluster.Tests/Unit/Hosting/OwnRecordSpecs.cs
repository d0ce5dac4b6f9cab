using Cluster.Node.Hosting.Membership;
using Cluster.Node.Journal;
using Cluster.Tests.Integration.Journal;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Hosting;

public sealed class OwnRecordSpecs
{
    private static readonly NodeRecord One = Record(1, "one");

    private readonly StateLog _log = new();
    private readonly HashSet<Guid> _up = [];
    private readonly HashSet<JournalAddress> _twins = [];
    private readonly ManualTime _time = new();

    [Fact(DisplayName = "A data directory of another name is refused with both names, and nothing is written")]
    public async Task Directory_of_another_name()
    {
        Assert.Equal("", await RegisterAsync(One));
        Assert.Equal("This data directory is of node 'one': start it with --name one, or give 'other' an empty --data.", await RegisterAsync(One with { Name = "other" }));
        Assert.Equal([One], await ListAsync());
    }

    [Fact(DisplayName = "A journal that has a node under two names: the newer counts until the node starts, under whichever of the two; then the other one is gone")]
    public async Task Two_names()
    {
        foreach (var back in new[] { "one", "other" })
        {
            await WriteAsync(One with { Name = back == "one" ? "other" : "one" }, One with { Name = back, MeshPort = 7 }, Record(2, "two"));
            Assert.Equal([(One.NodeId, back, 7), (Record(2, "two").NodeId, "two", 2)], (await ListAsync()).Select(record => (record.NodeId, record.Name, record.MeshPort)));
            Assert.Equal("", await RegisterAsync(One with { Name = back }));
            Assert.Equal([back, "two"], (await _log.ReadKeysAsync("node/", default)).Select(key => key.Key["node/".Length..]));
        }
    }

    [Fact(DisplayName = "Of two names that a journal has of a node, the one that the control group knows is its data directory's")]
    public async Task Two_names_of_a_member()
    {
        await WriteAsync(One, One with { Name = "other" });
        Assert.StartsWith("This data directory is of node 'one': start it with --name one", await RegisterAsync(One with { Name = "other" }, "one"), StringComparison.Ordinal);
        Assert.Equal("", await RegisterAsync(One, "one"));
        Assert.Equal([One], await ListAsync());
    }

    [Fact(DisplayName = "A node whose record another one overwrote that is gone registers itself again; while that one is up it does not")]
    public async Task Overwritten()
    {
        var (own, thief) = (Own(One), One with { NodeId = Record(2, "one").NodeId });
        Assert.Equal("", await own.RegisterAsync(default));
        await WriteAsync(thief);
        _up.Add(thief.NodeId);
        Assert.False(await own.KeepAsync(await ListAsync(), default));
        Assert.Equal([thief], await ListAsync());
        _up.Clear();
        _time.Since += OwnRecord.PauseMin;
        Assert.True(await own.KeepAsync(await ListAsync(), default));
        Assert.Equal(1, own.WrittenAnew);
        Assert.Equal([One], await ListAsync());
        Assert.False(await own.KeepAsync(await ListAsync(), default));
    }

    [Fact(DisplayName = "Two nodes that take a name from each other do it ever more seldom")]
    public async Task Bounded()
    {
        var (own, thief) = (Own(One), One with { NodeId = Record(2, "one").NodeId });
        for (var second = 0; second < 600; second++)
        {
            await WriteAsync(thief);
            await own.KeepAsync(await ListAsync(), default);
            _time.Since += TimeSpan.FromSeconds(1);
        }
        Assert.InRange(own.WrittenAnew, 10, 16);
    }

    [Fact(DisplayName = "A node that comes with another address is refused while its own identity answers at the one before, and nothing is written; then it has moved")]
    public async Task Twin()
    {
        Assert.Equal("", await RegisterAsync(One));
        _twins.Add(new JournalAddress("h", One.JournalPort));
        var moved = One with { Host = "g" };
        Assert.StartsWith($"The node with this data directory, one, runs at h:{One.JournalPort} already", await RegisterAsync(moved), StringComparison.Ordinal);
        Assert.Equal([One], await ListAsync());
        Assert.Equal("", await RegisterAsync(One));
        _twins.Clear();
        Assert.Equal("", await RegisterAsync(moved));
        Assert.Equal([moved], await ListAsync());
    }

    [Fact(DisplayName = "A removed node has no record and is noted as removed, however often it is told; if it registers again it is not")]
    public async Task Removed()
    {
        var directory = new NodeDirectory(_log);
        Assert.Equal("", await RegisterAsync(One));
        Assert.Equal("", await RegisterAsync(Record(2, "two")));
        await directory.RemoveAsync(One.NodeId, default);
        await directory.RemoveAsync(One.NodeId, default);
        Assert.Equal([Record(2, "two")], await ListAsync());
        Assert.Equal([One.NodeId], await directory.ListRemovedAsync(default));
        Assert.Equal("", await RegisterAsync(One));
        Assert.Empty(await directory.ListRemovedAsync(default));
        Assert.Equal(2, (await ListAsync()).Count);
    }

    [Fact(DisplayName = "That a node was removed is forgotten once it has no part in the control group, or is registered all the same; not before")]
    public async Task Forgotten()
    {
        var directory = new NodeDirectory(_log);
        Assert.Equal("", await RegisterAsync(Record(2, "two")));
        foreach (var number in (int[])[1, 2, 3]) await _log.ProposeAsync(new MetaCommand.SetKey($"removed-node/{Record(number, "any").NodeId:N}", 0, [1]), default);
        // One is a member still, two has come back while it was removed, three is no member.
        await directory.ForgetRemovedAsync(node => node != Record(3, "three").NodeId, default);
        Assert.Equal([One.NodeId], await directory.ListRemovedAsync(default));
        await directory.ForgetRemovedAsync(_ => false, default);
        Assert.Empty(await directory.ListRemovedAsync(default));
    }

    private OwnRecord Own(NodeRecord record) => new(record, new NodeDirectory(_log), IsUpAsync, IsTwinAtAsync, null, _time, NullLogger<OwnRecord>.Instance);

    private Task<bool> IsTwinAtAsync(JournalAddress address, CancellationToken ct) => Task.FromResult(_twins.Contains(address));

    private Task<bool> IsUpAsync(NodeRecord node, CancellationToken ct) => Task.FromResult(_up.Contains(node.NodeId));

    private Task<string> RegisterAsync(NodeRecord record, string? nameOfDirectory = null) => new NodeDirectory(_log).RegisterNodeAsync(record, IsUpAsync, IsTwinAtAsync, nameOfDirectory, default);

    private Task<IReadOnlyList<NodeRecord>> ListAsync() => new NodeDirectory(_log).ListAsync(default);

    /// <summary>Past all checks, in this order, as earlier versions did.</summary>
    private async Task WriteAsync(params NodeRecord[] records)
    {
        foreach (var record in records)
        {
            var known = await _log.ReadKeyAsync("node/" + record.Name, default);
            Assert.True((await _log.ProposeAsync(new MetaCommand.SetKey("node/" + record.Name, known?.Version ?? 0, record.Encode()), default)).IsOk);
        }
    }

    private static NodeRecord Record(int number, string name) => new(name, new Guid(number, 0, 0, new byte[8]), "h", 1, 2, 3, 4);
}
