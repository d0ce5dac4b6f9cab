using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Node.Placement;

/// <summary>What a caller waits for before it is answered.</summary>
public enum PlacementWaitKind : byte
{
    Created = 1,
    Changed = 2,
    Removed = 3,
}

public sealed record PlacementWait(VolumeId Volume, PlacementWaitKind Kind);

/// <summary>Journal the event first (if there is one), then answer, or answer once the wait is over.</summary>
public sealed record PlacementDecision(PlacementEvent? Event, IControlMessage? Answer, PlacementWait? Wait)
{
    public static PlacementDecision Refuse(RefusalKind kind, string reason) => new(null, new PlacementProtocol.Refused(kind, reason), null);
}

/// <summary>
/// Decides about the catalogue; performs nothing and keeps nothing. Pure: no Akka, clock or random but those it is given.
/// </summary>
public static partial class PlacementMachine
{
    private const int CopiesUnknown = 0;

    public static PlacementDecision Create(
        PlacementState state, IReadOnlyList<CandidateNode> nodes, PlacementProtocol.CreateVolume command, Func<Guid> newGuid)
    {
        if (CheckNew(command) is { } wrong) return PlacementDecision.Refuse(RefusalKind.Invalid, wrong);
        var (policy, error) = VolumeLabels.Read(command.Labels);
        if (policy is null) return PlacementDecision.Refuse(RefusalKind.Invalid, error);
        var spec = SpecOf(new VolumeId(state.LastVolume + 1), command, policy);
        if (state.Find(spec.FullName) is { } existing) return Again(existing, spec);
        var copies = policy.Replicas ?? Math.Clamp(nodes.Count, 1, VolumePolicy.ReplicasDefault);
        if (CheckThreshold(policy, copies) is { } tooMany) return PlacementDecision.Refuse(RefusalKind.Invalid, tooMany);
        var choice = spec.Source is null
            ? NodeChooser.Choose($"Volume {spec.FullName} of {copies} copies", copies, policy.ZoneSpread, nodes, [], spec.SizeBytes)
            : ChooseForClone(spec, copies, policy, nodes, command.Near);
        if (choice.Nodes.IsEmpty)
            return PlacementDecision.Refuse(choice.Waiting ? RefusalKind.Unavailable : RefusalKind.Impossible, choice.Refusal);
        var replicas = choice.Nodes.Select(
            (node, index) => new ReplicaPlacement(new ReplicaId((ushort)(index + 1)), node.Id, node.Name, newGuid()));
        var placed = new VolumePlaced(spec with { Replicas = copies }, [.. replicas]);
        return IfRoom(state, spec, new PlacementDecision(placed, null, new PlacementWait(spec.Id, PlacementWaitKind.Created)));
    }

    /// <summary>The catalogue must fit into one image, without which its journal would grow for ever.</summary>
    private static PlacementDecision IfRoom(PlacementState state, VolumeSpec spec, PlacementDecision decision)
    {
        if (decision.Event is null) return decision;
        var bytes = state.Apply(decision.Event).VolumesBytes;
        if (bytes <= PlacementState.VolumesBytesMax || bytes <= state.VolumesBytes) return decision;
        return PlacementDecision.Refuse(RefusalKind.Impossible, $"The catalogue has no room for volume {spec.FullName} as it is to be: {state.Volumes.Count} volumes with their labels and copies take "
            + $"{state.VolumesBytes} of {PlacementState.VolumesBytesMax} B; delete volumes, or give them fewer or shorter labels.");
    }

