using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Placement;

namespace Cluster.Node.Hosting.Control;

public sealed partial class ControlPlane
{
    /// <summary>Owners that a drain moves at one time: each pauses its volume for a moment.</summary>
    private const int DrainMovesMax = 8;

    /// <summary>Between two looks at what a drain waits for.</summary>
    private static readonly TimeSpan DrainPause = TimeSpan.FromMilliseconds(250);

    public async Task<ControlResult<DrainResource>> DrainNodeAsync(string name, TimeSpan atMost, bool forRestart, CancellationToken cancellation)
    {
        try
        {
            return await MoveOwnersAsync(name, atMost, forRestart, cancellation);
        }
        catch (OperationCanceledException) when (forRestart)
        {
            // Here too, not only by who asked: that one's word may have come before the cordon that was under way. It answers within AskMax.
            await EndRestartAsync(name, CancellationToken.None);
            throw;
        }
    }

    private async Task<ControlResult<DrainResource>> MoveOwnersAsync(string name, TimeSpan atMost, bool forRestart, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotReady;
        var known = await FindNodeAsync(parts, name, cancellation);
        if (!known.IsOk) return new ControlFailure(known.Status, known.Reason);
        var started = Stopwatch.GetTimestamp();
        var (moved, cordoned) = (0, false);
        for (var failures = new List<string>(); ;)
        {
            var planned = await PlanDrainAsync(name, forRestart, cancellation);
            if (!planned.IsOk)
            {
                // The catalogue moves to another node, or the journal's leader does: that passes.
                if (planned.Status is not (ControlStatus.TimedOut or ControlStatus.Unavailable) || Stopwatch.GetElapsedTime(started) >= atMost)
                    return new ControlFailure(planned.Status, planned.Reason);
                await Task.Delay(DrainPause, cancellation);
                continue;
            }
            var plan = planned.Value!;
            if (plan.Refusal.Length > 0) return new ControlFailure(ControlStatus.Conflict, plan.Refusal);
            if (!cordoned)
            {
                // Before the first owner leaves: from here on none is sent to the node.
                var cordon = forRestart ? await CordonForRestartAsync(name, true, cancellation) : await SetCordonedAsync(name, true, cancellation);
                if (!cordon.IsOk) return new ControlFailure(cordon.Status, cordon.Reason);
                cordoned = true;
            }
            if (plan.IsDone || Stopwatch.GetElapsedTime(started) >= atMost) return Report(name, moved, plan, failures);
            failures.Clear();
            foreach (var (move, result) in await MoveSomeAsync(plan, cancellation))
            {
                if (result.IsOk) moved++;
                else failures.Add($"volume {move.Volume.FullName} did not move to {move.Target}: {result.Reason}");
            }
            if (plan.Moves.Length == failures.Count) await Task.Delay(DrainPause, cancellation);
        }
    }

    private async Task<(DrainMove Move, ControlResult<VolumeResource> Result)[]> MoveSomeAsync(DrainPlan plan, CancellationToken cancellation) =>
        await Task.WhenAll(plan.Moves.Take(DrainMovesMax).Select(async move =>
        {
            var isName = VolumeName.TryParse(move.Volume.FullName, out var name, out _);
            Invariant.That(isName, "a volume's full name is not one");
            return (move, await MoveAsync(name, move.Target, isPinned: false, cancellation));
        }));

    private async Task<ControlResult<DrainPlan>> PlanDrainAsync(string name, bool forRestart, CancellationToken cancellation)
    {
        var nodes = await ListNodesAsync(cancellation);
        if (!nodes.IsOk) return new ControlFailure(nodes.Status, nodes.Reason);
        if (nodes.Value!.Any(node => node.State == NodeBoard.UnknownState))
            return new ControlFailure(ControlStatus.TimedOut, $"The placement service does not answer: which nodes can take what {name} serves is unknown. Try again.");
        var volumes = await ListVolumesAsync(null, cancellation);
        if (!volumes.IsOk) return new ControlFailure(volumes.Status, volumes.Reason);
        return DrainPlan.Of(name, [.. volumes.Value!.Where(volume => volume.State != "deleting").Select(Of)],
            [.. nodes.Value!.Select(node => new DrainTarget(node.Name, node.State == "up", node.Cordoned))], forRestart);
    }

    private static DrainVolume Of(VolumeResource volume)
    {
        var isId = VolumeId.TryParse(volume.Id, out var id);
        Invariant.That(isId, "a volume's id is not one");
        return new DrainVolume(id, new VolumeName(volume.Namespace, volume.Name).ToString(), volume.Owner ?? "",
            [.. volume.Replicas.Select(replica => (replica.Node, replica.State))]);
    }

    private static DrainResource Report(string node, int moved, DrainPlan plan, IReadOnlyList<string> failures) => new()
    {
        Node = node,
        State = plan.IsDone ? "drained" : "draining",
        Moved = moved,
        Left = plan.Owned,
        Waits = [.. plan.Waits, .. failures],
        Stays = plan.Stays,
    };
}
