using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Net;
using Cluster.Node.Journal.Raft;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Group;

/// <summary>
/// Keeps the Raft group as <see cref="GroupPolicy"/> wants it. Looks from time to time, on every node, and acts only where the
/// leader is; whether a change may be made is for the leader's machine to say. Which nodes there are is told by the node directory,
/// and whether they live by themselves: each is asked who it is.
/// </summary>
internal sealed partial class GroupKeeper(
    JournalOptions options, FormationRecord record, GroupMember group, NodeDirectory directory,
    Func<JournalAddress, CancellationToken, Task<HelloAnswer?>> ask, ILogger logger)
{
    private readonly GroupTimes _times = new() { ReplaceAfterMs = options.ReplaceAfterMs };
    private MembersChange _lastRefusal;

    public async Task RunAsync(CancellationToken ct)
    {
        while (!ct.IsCancellationRequested)
        {
            try
            {
                await LookAsync(ct).ConfigureAwait(false);
            }
            catch (Exception e) when (e is MetaLogUnavailableException || (e is OperationCanceledException && ct.IsCancellationRequested))
            {
                LogNotNow(logger, e.Message);
            }
            await Task.Delay(options.GroupPauseMs, ct).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Steps are taken one after the other without a pause: an even number of voters should not last.</summary>
    private async Task LookAsync(CancellationToken ct)
    {
        while (group.Raft is { Status.Role: RaftRole.Leader } raft)
        {
            var members = raft.Status.Members;
            var progress = await raft.ProgressAsync().WaitAsync(ct).ConfigureAwait(false);
            var nodes = await NodesAsync(members, progress.Any(p => p.SilentMs > _times.AliveMs), ct).ConfigureAwait(false);
            var removed = await directory.ListRemovedAsync(ct).ConfigureAwait(false);
            if (GroupPolicy.Next(new GroupSituation(members, raft.Number, progress, nodes, _times) { Removed = removed }) is not { } step)
            {
                if (removed.Count > 0) await directory.ForgetRemovedAsync(node => members.Find(node) is not null, ct).ConfigureAwait(false);
                return;
            }
            var taken = await raft.ChangeMembersAsync(members, step.Wanted).WaitAsync(ct).ConfigureAwait(false);
            if (taken != MembersChange.Appended)
            {
                if (taken != _lastRefusal) LogRefused(logger, step.Why, taken);
                _lastRefusal = taken;
                return;
            }
            _lastRefusal = MembersChange.Unset;
            LogChanged(logger, step.Why);
        }
    }

    /// <summary>
    /// All nodes of the directory. Members are known to live by Raft itself; of the others a bounded number is asked, and none
    /// while the group is full and complete.
    /// </summary>
    private async Task<IReadOnlyList<GroupNode>> NodesAsync(RaftMembers members, bool isSomeoneSilent, CancellationToken ct)
    {
        var registered = await directory.ListAsync(ct).ConfigureAwait(false);
        var names = members.All.Select(m => m.Node.Name).ToHashSet(StringComparer.Ordinal);
        var others = registered.Where(r => members.Find(r.NodeId) is null).OrderByDescending(r => names.Contains(r.Name)).ToArray();
        var isFull = members.Voters == JournalLimits.MembersMax && members.All.Length == members.Voters && !isSomeoneSilent;
        var asked = others.Take(isFull ? 0 : JournalLimits.CandidatesMax).Select(r => r.NodeId).ToHashSet();
        return await Task.WhenAll(registered.Select(r => LookAtAsync(r, asked.Contains(r.NodeId), ct))).ConfigureAwait(false);
    }

    private async Task<GroupNode> LookAtAsync(NodeRecord node, bool toBeAsked, CancellationToken ct)
    {
        var address = new JournalAddress(node.Host, node.JournalPort);
        var answer = toBeAsked ? await ask(address, ct).ConfigureAwait(false) : null;
        var isAlive = answer?.Node.NodeId == node.NodeId && answer.State.Record?.ClusterId == record.ClusterId;
        return new GroupNode(new FormationMember(node.Name, node.NodeId, address), node.Zone, isAlive);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: {Why}")]
    private static partial void LogChanged(ILogger logger, string why);

    [LoggerMessage(Level = LogLevel.Information, Message = "Journal: the change that {Why} has to wait: {Outcome}")]
    private static partial void LogRefused(ILogger logger, string why, MembersChange outcome);

    [LoggerMessage(Level = LogLevel.Debug, Message = "Journal: the members can't be looked at now: {Why}")]
    private static partial void LogNotNow(ILogger logger, string why);
}
