using System.Diagnostics;
using System.Text;
using Cluster.Csi.Csi;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Journal;
using Grpc.Core;

namespace Cluster.Node.Hosting.FrontEnds;

// Snapshots, whose names the journal keeps, and the question to another node whether it uses a volume.
public sealed partial class CsiVolumeControl
{
    /// <summary>Keys "csi/snapshot/NAME" of the journal, each with the full name of the volume that has this name.</summary>
    private const string SnapshotPrefix = "csi/snapshot/";

    private static readonly CsiError NotReady = new(StatusCode.Unavailable, "This node has not joined its cluster yet; try again in a moment.");

    /// <summary>A node is given this long to say whether it uses a volume, however silent it is otherwise.</summary>
    private static readonly TimeSpan AskedAtLeast = TimeSpan.FromMilliseconds(500);

    /// <summary>Between two looks at whether the node that is asked is silent.</summary>
    private static readonly TimeSpan SilenceLookEvery = TimeSpan.FromMilliseconds(50);

    public Task<CsiResult<string>> ReserveSnapshotNameAsync(string snapshot, string fullName, CancellationToken cancellation) =>
        WithNameAsync(snapshot, known => known is not null ? null : new MetaCommand.SetKey(SnapshotPrefix + snapshot, 0, Encoding.UTF8.GetBytes(fullName)),
            fullName, cancellation);

    public Task<CsiResult<string>> ReleaseSnapshotNameAsync(string snapshot, string fullName, CancellationToken cancellation) =>
        WithNameAsync(snapshot, known => known is null || Encoding.UTF8.GetString(known.Value) != fullName ? null
            : new MetaCommand.SetKey(SnapshotPrefix + snapshot, known.Version, null), fullName, cancellation);

    public async Task<CsiResult<SnapshotFacts>> CreateSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out _)) return NoVolume(fullName);
        if (RequestChecks.Check(new CreateSnapshotRequest { Name = snapshot }) is { } wrong) return Error(wrong.Status, wrong.Reason);
        var made = await control.CreateSnapshotAsync(name, snapshot, cancellation);
        return made.IsOk ? await WithGroupAsync(Facts(made.Value!.Snapshot), cancellation) : Error(made.Status, made.Reason);
    }

    public async Task<CsiResult<SnapshotFacts>> GetSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out _)) return NoVolume(fullName);
        var found = await control.GetSnapshotAsync(name, snapshot, cancellation);
        return found.IsOk ? await WithGroupAsync(Facts(found.Value!), cancellation) : Error(found.Status, found.Reason);
    }

    public async Task<CsiResult<IReadOnlyList<SnapshotFacts>>> ListSnapshotsAsync(string fullName, CancellationToken cancellation)
    {
        if (!VolumeName.TryParse(fullName, out var name, out _)) return NoVolume(fullName);
        var list = await control.ListSnapshotsAsync(name, cancellation);
        return list.IsOk ? list.Value!.Snapshots.Select(Facts).ToArray() : Error(list.Status, list.Reason);
    }

    public async Task<CsiResult<VolumeFacts>> DeleteSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation)
    {
        var deleted = await WithVolumeAsync(fullName, name => control.DeleteSnapshotAsync(name, snapshot, cancellation));
        if (deleted.Error is not { Code: StatusCode.FailedPrecondition } refused) return deleted;
        var found = await GetSnapshotAsync(fullName, snapshot, cancellation);
        return found.Value is { Group.Length: > 0 } ? refused with { Code = StatusCode.InvalidArgument } : deleted;
    }

    public Task<bool> IsUsedByAsync(VolumeFacts volume, NodeFacts node, CancellationToken cancellation) => IsUsedAsync(volume, node, outsideCsi: false, cancellation);

    public Task<bool> IsUsedOutsideCsiAsync(VolumeFacts volume, NodeFacts node, CancellationToken cancellation) => IsUsedAsync(volume, node, outsideCsi: true, cancellation);

    private async Task<bool> IsUsedAsync(VolumeFacts volume, NodeFacts node, bool outsideCsi, CancellationToken cancellation)
    {
        if (node.Name == nodeName) return control.ListOpenVolumes().Value?.Any(open => open.Volume == volume.FullName && open.IsUse(volume.Generation, outsideCsi)) ?? false;
        if (node.Api is not { } api) return false;
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        var open = OpenVolumeProbe.IsOpenAsync(api, volume.FullName, volume.Generation, outsideCsi, end.Token);
        var started = Stopwatch.GetTimestamp();
        // One whose I/O loop is not heard has no say, but its API may well answer: a link may be cut where the node is not.
        while (!open.IsCompleted && !(Stopwatch.GetElapsedTime(started) >= AskedAtLeast && _silence.IsSilent(node.Name)))
        {
            await Task.WhenAny(open, Task.Delay(SilenceLookEvery, CancellationToken.None));
            if (!open.IsCompleted && Stopwatch.GetElapsedTime(started) >= NodeDoubts.After) _silence.Doubt(node.Name);
        }
        if (!open.IsCompleted) await end.CancelAsync();
        try
        {
            return await open;
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return false;
        }
    }

    /// <summary>Answers the volume that has the name in the end: the one that was asked for, when the command took or gave it.</summary>
    /// <param name="commandOf">Null: it is as it should be, or another volume's.</param>
    private async Task<CsiResult<string>> WithNameAsync(
        string snapshot, Func<MetaKeyValue?, MetaCommand.SetKey?> commandOf, string fullName, CancellationToken cancellation)
    {
        if (_log is not { } log) return NotReady;
        try
        {
            while (true)
            {
                var known = await log.ReadKeyAsync(SnapshotPrefix + snapshot, cancellation);
                if (commandOf(known) is not { } command) return known is null ? fullName : Encoding.UTF8.GetString(known.Value);
                var answer = await log.ProposeAsync(command, cancellation);
                if (answer.IsOk) return fullName;
                if (answer.Status != MetaAnswerStatus.Conflict)
                    return new CsiError(StatusCode.Unavailable, $"The journal did not take the name {snapshot}: {answer.Status}.");
            }
        }
        catch (MetaLogUnavailableException e)
        {
            return new CsiError(StatusCode.Unavailable, $"The journal can't be asked about the name {snapshot}: {e.Message}");
        }
    }

    private static CsiError NoVolume(string fullName) => CsiError.NotFound($"There is no volume '{fullName}'.");

    private static SnapshotFacts Facts(SnapshotResource snapshot) =>
        new(new VolumeName(snapshot.Namespace, snapshot.Volume).ToString(), snapshot.Name, snapshot.Sequence, snapshot.CreatedAt);
}
