using System.Net;
using System.Net.Sockets;
using Cluster.Node.Journal;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Journal;

/// <summary>Nodes that are told one name, as pods behind a headless service are: same port, an address each.</summary>
public sealed class NamedSeedSpecs : IAsyncDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-named-seeds-").FullName;
    private readonly int _port = JournalCluster.FreePorts(1)[0];
    private readonly List<JournalNode> _nodes = [];
    private volatile int _known;
    private int _asked;

    [Fact(DisplayName = "Nodes that are told one name form one cluster as the name gets their addresses, and a later one joins by it")]
    public async Task One_name()
    {
        for (var i = 1; i <= 3; i++) Start(i, expect: 3);
        await AskedAsync();
        Assert.DoesNotContain(_nodes, node => node.Formed.IsCompleted);
        _known = 3;
        var formed = await Task.WhenAll(_nodes.Select(node => node.Formed)).WaitAsync(JournalCluster.Patience);
        Assert.Single(formed.Select(record => record.ClusterId).Distinct());
        Assert.Equal(["127.0.0.1", "127.0.0.2", "127.0.0.3"], formed[0].Members.Select(member => member.Address.Host).Order(StringComparer.Ordinal));

        _known = 4;
        var joined = await Start(4, expect: 0).Formed.WaitAsync(JournalCluster.Patience);
        Assert.Equal(formed[0].ClusterId, joined.ClusterId);
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in _nodes) await node.DisposeAsync();
        Directory.Delete(_directory, recursive: true);
    }

    private JournalNode Start(int i, int expect)
    {
        var node = JournalNode.Start(new JournalOptions
        {
            DataDirectory = Path.Combine(_directory, $"node-{i}"),
            NodeName = $"node-{i}",
            ListenHost = $"127.0.0.{i}",
            ListenPort = _port,
            Seeds = [new JournalAddress("myrmidon", _port)],
            BootstrapExpect = expect,
            LookUp = LookUp,
        }, NullLoggerFactory.Instance);
        _nodes.Add(node);
        return node;
    }

    private Task<IPAddress[]> LookUp(string name, CancellationToken cancellation)
    {
        Interlocked.Increment(ref _asked);
        return _known == 0 ? Task.FromException<IPAddress[]>(new SocketException((int)SocketError.HostNotFound))
            : Task.FromResult(Enumerable.Range(1, _known).Select(i => IPAddress.Parse($"127.0.0.{i}")).ToArray());
    }

    /// <summary>Every node has asked for the name once more, at least.</summary>
    private async Task AskedAsync()
    {
        var until = Volatile.Read(ref _asked) + (2 * _nodes.Count);
        using var limit = new CancellationTokenSource(JournalCluster.Patience);
        while (Volatile.Read(ref _asked) < until) await Task.Delay(20, limit.Token);
    }
}
