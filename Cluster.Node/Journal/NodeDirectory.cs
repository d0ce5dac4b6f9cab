using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal;

/// <summary>Where a node is to be found. Registered by the node itself at each start.</summary>
public sealed record NodeRecord(string Name, Guid NodeId, string Host, int ApiPort, int MeshPort, int JournalPort, int RemotePort)
{
    /// <summary>Failure domain, or empty.</summary>
    public string Zone { get; init; } = "";

    private const byte Version = 1;

    internal byte[] Encode() => new JournalWriter().U8(Version).Text(Name).Id(NodeId).Text(Host)
        .I32(ApiPort).I32(MeshPort).I32(JournalPort).I32(RemotePort).Text(Zone).ToArray();

    internal static NodeRecord Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var version = reader.U8();
        if (version != Version) throw new JournalFormatException($"node record version {version} is not known to this program");
        var record = new NodeRecord(reader.Text(), reader.Id(), reader.Text(), reader.I32(), reader.I32(), reader.I32(), reader.I32())
        {
            Zone = reader.Text(),
        };
        reader.End();
        return record;
    }
}

/// <summary>The nodes of the cluster, as keys "node/NAME" of the journal. Thread-safe.</summary>
public sealed class NodeDirectory(IMetaLog log)
{
    private const string Prefix = "node/";

    /// <summary>Writes this node's record if it is new or changed. Waits for a leader as long as it takes.</summary>
    public async Task RegisterNodeAsync(NodeRecord record, CancellationToken ct)
    {
        var value = record.Encode();
        while (true)
        {
            try
            {
                var known = await log.ReadKeyAsync(Prefix + record.Name, ct).ConfigureAwait(false);
                if (known is not null && known.Value.AsSpan().SequenceEqual(value)) return;
                var answer = await log.ProposeAsync(new MetaCommand.SetKey(Prefix + record.Name, known?.Version ?? 0, value), ct)
                    .ConfigureAwait(false);
                if (answer.IsOk) return;
                if (answer.Status == MetaAnswerStatus.Full) throw new MetaLogUnavailableException("the metadata journal is full");
            }
            catch (MetaLogUnavailableException) when (!ct.IsCancellationRequested)
            {
                ct.ThrowIfCancellationRequested();           // no leader within the operation's limit: it was a wait already, go on
            }
        }
    }

    /// <summary>All nodes that ever registered, by name.</summary>
    public async Task<IReadOnlyList<NodeRecord>> ListAsync(CancellationToken ct)
    {
        var keys = await log.ReadKeysAsync(Prefix, ct).ConfigureAwait(false);
        return [.. keys.Select(k => NodeRecord.Decode(k.Value))];
    }

    public async Task<NodeRecord?> FindAsync(string name, CancellationToken ct) =>
        await log.ReadKeyAsync(Prefix + name, ct).ConfigureAwait(false) is { } key ? NodeRecord.Decode(key.Value) : null;
}
