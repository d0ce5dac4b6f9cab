using System.Collections.Immutable;
using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Node.Ingress;
using Cluster.Node.Journal;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// The nodes of the cluster, as each registered itself in the journal: kept at hand for the mesh and for whoever needs a name for an
/// address. Any thread.
/// </summary>
public sealed partial class PeerDirectory(NodeDirectory nodes, Action<IEnumerable<MeshPeerInfo>> update, ILogger<PeerDirectory> logger)
    : IAsyncDisposable
{
    /// <summary>The directory is read this often without cause, and at once when asked.</summary>
    private static readonly TimeSpan ReadEvery = TimeSpan.FromSeconds(2);

    private readonly SemaphoreSlim _asked = new(0, 1);
    private readonly CancellationTokenSource _stop = new();
    private Task _running = Task.CompletedTask;
    private volatile OwnRecord? _own;
    private volatile ImmutableDictionary<Address, NodeRecord> _byAddress = ImmutableDictionary<Address, NodeRecord>.Empty;

    /// <summary>This node's own record, which is kept there from when it is set on.</summary>
    public OwnRecord? Own { get => _own; set => _own = value; }

    public void Start() => _running = Task.Run(RunAsync);

    /// <summary>Somebody appeared or is not known.</summary>
    public void ReadSoon()
    {
        if (_asked.CurrentCount > 0) return;
        try
        {
            _asked.Release();
        }
        catch (SemaphoreFullException)
        {
            // Another thread asked in the same moment.
        }
    }

    /// <summary>Null for a stranger.</summary>
    public string? NameOf(Address address)
    {
        if (_byAddress.TryGetValue(address, out var record)) return record.Name;
        ReadSoon();
        return null;
    }

    /// <summary>Null for a stranger.</summary>
    public string? NameOf(NodeId node) => _byAddress.Values.FirstOrDefault(known => known.NodeId == node.Value)?.Name;

    /// <summary>Null for a stranger.</summary>
    public NodeId? NodeOf(string name) => _byAddress.Values.FirstOrDefault(known => known.Name == name) is { } record ? new NodeId(record.NodeId) : null;

    /// <summary>All nodes.</summary>
    public IEnumerable<(NodeId Node, Address Address)> Nodes => _byAddress.Select(known => (new NodeId(known.Value.NodeId), known.Key));

    /// <summary>As they registered.</summary>
    public IEnumerable<NodeRecord> Records => _byAddress.Values;

    /// <summary>The node with that address, or null.</summary>
    public NodeId? NodeOf(Address address) => _byAddress.TryGetValue(address, out var record) ? new NodeId(record.NodeId) : null;

    /// <summary>The node's address as a cluster member, or null.</summary>
    public Address? AddressOf(NodeId node) => _byAddress.FirstOrDefault(known => known.Value.NodeId == node.Value).Key;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    /// <summary>Reads once and tells the mesh; again if this node's own record had to be written.</summary>
    public async Task ReadAsync(CancellationToken cancellation)
    {
        var records = await nodes.ListAsync(cancellation);
        if (_own is { } own && await own.KeepAsync(records, cancellation)) records = await nodes.ListAsync(cancellation);
        // Of two records with one address the directory's order is by name; the mesh finds out who really answers.
        _byAddress = records.DistinctBy(AddressOf).ToImmutableDictionary(AddressOf);
        update(records.Select(record => new MeshPeerInfo(new NodeId(record.NodeId), record.Name, record.Host, record.MeshPort)));
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            await ((Task)_asked.WaitAsync(ReadEvery, _stop.Token)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (_stop.IsCancellationRequested) return;
            try
            {
                await ReadAsync(_stop.Token);
            }
            catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
            {
                LogNotRead(e.Message);
            }
        }
    }

    private static Address AddressOf(NodeRecord record) => new("akka.tcp", AkkaSettings.SystemName, record.Host, record.RemotePort);

    [LoggerMessage(Level = LogLevel.Debug, Message = "the directory of nodes was not read: {Reason}")]
    private partial void LogNotRead(string reason);
}
