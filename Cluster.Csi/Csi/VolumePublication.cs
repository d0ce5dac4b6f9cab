using System.Collections.Immutable;
using System.Globalization;
using Cluster.Csi.Csi.V1;
using Cluster.Messages.Model;

namespace Cluster.Csi.Csi;

/// <summary>
/// ControllerPublishVolume and ControllerUnpublishVolume. A volume that another node has is taken from it at once, by a new generation of its attachment that
/// fences the old one (R11), unless that node itself says, within <see cref="CsiLimits.UseProbeMs"/>, that it uses the volume: then the specification's
/// FAILED_PRECONDITION holds. A node that is dead, cut off or frozen says nothing, and one that has restarted uses nothing.
/// </summary>
/// <param name="onLateNote">Of a volume whose publication was answered before its note was taken: what became of that. Any thread.</param>
internal sealed class VolumePublication(IVolumeControl control, Action<string, CsiError?, Exception?>? onLateNote = null)
{
    private readonly Dictionary<string, LateNote> _lateNotes = new(StringComparer.Ordinal);

    public const string GenerationKey = "generation";
    public const string ReadOnlyKey = "readonly";

    public async Task<CsiResult<ControllerPublishVolumeResponse>> PublishAsync(ControllerPublishVolumeRequest request, CancellationToken cancellation)
    {
        if ((CsiFields.NodeId(request.NodeId) ?? CsiFields.Map(request.Secrets, "secrets") ?? CsiFields.Map(request.VolumeContext, "volume_context")) is { } wrong)
            return wrong;
        await EndLateNoteAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        var read = Capabilities.Read(request.VolumeCapability, request.Readonly);
        if (read.Error is { } unsupported) return unsupported;
        var found = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (found.Error is { } missing) return missing;
        var nodes = await control.ListNodesAsync(cancellation).ConfigureAwait(false);
        if (nodes.Error is { } unknown) return unknown;
        if (nodes.Value!.All(node => node.Name != request.NodeId))
            return CsiError.NotFound($"There is no node '{request.NodeId}'; known are {string.Join(", ", nodes.Value!.Select(node => node.Name))}.");
        var (volume, access) = (found.Value!, read.Value!);
        if (Capabilities.NotFor(volume.Labels, access.Mode) is { } notFor) return notFor;
        if (Publications.Of(volume).FirstOrDefault(publication => publication.Node == request.NodeId) is { Access: { } noted } same)
            return noted == PublishedAs.Of(access) ? Answer(same.Generation, access) : CsiError.Exists(
                $"Volume {volume.FullName} is published on {request.NodeId} in another way ({noted.Write(same.Generation)}); unpublish it first.");
        if (await HolderAsync(volume, access, request.NodeId, nodes.Value!, cancellation).ConfigureAwait(false) is { } holder) return CsiError.Precondition(
            $"Volume {volume.FullName} is published on node {holder} and in use there; unpublish it there first.");
        if (await FullAsync(volume, request.NodeId, cancellation).ConfigureAwait(false) is { } full) return full;
        return access.IsExclusive
            ? await PublishAloneAsync(volume, access, request.NodeId, cancellation).ConfigureAwait(false)
            : await PublishSharedAsync(volume, access, request.NodeId, nodes.Value!, cancellation).ConfigureAwait(false);
    }

