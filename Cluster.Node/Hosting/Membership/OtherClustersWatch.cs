using Cluster.Node.Journal;
using Cluster.Node.Journal.Net;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// Looks whether nodes that are no members of this node's cluster are up in another one, which is formed when the only node that was left of the first one did not answer whoever started
/// anew. Nobody is asked as long as all registered nodes are members. Both clusters serve: the journal and epochs fence (R18); but each has a catalogue and counts the other's nodes as down.
/// </summary>
public sealed class OtherClustersWatch(JournalNode journal, PeerDirectory directory, ClusterMember member, Action<string> end) : IAsyncDisposable
{
    private static readonly TimeSpan Every = TimeSpan.FromSeconds(3);

    private readonly CancellationTokenSource _stop = new();
    private readonly OtherClusters _others = new();
    private Task _running = Task.CompletedTask;

    public void Start() => _running = Task.Run(RunAsync);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(Every);
        while (await timer.WaitForNextTickAsync(_stop.Token))
        {
            var others = await OthersAsync();
            if (!member.Self.IsUp || !_others.IsToEnd(member.UpAddresses, others)) continue;
            var names = others.Select(other => directory.NameOf(Akka.Actor.Address.Parse(other.Address)) ?? other.Address).Order(StringComparer.Ordinal);
            end($"There are two clusters of nodes, of which the other one goes on, where these are up: {string.Join(", ", names)}. This node starts anew and joins it.");
            return;
        }
    }

    /// <summary>Processes that are up as members, but not of this node's cluster.</summary>
    private async Task<HashSet<(string Address, long Uid)>> OthersAsync()
    {
        var strangers = directory.Records.Where(node => node.NodeId != journal.NodeId && !member.Knows(node)).ToList();
        var answers = await Task.WhenAll(strangers.Select(node => journal.AskAsync(new JournalAddress(node.Host, node.JournalPort), _stop.Token)));
        return [.. answers.Where(IsUpHere).Select(answer => answer!.Akka!).Where(akka => !member.Knows(akka)).Select(akka => (akka.Address, akka.Uid))];
    }

    private bool IsUpHere(HelloAnswer? answer) =>
        answer is { Akka.IsUp: true, State.Record: { } record } && record.ClusterId == journal.Record?.ClusterId && record.Era == journal.Record?.Era;
}
