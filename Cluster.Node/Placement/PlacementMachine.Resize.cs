using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

// A larger size: within the limits of the nodes with copies. A smaller one: asked of the owner, which alone knows what is stored beyond the new end. Until it has answered the catalogue has the present size.
public static partial class PlacementMachine
{
    private static string? WhyNotSmaller(PlacedVolume volume, ulong sizeBytes, bool allowShrink) =>
        sizeBytes >= volume.Spec.SizeBytes || allowShrink ? null
            : $"Volume {volume.Spec.FullName} is {volume.Spec.SizeBytes} B and does not shrink to {sizeBytes} B by mistake; if nothing is stored beyond the new end, "
                + "allow it explicitly (--allow-shrink, or allowShrink in the request).";

    private static string? WhyNotLarger(IReadOnlyList<CandidateNode> nodes, PlacedVolume volume, ulong sizeBytes)
    {
        if (sizeBytes <= volume.Spec.SizeBytes) return null;
        var beyond = nodes.Where(node => volume.UsesNode(node.Description.Id)).OrderBy(node => node.Description.Name, StringComparer.Ordinal)
            .Select(node => (node.Description.Name, Why: NodeChooser.OverCommitted(node, sizeBytes - volume.Spec.SizeBytes))).Where(node => node.Why is not null).ToList();
        return beyond.Count == 0 ? null
            : $"Volume {volume.Spec.FullName} can't grow from {volume.Spec.SizeBytes} B to {sizeBytes} B: {string.Join("; ", beyond.Select(node => $"{node.Name} {node.Why}"))}.";
    }

    private static PlacementDecision Shrink(PlacedVolume volume, VolumeSpec spec)
    {
        var wait = new PlacementWait(spec.Id, PlacementWaitKind.Changed);
        if (volume.ShrinkTo is { } pending)
        {
            return VolumeSpecCodec.Same(pending, spec) ? new PlacementDecision(null, null, wait)
                : PlacementDecision.Refuse(RefusalKind.Conflict, $"Volume {spec.FullName} is about to shrink to {pending.SizeBytes} B; change it once that has ended.");
        }
        if (spec.Replicas != volume.Spec.Replicas)
            return PlacementDecision.Refuse(RefusalKind.Invalid, $"Volume {spec.FullName} can't shrink and get another number of copies at once; ask for one after the other.");
        return volume is { Phase: CataloguePhase.Ready, SpecPending: false, Arrangement: null, Removal: null }
            ? new PlacementDecision(new ShrinkAsked(spec), null, wait)
            : PlacementDecision.Refuse(RefusalKind.Conflict, $"Volume {spec.FullName} is being changed; let it shrink once that has ended.");
    }
}