    /// <summary>As many copies as can begin where the origin's are; the others are made of those.</summary>
    private static NodeChoice ChooseForClone(
        VolumeSpec spec, int copies, VolumePolicy policy, IReadOnlyList<CandidateNode> nodes, ImmutableArray<NodeId> near)
    {
        var subject = $"Volume {spec.FullName} of {copies} copies, cloned from {spec.Source!.OriginName},";
        ImmutableArray<CandidateNode> origin = [.. nodes.Where(node => near.Contains(node.Description.Id))];
        var waiting = false;
        for (var first = Math.Min(copies, origin.Length); first > 0; first--)
        {
            var begun = NodeChooser.Choose(subject, first, policy.ZoneSpread, origin, [], spec.SizeBytes);
            waiting |= begun.Waiting;
            if (begun.Nodes.IsEmpty) continue;
            if (first == copies) return begun;
            var more = NodeChooser.Choose(subject, copies - first, policy.ZoneSpread, nodes, [.. begun.Nodes.Select(node => node.Id)], spec.SizeBytes);
            return more.Nodes.IsEmpty ? more : begun with { Nodes = [.. begun.Nodes, .. more.Nodes] };
        }
        var where = string.Join(", ", origin.Select(node => node.Description.Name).Order(StringComparer.Ordinal).DefaultIfEmpty("none that is known"));
        return new NodeChoice([], $"{subject} must begin on a node that holds an in-sync copy of that ({where}), and none of them can take a copy now.", waiting);
    }

    public static PlacementDecision Change(
        PlacementState state, IReadOnlyList<CandidateNode> nodes, PlacementProtocol.ChangeVolume command, Func<Guid> newGuid)
    {
        if (state.Find(command.FullName) is not { } volume) return NoSuchVolume(command.FullName);
        if (IsAnother(volume, command.Id)) return Another(volume, command.Id);
        if (IsStale(volume, command.Expected)) return Stale(volume, command.Expected!);
        var sizeBytes = command.SizeBytes == 0 ? volume.Spec.SizeBytes : WholeBlocks(command.SizeBytes);
        if (sizeBytes > Limits.VolumeBytesMax) return PlacementDecision.Refuse(RefusalKind.Invalid, TooLarge(command.SizeBytes));
        if (WhyNotSmaller(volume, sizeBytes, command.AllowShrink) is { } smaller) return PlacementDecision.Refuse(RefusalKind.Invalid, smaller);
        var labels = volume.Spec.Labels;
        foreach (var (key, value) in command.Labels) labels = value.Length == 0 ? labels.Remove(key) : labels.SetItem(key, value);
        var (policy, error) = VolumeLabels.Read(labels);
        if (policy is null) return PlacementDecision.Refuse(RefusalKind.Invalid, error);
        var copies = policy.Replicas ?? volume.Spec.Replicas;
        if (CheckThreshold(policy, copies) is { } tooMany) return PlacementDecision.Refuse(RefusalKind.Invalid, tooMany);
        var spec = WithPolicy(volume.Spec with { SizeBytes = sizeBytes, Labels = labels, Replicas = copies }, policy);
        if (volume.ShrinkTo is not null || sizeBytes < volume.Spec.SizeBytes) return IfRoom(state, spec, Shrink(volume, spec));
        if (WhyNotLarger(nodes, volume, sizeBytes) is { } promised) return PlacementDecision.Refuse(RefusalKind.Impossible, promised);
        if (copies != volume.Spec.Replicas) return IfRoom(state, spec, ChangeCopies(nodes, volume, spec, policy, newGuid));
        return VolumeMatches(volume.Spec, spec)
            ? new PlacementDecision(null, null, new PlacementWait(spec.Id, PlacementWaitKind.Changed))
            : IfRoom(state, spec, new PlacementDecision(new VolumeRespecified(spec), null, new PlacementWait(spec.Id, PlacementWaitKind.Changed)));
    }

    public static PlacementDecision Delete(PlacementState state, PlacementProtocol.DeleteVolume command)
    {
        if (state.Find(command.FullName) is not { } volume) return NoSuchVolume(command.FullName);
        if (IsAnother(volume, command.Id)) return Another(volume, command.Id);
        if (IsStale(volume, command.Expected)) return Stale(volume, command.Expected!);
        var wait = new PlacementWait(volume.Spec.Id, PlacementWaitKind.Removed);
        // A deletion under way is waited for; only force asks the owner for more than it was told already.
        if (volume.Removal is { } pending && (pending.Force || !command.Force)) return new PlacementDecision(null, null, wait);
        return new PlacementDecision(new RemovalAsked(volume.Spec.Id, command.Force, command.Expected), null, wait);
    }

