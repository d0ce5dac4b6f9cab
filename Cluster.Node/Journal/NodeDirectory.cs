using Cluster.Node.Journal.Format;
using Microsoft.Extensions.Logging;

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

/// <summary>Another process runs under this node's identity: this one must not.</summary>
public sealed class NodeTwinException(string message) : Exception(message);

/// <summary>
/// The nodes of the cluster, as keys "node/NAME" of the journal. A name is of one node and a node has one name: who registers keeps to that. Journals of earlier versions may have
/// one node under two names all the same; the newer record counts then, and the node's next start takes the other one away. Thread-safe.
/// </summary>
/// <param name="logger">Hears of nodes with two names; null: nobody does.</param>
public sealed partial class NodeDirectory(IMetaLog log, ILogger? logger = null)
{
    private const string Prefix = "node/";

    /// <summary>Of nodes that were taken out for good: the id as 32 digits, behind it. Goes when the node registers again, and once it is no member of the control group.</summary>
    private const string RemovedPrefix = "removed-node/";

    /// <summary>A live node may be too busy to answer once.</summary>
    private const int AsksMax = 3;

    private string _said = "";

    /// <summary>
    /// Writes this node's record if it is new or changed, and answers an empty text; or one sentence that says why the node must not have that name. Waits for a leader as long as it takes.
    /// </summary>
    /// <param name="isUp">Whether the very node of a record answers now: the name of one that does is not given to another.</param>
    /// <param name="isTwinAt">Whether another process answers there as the very node that is registered: an identity is not given to two.</param>
    /// <param name="nameOfDirectory">As the control group has it for the identity in the data directory; null: it is no member.</param>
    public async Task<string> RegisterNodeAsync(
        NodeRecord record, Func<NodeRecord, CancellationToken, Task<bool>> isUp, Func<JournalAddress, CancellationToken, Task<bool>> isTwinAt, string? nameOfDirectory,
        CancellationToken ct)
    {
        while (true)
        {
            try
            {
                if (await TryRegisterAsync(record, isUp, isTwinAt, nameOfDirectory, ct).ConfigureAwait(false) is { } end) return end;
            }
            catch (MetaLogUnavailableException) when (!ct.IsCancellationRequested)
            {
                ct.ThrowIfCancellationRequested();           // no leader within the operation's limit: it was a wait already, go on
            }
        }
    }

    /// <summary>All nodes that ever registered, by name; each once.</summary>
    public async Task<IReadOnlyList<NodeRecord>> ListAsync(CancellationToken ct)
    {
        var entries = await EntriesAsync(ct).ConfigureAwait(false);
        var newest = entries.GroupBy(entry => entry.Record.NodeId).ToDictionary(names => names.Key, names => names.MaxBy(entry => entry.Version)!.Record);
        if (newest.Count < entries.Count) SayDoubles(entries, newest);
        return [.. entries.Select(entry => entry.Record).Where(record => ReferenceEquals(newest[record.NodeId], record))];
    }

    /// <summary>Nodes that were taken out for good and may have a part in the control group still.</summary>
    public async Task<IReadOnlySet<Guid>> ListRemovedAsync(CancellationToken ct) =>
        (await log.ReadKeysAsync(RemovedPrefix, ct).ConfigureAwait(false)).Select(key => Guid.ParseExact(key.Key[RemovedPrefix.Length..], "N")).ToHashSet();

    /// <summary>A node that is gone for good has no record any more, and no vote in the control group is kept for it. Idempotent; throws <see cref="MetaLogUnavailableException"/>.</summary>
    public async Task RemoveAsync(Guid nodeId, CancellationToken ct)
    {
        // Before the note: a record that is there beside it is of a node that has come back since.
        foreach (var entry in (await EntriesAsync(ct).ConfigureAwait(false)).Where(entry => entry.Record.NodeId == nodeId))
        {
            // If it has just changed the node is there again, and its record stays.
            await SetAsync(entry.Record.Name, entry.Version, null, ct).ConfigureAwait(false);
        }
        var key = RemovedPrefix + nodeId.ToString("N");
        while (await log.ReadKeyAsync(key, ct).ConfigureAwait(false) is null)
        {
            if (await SetKeyAsync(key, 0, [1], ct).ConfigureAwait(false)) break;
        }
    }

    /// <summary>
    /// Deletes the notes of removed nodes that are of no use any more: what they were for is done once the node has no part in the control group, and one that is registered again is not removed, but would lose
    /// its vote with its next short silence. Throws <see cref="MetaLogUnavailableException"/>.
    /// </summary>
    /// <param name="isMember">Of the control group, as its leader has it.</param>
    public async Task ForgetRemovedAsync(Func<Guid, bool> isMember, CancellationToken ct)
    {
        var notes = await log.ReadKeysAsync(RemovedPrefix, ct).ConfigureAwait(false);
        if (notes.Count == 0) return;
        // Read after the notes: a removal that is under way takes the record first.
        var registered = (await EntriesAsync(ct).ConfigureAwait(false)).Select(entry => entry.Record.NodeId).ToHashSet();
        foreach (var note in notes)
        {
            var id = Guid.ParseExact(note.Key[RemovedPrefix.Length..], "N");
            if (!isMember(id) || registered.Contains(id)) await SetKeyAsync(note.Key, note.Version, null, ct).ConfigureAwait(false);
        }
    }

