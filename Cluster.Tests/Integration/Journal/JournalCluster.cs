using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Cluster.Node.Journal;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Integration.Journal;

/// <summary>Journal nodes in this process, on ephemeral ports and a temporary directory that goes with it.</summary>
internal sealed class JournalCluster : IAsyncDisposable
{
    /// <summary>Longest wait for anything, on any machine.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(120);

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-journal-").FullName;
    private readonly int[] _ports;
    private readonly JournalAddress[] _seeds;
    private readonly int _expect;

    public JournalCluster(int nodes, int? expect = null)
    {
        _expect = expect ?? nodes;
        _ports = FreePorts(nodes);
        _seeds = [.. _ports.Take(_expect).Select(p => new JournalAddress("127.0.0.1", p))];
        Nodes = new JournalNode?[nodes];
    }

    public JournalNode?[] Nodes { get; }

    public Func<int, AkkaSelfSource>? Akka { get; init; }

    public delegate Cluster.Node.Journal.Net.AkkaSelf? AkkaSelfSource();

    public JournalNode Start(int i)
    {
        var akka = Akka?.Invoke(i);
        var node = JournalNode.Start(Options(i), NullLoggerFactory.Instance, akka is null ? null : () => akka());
        Nodes[i] = node;
        return node;
    }

    public JournalOptions Options(int i) => new()
    {
        DataDirectory = Path.Combine(_directory, $"node-{i}"),
        NodeName = $"node-{i}",
        ListenPort = _ports[i],
        Seeds = _expect == 1 && Nodes.Length == 1 ? [] : _seeds,
        BootstrapExpect = i < _expect ? _expect : 0,
        GroupPauseMs = 50,
        ReplaceAfterMs = ReplaceAfterMs,
    };

    public long ReplaceAfterMs { get; init; } = 600_000;

    /// <summary>Starts a node and writes it into the node directory, as a whole node does.</summary>
    public async Task StartRegisteredAsync(int i)
    {
        await Start(i).Formed.WaitAsync(Patience);
        await RegisterAsync(i);
    }

    public async Task RegisterAsync(int i)
    {
        var node = Nodes[i]!;
        var record = new NodeRecord($"node-{i}", node.NodeId, node.Address.Host, 1, 2, node.Address.Port, 4);
        Assert.Equal("", await new NodeDirectory(node.Log).RegisterNodeAsync(record, node.IsUpAsync, node.IsTwinAtAsync, node.NameInGroup, CancellationToken.None).WaitAsync(Patience));
    }

    /// <summary>Waits until the leader's group is these voters and nobody else, all of whom are heard and keep up.</summary>
    public async Task<GroupView> GroupAsync(params string[] voters)
    {
        var started = Stopwatch.GetTimestamp();
        var last = "nothing";
        while (Stopwatch.GetElapsedTime(started) < Patience)
        {
            var log = Nodes.First(n => n is not null)!.Log;
            try
            {
                var view = await log.ReadMembersAsync(CancellationToken.None);
                var names = view.Members.All.Where(m => m.IsVoter).Select(m => m.Node.Name).Order(StringComparer.Ordinal);
                var isComplete = names.SequenceEqual(voters) && view.Members.All.Length == voters.Length;
                if (isComplete && view.Progress.All(p => p.CaughtUp)) return view;
                last = $"{string.Join(", ", view.Members.All)} {string.Join(", ", view.Progress)}";
            }
            catch (MetaLogUnavailableException e)
            {
                last = e.Message;
            }
            await Task.Delay(20);
        }
        throw new TimeoutException($"the group did not become {string.Join(", ", voters)}: {last}");
    }

    public async Task StartAllAsync()
    {
        for (var i = 0; i < Nodes.Length; i++) Start(i);
        await Task.WhenAll(Nodes.Select(n => n!.Formed)).WaitAsync(TimeSpan.FromSeconds(20));
    }

    /// <summary>The number of the node that leads, once one does.</summary>
    public async Task<int> LeaderAsync()
    {
        var started = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(started) < TimeSpan.FromSeconds(20))
        {
            var leader = Array.FindIndex(Nodes, n => n?.Log.Status.Role == MetaLogRole.Leader);
            if (leader >= 0) return leader;
            await Task.Delay(5);
        }
        throw new TimeoutException("no leader");
    }

    public async Task StopAsync(int i)
    {
        if (Nodes[i] is { } node) await node.DisposeAsync();
        Nodes[i] = null;
    }

    public async ValueTask DisposeAsync()
    {
        for (var i = 0; i < Nodes.Length; i++) await StopAsync(i);
        Directory.Delete(_directory, recursive: true);
    }

    public static int[] FreePorts(int count)
    {
        var listeners = Enumerable.Range(0, count).Select(_ => new TcpListener(IPAddress.Loopback, 0)).ToArray();
        foreach (var l in listeners) l.Start();
        var ports = listeners.Select(l => ((IPEndPoint)l.LocalEndpoint).Port).ToArray();
        foreach (var l in listeners) l.Dispose();
        return ports;
    }
}