    public async Task<CsiResult<ControllerUnpublishVolumeResponse>> UnpublishAsync(ControllerUnpublishVolumeRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Map(request.Secrets, "secrets") is { } wrong) return wrong;
        await EndLateNoteAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        var found = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        // A volume that is gone is published nowhere.
        if (found.Error is { } error) return error.Code == Grpc.Core.StatusCode.NotFound ? new ControllerUnpublishVolumeResponse() : error;
        var volume = found.Value!;
        var everywhere = request.NodeId.Length == 0;
        if (volume.AttachedNode is { } node && (everywhere || node == request.NodeId))
        {
            // While nobody can say whose else it is it is taken from nobody.
            var nodes = await control.ListNodesAsync(cancellation).ConfigureAwait(false);
            if (nodes.Error is { } unknown) return unknown;
            if (!await IsOthersAsync(volume, nodes.Value!.FirstOrDefault(known => known.Name == node), cancellation).ConfigureAwait(false))
            {
                // Only what was seen is detached: a node that it was given to meanwhile keeps it.
                var detached = await control.DetachAsync(volume.FullName, volume.Revision, cancellation).ConfigureAwait(false);
                if (detached.Error is { } refused) return refused;
                volume = detached.Value!;
            }
        }
        var gone = volume.Labels.Keys.Where(key => everywhere ? key.StartsWith(Publications.LabelPrefix, StringComparison.Ordinal)
            : key == Publication.LabelOf(request.NodeId)).Union(Publications.StaleLabels(volume), StringComparer.Ordinal).ToArray();
        if (gone.Length == 0) return new ControllerUnpublishVolumeResponse();
        var changed = await control.ChangeAsync(volume.FullName, null, Without(gone), null, cancellation).ConfigureAwait(false);
        return changed.Error is null ? new ControllerUnpublishVolumeResponse() : changed.Error;
    }

    /// <summary>An operator or Docker has it on that node, which says so: the attachment is theirs too, and goes with the last of them. A node that is down has no say.</summary>
    private async Task<bool> IsOthersAsync(VolumeFacts volume, NodeFacts? node, CancellationToken cancellation) =>
        node is { IsUp: true } && await control.IsUsedOutsideCsiAsync(volume, node, cancellation).ConfigureAwait(false);

    /// <summary>A node that uses the volume in a way that does not go together with what is asked for, and says so; null: the volume may be taken.</summary>
    private async Task<string?> HolderAsync(
        VolumeFacts volume, Access access, string target, IReadOnlyList<NodeFacts> nodes, CancellationToken cancellation)
    {
        foreach (var holder in Publications.Of(volume).Where(publication => publication.Node != target))
        {
            if (!access.IsExclusive && volume.AttachedNode is null) continue;
            if (nodes.FirstOrDefault(node => node.Name == holder.Node) is not { IsUp: true } known) continue;
            if (await control.IsUsedByAsync(volume, known, cancellation).ConfigureAwait(false)) return holder.Node;
        }
        return null;
    }

    /// <summary>
    /// By their notes, and where those are too many without the ones that count for nothing any more; of calls at one time more may pass than there is room for, and
    /// the node itself refuses what is too much (<see cref="NodeStaging"/>).
    /// </summary>
    private async Task<CsiError?> FullAsync(VolumeFacts volume, string node, CancellationToken cancellation)
    {
        var noted = await control.ListWithLabelAsync(Publication.LabelOf(node), cancellation).ConfigureAwait(false);
        if (noted.Error is { } unknown) return unknown;
        var others = noted.Value!.Where(name => name != volume.FullName).ToArray();
        var excess = others.Length - CsiLimits.VolumesPerNodeMax + 1;
        var stale = 0;
        // Each is a question to a volume's owner: they are asked only at the limit, some at a time, and no more than it takes.
        foreach (var some in others.Chunk(CsiLimits.NotesLookedAtMax))
        {
            if (stale >= excess) return null;
            var found = await Task.WhenAll(some.Select(name => control.FindAsync(name, cancellation))).ConfigureAwait(false);
            // What can't be told counts.
            stale += found.Count(each => each.Error?.Code == Grpc.Core.StatusCode.NotFound || (each.Value is { } facts && Publications.Of(facts).All(publication => publication.Node != node)));
        }
        return stale >= excess ? null
            : CsiError.Exhausted($"Node {node} has {others.Length - stale} volumes published, the most that it may have; unpublish one there first, or publish {volume.FullName} on another node.");
    }

    /// <summary>
    /// First the attachment, then the note of how. Killed between the two the volume is attached to the node without a note, and the same call goes on from there.
    /// </summary>
    private async Task<CsiResult<ControllerPublishVolumeResponse>> PublishAloneAsync(
        VolumeFacts volume, Access access, string node, CancellationToken cancellation)
    {
        // While its owner does not answer, nobody can say whom the volume is attached to: it is taken from whoever that is. Sessions fence, not revisions (R11).
        var revision = volume.AttachedNode == node || !VolumeRevision.TryParse(volume.Revision, out _) ? null : volume.Revision;
        var attached = await control.AttachAsync(volume.FullName, node, revision, cancellation).ConfigureAwait(false);
        if (attached.Error is { } refused) return refused;
        return await NoteSoonAsync(attached.Value!, access, node, cancellation).ConfigureAwait(false);
    }

    /// <summary>
    /// While the catalogue's node hangs its answer is not waited for: the attachment, which is made, is the authority (<see cref="Publication"/>), and who else finds it without a note finds
    /// what a driver that was killed leaves. The note follows as soon as another node hosts the catalogue.
    /// </summary>
    private async Task<CsiResult<ControllerPublishVolumeResponse>> NoteSoonAsync(VolumeFacts volume, Access access, string node, CancellationToken cancellation)
    {
        var end = new CancellationTokenSource();
        var noting = NoteAsync(volume, access, node, volume.Generation, end.Token);
        var isLate = false;
        using (cancellation.Register(end.Cancel))
        {
            while (!noting.IsCompleted && !isLate)
            {
                await Task.WhenAny(noting, Task.Delay(CsiLimits.NoteLookMs, CancellationToken.None)).ConfigureAwait(false);
                isLate = !noting.IsCompleted && control.IsCatalogueSilent && !cancellation.IsCancellationRequested && TryLeave(volume.FullName, new LateNote(noting, end));
            }
        }
        if (!isLate)
        {
            using (end) return await noting.ConfigureAwait(false);
        }
        _ = NoteLaterAsync(noting, end, volume.FullName);
        return Answer(volume.Generation, access);
    }

    private bool TryLeave(string volume, LateNote note)
    {
        lock (_lateNotes) return _lateNotes.Count < CsiLimits.LateNotesMax && _lateNotes.TryAdd(volume, note);
    }

    /// <summary>What comes next for the volume counts: a note that is still under way would say what is not so any more.</summary>
    private async Task EndLateNoteAsync(string volume, CancellationToken cancellation)
    {
        LateNote? note;
        lock (_lateNotes)
        {
            if (!_lateNotes.TryGetValue(volume, out note)) return;
        }
        await note.End.CancelAsync().ConfigureAwait(false);
        // How it ended is told where it was begun.
        await note.Noting.WaitAsync(cancellation).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellation.ThrowIfCancellationRequested();
    }

    private async Task NoteLaterAsync(Task<CsiResult<ControllerPublishVolumeResponse>> noting, CancellationTokenSource end, string volume)
    {
        try
        {
            // Not disposed: the volume's next call may end it at any time, and it holds neither a timer nor a handle.
            var noted = await noting.ConfigureAwait(false);
            onLateNote?.Invoke(volume, noted.Error, null);
        }
        catch (OperationCanceledException) when (end.IsCancellationRequested)
        {
            onLateNote?.Invoke(volume, CsiError.Aborted("another call for the volume came first, and decides."), null);
        }
        catch (Exception e)
        {
            onLateNote?.Invoke(volume, null, e);
        }
        finally
        {
            lock (_lateNotes) _lateNotes.Remove(volume);
        }
    }

    private sealed record LateNote(Task Noting, CancellationTokenSource End);

    private async Task<CsiResult<ControllerPublishVolumeResponse>> PublishSharedAsync(
        VolumeFacts volume, Access access, string node, IReadOnlyList<NodeFacts> nodes, CancellationToken cancellation)
    {
        if (volume.AttachedNode is { } holder)
        {
            if (await IsOthersAsync(volume, nodes.FirstOrDefault(known => known.Name == holder), cancellation).ConfigureAwait(false))
                return CsiError.Precondition($"Volume {volume.FullName} is attached to node {holder} for an operator or Docker; detach it there first.");
            var detached = await control.DetachAsync(volume.FullName, volume.Revision, cancellation).ConfigureAwait(false);
            if (detached.Error is { } refused) return refused;
            volume = detached.Value!;
        }
        // One on a node that the cluster has lost does not count any more.
        var sharers = Publications.Of(volume).Count(sharer => nodes.Any(known => known.Name == sharer.Node));
        if (sharers >= CsiLimits.SharersMax)
            return CsiError.Exhausted($"Volume {volume.FullName} is published on {sharers} nodes already, the most that can share it at one time.");
        return await NoteAsync(volume, access, node, volume.Generation, cancellation).ConfigureAwait(false);
    }

    private async Task<CsiResult<ControllerPublishVolumeResponse>> NoteAsync(
        VolumeFacts volume, Access access, string node, ulong generation, CancellationToken cancellation)
    {
        var labels = Without(Publications.StaleLabels(volume)).SetItem(Publication.LabelOf(node), PublishedAs.Of(access).Write(generation));
        // Of two publications that began from one state only one ends: the other is told ABORTED, and finds the first when it is made again.
        var noted = await control.ChangeAsync(volume.FullName, null, labels, volume.Revision, cancellation).ConfigureAwait(false);
        return noted.Error is { } error ? error : Answer(generation, access);
    }

    private static ImmutableSortedDictionary<string, string> Without(IEnumerable<string> labels) =>
        labels.ToImmutableSortedDictionary(label => label, _ => "", StringComparer.Ordinal);

    private static ControllerPublishVolumeResponse Answer(ulong generation, Access access) => new()
    {
        PublishContext =
        {
            [GenerationKey] = generation.ToString(CultureInfo.InvariantCulture),
            [ReadOnlyKey] = access.ReadOnly ? "true" : "false",
        },
    };
}