    public async Task<NodeRecord?> FindAsync(string name, CancellationToken ct) =>
        await log.ReadKeyAsync(Prefix + name, ct).ConfigureAwait(false) is { } key ? NodeRecord.Decode(key.Value) : null;

    /// <summary>As <see cref="RegisterNodeAsync"/>; null: something changed meanwhile, look again.</summary>
    private async Task<string?> TryRegisterAsync(
        NodeRecord record, Func<NodeRecord, CancellationToken, Task<bool>> isUp, Func<JournalAddress, CancellationToken, Task<bool>> isTwinAt, string? nameOfDirectory,
        CancellationToken ct)
    {
        var entries = await EntriesAsync(ct).ConfigureAwait(false);
        var holder = entries.FirstOrDefault(entry => entry.Record.Name == record.Name);
        var others = entries.Where(entry => entry.Record.NodeId == record.NodeId && entry.Record.Name != record.Name).ToArray();
        var isOurs = holder?.Record.NodeId == record.NodeId;
        var former = others.FirstOrDefault(entry => !isOurs || entry.Record.Name == nameOfDirectory);
        if (former is not null) return $"This data directory is of node '{former.Record.Name}': start it with --name {former.Record.Name}, or give '{record.Name}' an empty --data.";
        if (holder is not null && !isOurs && await AnswersAsync(holder.Record, isUp, ct).ConfigureAwait(false))
        {
            return $"The name '{record.Name}' belongs to the node at {holder.Record.Host}:{holder.Record.JournalPort} ({holder.Record.NodeId}), which is up; "
                + $"give this one ({record.NodeId}) another --name.";
        }
        if (isOurs && MovedFrom(holder!.Record, record) is { } before && await isTwinAt(before, ct).ConfigureAwait(false)) return TwinText(record.Name, before);
        // First, so that a crash in between leaves one name, or both as they were.
        foreach (var other in others)
        {
            if (!await SetAsync(other.Record.Name, other.Version, null, ct).ConfigureAwait(false)) return null;
        }
        var removed = RemovedPrefix + record.NodeId.ToString("N");
        if (await log.ReadKeyAsync(removed, ct).ConfigureAwait(false) is { } note && !await SetKeyAsync(removed, note.Version, null, ct).ConfigureAwait(false)) return null;
        return holder?.Record == record || await SetAsync(record.Name, holder?.Version ?? 0, record.Encode(), ct).ConfigureAwait(false) ? "" : null;
    }

    /// <summary>One sentence for a node whose identity another process has.</summary>
    public static string TwinText(string name, JournalAddress address) =>
        $"The node with this data directory, {name}, runs at {address} already: this directory is a copy of that one's, or was copied to it. Give this node an empty --data and a --name of its own, or stop that one.";

    private static JournalAddress? MovedFrom(NodeRecord before, NodeRecord now) =>
        before.Host == now.Host && before.JournalPort == now.JournalPort ? null : new JournalAddress(before.Host, before.JournalPort);

    /// <summary>Bounded by the time of so many asks.</summary>
    private static async Task<bool> AnswersAsync(NodeRecord node, Func<NodeRecord, CancellationToken, Task<bool>> isUp, CancellationToken ct)
    {
        for (var ask = 0; ask < AsksMax; ask++)
        {
            if (await isUp(node, ct).ConfigureAwait(false)) return true;
        }
        return false;
    }

    /// <param name="value">Null deletes.</param>
    private Task<bool> SetAsync(string name, long version, byte[]? value, CancellationToken ct) => SetKeyAsync(Prefix + name, version, value, ct);

    private async Task<bool> SetKeyAsync(string key, long version, byte[]? value, CancellationToken ct)
    {
        var answer = await log.ProposeAsync(new MetaCommand.SetKey(key, version, value), ct).ConfigureAwait(false);
        return answer.Status == MetaAnswerStatus.Full ? throw new MetaLogUnavailableException("the metadata journal is full") : answer.IsOk;
    }

    private async Task<IReadOnlyList<Entry>> EntriesAsync(CancellationToken ct)
    {
        var keys = await log.ReadKeysAsync(Prefix, ct).ConfigureAwait(false);
        return [.. keys.Select(key => new Entry(key.Version, NodeRecord.Decode(key.Value)))];
    }

    /// <summary>Once, not at every look.</summary>
    private void SayDoubles(IReadOnlyList<Entry> entries, Dictionary<Guid, NodeRecord> newest)
    {
        var all = string.Join("; ", entries.Select(entry => entry.Record).Where(record => !ReferenceEquals(newest[record.NodeId], record))
            .Select(record => $"{record.NodeId} is '{newest[record.NodeId].Name}' and was '{record.Name}'"));
        if (logger is null || Interlocked.Exchange(ref _said, all) == all) return;
        LogDoubles(logger, all);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "the directory of nodes has nodes under two names, of which the newer counts until they start the next time: {Doubles}")]
    private static partial void LogDoubles(ILogger logger, string doubles);

    private sealed record Entry(long Version, NodeRecord Record);
}