    public static PlacementDecision Get(PlacementState state, PlacementProtocol.GetVolume command) =>
        state.Find(command.FullName) is { } volume
            ? new PlacementDecision(null, new PlacementProtocol.Found(volume.Entry), null)
            : NoSuchVolume(command.FullName);

    public static PlacementProtocol.VolumeList List(PlacementState state, PlacementProtocol.ListVolumes command) => new(
        [.. state.Volumes.Values.Where(volume => command.Namespace.Length == 0 || volume.Spec.Namespace == command.Namespace)
            .OrderBy(volume => volume.Spec.FullName, StringComparer.Ordinal).Select(volume => volume.Entry)]);

    public static PlacementDecision Cordon(PlacementState state, PlacementProtocol.CordonNode command)
    {
        if (state.Nodes.Values.FirstOrDefault(node => node.Description.Name == command.NodeName) is not { } known) return NoSuchNode(state, command.NodeName);
        // A node that is cordoned for its restart only is cordoned for good by this.
        var isSo = known.Cordoned == command.Cordoned && !known.ForRestart;
        return new PlacementDecision(isSo ? null : new NodeCordoned(known.Description.Id, command.Cordoned), null, null);
    }

    /// <summary>An operator's cordon stays as it is, whatever begins or ends meanwhile.</summary>
    public static PlacementDecision Cordon(PlacementState state, PlacementProtocol.CordonForRestart command)
    {
        if (state.Nodes.Values.FirstOrDefault(node => node.Description.Name == command.NodeName) is not { } known) return NoSuchNode(state, command.NodeName);
        PlacementEvent? change = (command.Begins, known.Cordoned, known.ForRestart) switch
        {
            (true, false, _) => new NodeCordonedForRestart(known.Description.Id),
            (false, true, true) => new NodeCordoned(known.Description.Id, false),
            _ => null,
        };
        return new PlacementDecision(change, null, null);
    }

    private static PlacementDecision NoSuchNode(PlacementState state, string name) => PlacementDecision.Refuse(RefusalKind.NotFound, $"There is no node '{name}'; known are {NodeNames(state)}.");

    /// <summary>
    /// A name belongs to the node that is up with it; a node that is not may be replaced by one with a new data directory.
    /// </summary>
    public static PlacementDecision Register(
        PlacementState state, IReadOnlyList<CandidateNode> nodes, PlacementProtocol.RegisterNode command)
    {
        var description = command.Description;
        var holder = nodes.FirstOrDefault(
            node => node.Up && node.Description.Name == description.Name && node.Description.Id != description.Id);
        if (holder is not null && holder.Description.AkkaAddress != description.AkkaAddress)
            return PlacementDecision.Refuse(RefusalKind.Conflict,
                $"The name '{description.Name}' belongs to the node at {holder.Description.AkkaAddress}, which is up; "
                + "give this one another --name.");
        var known = state.Nodes.GetValueOrDefault(description.Id)?.Description == description;
        return new PlacementDecision(known ? null : new NodeRegistered(description), new PlacementProtocol.Registered(description.Id),
            null);
    }

    /// <summary>
    /// The next copy to place anew, or null: its node has been down for longer than the volume's wait, another node can take it, and
    /// fewer than
    /// <paramref name="replacementsMax"/> copies are on their way.
    /// </summary>
    public static ReplacementPlaced? Replace(
        PlacementState state, IReadOnlyList<CandidateNode> nodes, IReadOnlyDictionary<NodeId, TimeSpan> downFor, TimeSpan waitDefault,
        int replacementsMax, Func<Guid> newGuid)
    {
        if (downFor.Count == 0 || state.Volumes.Values.Count(volume => volume.Replacement is not null) >= replacementsMax) return null;
        foreach (var volume in state.Volumes.Values)
        {
            // Each second for every volume: what most of them say is found without reading all their labels.
            if (!IsSettled(volume) || !MayLack(volume, downFor, waitDefault)) continue;
            if (VolumeLabels.Read(volume.Spec.Labels).Policy is not { } policy) continue;
            var wait = policy.ReplaceAfter ?? waitDefault;
            var lost = volume.Replicas.FirstOrDefault(replica => downFor.TryGetValue(replica.Node, out var down) && down >= wait);
            // A volume's last copy can't be made anew from anything.
            if (lost is null || volume.Replicas.Length == 1) continue;
            var taken = volume.Replicas.Select(replica => replica.Node).ToImmutableHashSet();
            var choice = NodeChooser.Choose($"Volume {volume.Spec.FullName}", 1, policy.ZoneSpread, nodes, taken, provisionBytes: 0);
            if (choice.Nodes.IsEmpty) continue;
            var (id, node) = (new ReplicaId((ushort)(volume.LastReplica + 1)), choice.Nodes[0]);
            return new ReplacementPlaced(volume.Spec.Id, lost.Id, new ReplicaPlacement(id, node.Id, node.Name, newGuid()));
        }
        return null;
    }

