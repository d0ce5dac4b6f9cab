using System.Collections.Immutable;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.Group;

/// <summary>Connections to the other servers of the group, by their numbers. One thread changes them; any thread sends.</summary>
internal sealed class PeerRoutes(Func<RaftMember, PeerSender> connect) : IAsyncDisposable
{
    private volatile ImmutableDictionary<int, PeerSender> _senders = ImmutableDictionary<int, PeerSender>.Empty;

    /// <summary>Best effort: what can't be sent is said again by Raft.</summary>
    public void Send(RaftMessage message)
    {
        if (_senders.TryGetValue(message.To, out var sender)) sender.Send(message);
    }

    /// <summary>Connects to all of these servers and leaves the others.</summary>
    public async Task SetAsync(IReadOnlyCollection<RaftMember> servers)
    {
        var before = _senders;
        var numbers = servers.Select(s => s.Number).ToHashSet();
        var added = servers.Where(s => !before.ContainsKey(s.Number)).DistinctBy(s => s.Number);
        _senders = before.RemoveRange(before.Keys.Where(n => !numbers.Contains(n)))
            .AddRange(added.Select(s => KeyValuePair.Create(s.Number, connect(s))));
        foreach (var (number, sender) in before)
            if (!numbers.Contains(number)) await sender.DisposeAsync().ConfigureAwait(false);
    }

    public async ValueTask DisposeAsync() => await SetAsync([]).ConfigureAwait(false);
}