    /// <summary>False: no copy's node has been down for long enough, whatever its labels say.</summary>
    private static bool MayLack(PlacedVolume volume, IReadOnlyDictionary<NodeId, TimeSpan> downFor, TimeSpan waitDefault)
    {
        foreach (var replica in volume.Replicas)
        {
            if (downFor.TryGetValue(replica.Node, out var down) && (down >= waitDefault || volume.Spec.Labels.ContainsKey(VolumeLabels.ReplaceAfter))) return true;
        }
        return false;
    }

    /// <summary>What is journaled once a volume's owner confirmed an order; null when the order is of no interest any more.</summary>
    /// <param name="copies">With an order to arrange the copies: those that the owner has.</param>
    public static PlacementEvent? Confirm(PlacementState state, IVolumeCommand order, ImmutableArray<ReplicaPlacement>? copies = null)
    {
        if (!state.Volumes.TryGetValue(order.Volume, out var volume) || !order.Equals(volume.Order)) return null;
        return order switch
        {
            VolumeProtocol.Create create => new VolumeConfirmed(create.Volume),
            VolumeProtocol.ChangeSpec change => new RespecificationConfirmed(change.Volume),
            VolumeProtocol.ArrangeCopies arrange => copies is { } arranged ? new CopiesConfirmed(arrange.Volume, arranged) : null,
            VolumeProtocol.ReplaceReplica replace => new ReplacementConfirmed(replace.Volume, replace.Lost),
            VolumeProtocol.Delete delete when volume.Phase == CataloguePhase.Deleting => new RemovalConfirmed(delete.Volume),
            VolumeProtocol.Delete delete => new VolumeRemoved(delete.Volume),
            _ => throw new InvariantException($"placement gave no order of the type {order.GetType().Name}"),
        };
    }

    /// <summary>What is journaled once a volume's owner refused an order for good; null when the order is of no interest any more.</summary>
    public static PlacementEvent? Withdraw(PlacementState state, IVolumeCommand order)
    {
        if (!state.Volumes.TryGetValue(order.Volume, out var volume) || !order.Equals(volume.Order)) return null;
        return order switch
        {
            VolumeProtocol.Delete when volume.Removal is not null => new RemovalWithdrawn(order.Volume),
            VolumeProtocol.ChangeSpec when volume.ShrinkTo is not null => new ShrinkWithdrawn(order.Volume),
            _ => null,
        };
    }

    /// <summary>The answer to a waiting caller, or null while it has to wait.</summary>
    public static IControlMessage? Answer(PlacementState state, PlacementWait wait)
    {
        var volume = state.Volumes.GetValueOrDefault(wait.Volume);
        if (wait.Kind == PlacementWaitKind.Removed) return volume is null ? new PlacementProtocol.Removed(wait.Volume) : null;
        if (volume is null || volume.Phase == CataloguePhase.Deleting)
            return new PlacementProtocol.Refused(RefusalKind.Conflict, $"Volume {wait.Volume} was deleted meanwhile.");
        return volume is { Phase: CataloguePhase.Ready, SpecPending: false, ShrinkTo: null, Arrangement: null } ? new PlacementProtocol.Found(volume.Entry) : null;
    }

    private static PlacementDecision Again(PlacedVolume existing, VolumeSpec wanted)
    {
        // Asked again, a clone of a volume as it is would be one of another moment.
        var isSame = existing.Spec.Source is { Snapshot.Length: 0 } had && wanted.Source is { Snapshot.Length: 0 } asked && asked.Origin == had.Origin;
        if (VolumeMatches(existing.Spec, wanted with { Id = existing.Spec.Id, Source = isSame ? existing.Spec.Source : wanted.Source }))
            return new PlacementDecision(null, null, new PlacementWait(existing.Spec.Id, PlacementWaitKind.Created));
        return PlacementDecision.Refuse(RefusalKind.Conflict,
            $"Volume {existing.Spec.FullName} exists with another size, other labels or another origin ({existing.Spec.SizeBytes} B); "
            + "choose another name, or ask for the same.");
    }

    /// <summary>Equal but for a number of copies that was left to the cluster.</summary>
    private static bool VolumeMatches(VolumeSpec left, VolumeSpec right) =>
        VolumeSpecCodec.Same(left, right.Replicas == CopiesUnknown ? right with { Replicas = left.Replicas } : right);

    private static string? CheckThreshold(VolumePolicy policy, int copies) =>
        policy.FailureMode == FailureModeKind.Threshold && policy.FailureThreshold > copies
            ? $"The label {VolumeLabels.FailureMode} is '{policy.FailureThreshold}', more than the volume's {copies} copies."
            : null;

    private static string? CheckNew(PlacementProtocol.CreateVolume command)
    {
        if (!VolumeNames.IsValid(command.Name)) return $"The volume name '{command.Name}' is not valid; it must be {VolumeNames.Form}.";
        if (!VolumeNames.IsValid(command.Namespace))
            return $"The namespace '{command.Namespace}' is not valid; it must be {VolumeNames.Form}.";
        if (command.SizeBytes == 0) return $"Volume {command.Name} has the size 0; give at least {Limits.BlockBytes} B.";
        return command.SizeBytes > Limits.VolumeBytesMax ? TooLarge(command.SizeBytes) : null;
    }

    private static VolumeSpec SpecOf(VolumeId id, PlacementProtocol.CreateVolume command, VolumePolicy policy) => WithPolicy(
        new VolumeSpec(id, command.Namespace, command.Name, WholeBlocks(command.SizeBytes), policy.Replicas ?? CopiesUnknown,
            default, 0, 0, false, command.Labels.WithComparers(StringComparer.Ordinal), command.Source), policy);

    private static VolumeSpec WithPolicy(VolumeSpec spec, VolumePolicy policy) => spec with
    {
        FailureMode = policy.FailureMode,
        FailureThreshold = policy.FailureThreshold,
        HoldMs = policy.HoldMs,
        Compression = policy.Compression,
    };

    private static ulong WholeBlocks(ulong sizeBytes) => checked(sizeBytes + Limits.BlockBytes - 1) / Limits.BlockBytes * Limits.BlockBytes;

    private static string TooLarge(ulong sizeBytes) =>
        $"The size {sizeBytes} B is too large; a volume has at most {Limits.VolumeBytesMax} B.";

    private static bool IsStale(PlacedVolume volume, VolumeRevision? expected) =>
        expected is not null && expected.Catalogue != volume.Revision;

    private static PlacementDecision Stale(PlacedVolume volume, VolumeRevision expected) => PlacementDecision.Refuse(RefusalKind.Stale,
        $"Volume {volume.Spec.FullName} has changed since revision {expected}; read it again and decide anew.");

    private static bool IsAnother(PlacedVolume volume, VolumeId meant) => meant.IsValid && meant != volume.Spec.Id;

    private static PlacementDecision Another(PlacedVolume volume, VolumeId meant) => PlacementDecision.Refuse(RefusalKind.NotFound,
        $"The volume {meant} that was '{volume.Spec.FullName}' is gone; another one, {volume.Spec.Id}, has its name now.");

    private static PlacementDecision NoSuchVolume(string fullName) =>
        PlacementDecision.Refuse(RefusalKind.NotFound, $"There is no volume '{fullName}'; `volume list` names all.");

    private static string NodeNames(PlacementState state) =>
        string.Join(", ", state.Nodes.Values.Select(node => node.Description.Name).Order(StringComparer.Ordinal).DefaultIfEmpty("none"));
}
