using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Node.Repair;

/// <summary>What a recovery makes of one volume.</summary>
/// <param name="Spec">Null: no copy has one that reads.</param>
/// <param name="Copies">All that were found.</param>
/// <param name="Chosen">Equal copies, which become the in-sync set; empty: the volume is not recovered.</param>
/// <param name="Missing">Members of the newest in-sync set known whose copies were not found as they were.</param>
/// <param name="Reason">Why it is not recovered, or what was forced; one sentence. Empty: recovered with all that was acknowledged.</param>
public sealed record VolumeRecovery(
    VolumeId Volume, VolumeSpec? Spec, ImmutableArray<RecoveryCopy> Copies, ImmutableArray<RecoveryCopy> Chosen, ImmutableArray<StampedMember> Missing, bool Forced,
    string Reason)
{
    /// <summary>
    /// Epochs and versions of a recovered volume begin this far above all that were found: more than a cluster can count in its life, so that nothing of a copy that
    /// was not found can pass for newer than what was recovered.
    /// </summary>
    private const ulong EpochStride = 1UL << 32;

    public bool IsRecovered => Chosen.Length > 0;

    public string Name => Spec?.FullName ?? Volume.ToString();

    /// <summary>
    /// The decision of P7. The newest stamp found names the members of its in-sync set, and those that were about to join: all of them must be there. C12 says why an
    /// acknowledged write is then with them: whatever set it relied on, a member of it, with a newer stamp, or one that names it, would be among them. Any of them that carries
    /// that stamp, or whose last record is of its epoch, holds a prefix of the one order, and the longest holds all.
    /// </summary>
    public static VolumeRecovery Decide(IReadOnlyList<RecoveryCopy> copies, bool force)
    {
        Invariant.That(copies.Count > 0, "a volume was to be recovered from no copy at all");
        ImmutableArray<RecoveryCopy> all = [.. copies.OrderByDescending(copy => copy.Stamp).ThenByDescending(copy => copy.LastSequence).ThenBy(copy => copy.Id.Number)];
        var spec = SpecOf(all);
        var stamped = all.Where(copy => copy.WasInSync && copy.Damage is null).ToList();
        if (spec is null || stamped.Count == 0)
            return Refused(all, spec, [], spec is null ? "no copy has a volume description that can be read" : "no copy that was found has ever been in sync", force: false);
        var newest = stamped[0].Stamp;
        var carriers = stamped.Where(copy => copy.Stamp == newest).ToList();
        var demanded = Demanded(carriers);
        ImmutableArray<StampedMember> missing = [.. demanded.Where(member => !all.Any(copy => copy.Is(member)))];
        var present = all.Where(copy => demanded.Exists(copy.Is)).ToList();
        if (demanded.Count == 0) present = carriers;
        var able = present.Where(copy => copy.IsWhole && (copy.Stamp == newest || copy.LastRecordEpoch == newest.Epoch)).ToList();
        if (WhyNot(carriers, missing, demanded.Count, spec, able.Count) is not { } why) return Recovered(all, spec, able, missing, forced: false, "");
        return force ? Force(all, spec, able, missing, why) : Refused(all, spec, missing, why, force: true);
    }

    /// <summary>What is journaled as the volume's first event.</summary>
    public VolumeRecovered ToEvent()
    {
        Invariant.That(IsRecovered, "a volume that is not recovered was to be journaled");
        var epoch = ((Copies.Max(copy => Math.Max(copy.Header.PromisedEpoch, Math.Max(copy.Header.InSyncEpoch, copy.LastRecordEpoch))) / EpochStride) + 1) * EpochStride;
        var version = ((Copies.Max(copy => copy.Header.InSyncVersion) / EpochStride) + 1) * EpochStride;
        ImmutableArray<InSyncMember> members = [.. Chosen.Select(copy => new InSyncMember(copy.Id, copy.StoreId, copy.StoreOpens.Count, copy.StoreOpens.Mark))];
        return new VolumeRecovered(Volume, Spec!, Placements(), new Epoch(epoch), Chosen[0].LastRecordEpoch, Chosen[0].LastSequence, version, members);
    }

    /// <summary>The chosen copies, other members, whatever else was found, then those that are missing; one a node, as many as the volume is to have.</summary>
    public ImmutableArray<ReplicaPlacement> Placements()
    {
        var placed = new List<ReplicaPlacement>();
        var found = Chosen.Concat(Copies.Where(copy => !Chosen.Contains(copy))).Select(copy => copy.Placement);
        foreach (var copy in found.Concat(Missing.Where(member => !member.IsJoining).Select(member => member.Copy)))
        {
            if (placed.Count < Math.Max(Spec!.Replicas, Chosen.Length) && !placed.Exists(other => other.Id == copy.Id || other.Node == copy.Node)) placed.Add(copy);
        }
        return [.. placed.OrderBy(copy => copy.Id.Number)];
    }

    /// <summary>Numbers of copies are never given out twice.</summary>
    public ushort LastReplica => Copies.Select(copy => copy.Id.Number)
        .Concat(Copies.SelectMany(copy => copy.Header.Members).Select(member => member.Id.Number)).Max();

    /// <summary>All that any carrier of the newest stamp names: one may have heard of a copy that was about to join, and another not yet.</summary>
    private static List<StampedMember> Demanded(List<RecoveryCopy> carriers)
    {
        var demanded = new List<StampedMember>();
        foreach (var member in carriers.SelectMany(copy => copy.Header.Members))
        {
            if (!demanded.Exists(known => known.Id == member.Id)) demanded.Add(member);
        }
        return demanded;
    }

    private static string? WhyNot(List<RecoveryCopy> carriers, ImmutableArray<StampedMember> missing, int demanded, VolumeSpec spec, int able)
    {
        var set = $"in-sync version {carriers[0].Header.InSyncVersion} of epoch {carriers[0].Header.InSyncEpoch}";
        if (carriers.Select(copy => copy.Header.Era).Distinct().Count() > 1)
            return $"copies with {set} are of different recovery eras, so that neither is newer";
        // Headers of the first two versions name nobody: then every copy that the volume is to have must carry that very stamp.
        if (demanded == 0 && carriers.Count < spec.Replicas)
            return $"the headers with {set} were written by a version that named no members, and only {carriers.Count} of {spec.Replicas} copies have it";
        if (missing.Length > 0)
            return $"{set} needs {string.Join(" and ", missing.Select(member => $"copy {member.Id} of node {member.Copy.NodeName}"))} too, "
                + $"which {(missing.Length == 1 ? "was" : "were")} not found as {(missing.Length == 1 ? "it was" : "they were")}: writes may be only there";
        return able == 0 ? $"no whole copy with {set} is left" : null;
    }

    private static VolumeRecovery Recovered(
        ImmutableArray<RecoveryCopy> all, VolumeSpec spec, List<RecoveryCopy> able, ImmutableArray<StampedMember> missing, bool forced, string reason)
    {
        var best = able.OrderByDescending(copy => copy.LastSequence).ThenBy(copy => copy.Id.Number).First();
        ImmutableArray<RecoveryCopy> chosen =
            [.. able.Where(copy => copy.LastSequence == best.LastSequence && copy.LastRecordEpoch == best.LastRecordEpoch).OrderBy(copy => copy.Id.Number)];
        return new VolumeRecovery(spec.Id, spec, all, chosen, missing, forced, reason);
    }

    /// <summary>The operator gives up what may be missing: the best that is there.</summary>
    private static VolumeRecovery Force(
        ImmutableArray<RecoveryCopy> all, VolumeSpec spec, List<RecoveryCopy> able, ImmutableArray<StampedMember> missing, string why)
    {
        var best = able.Count > 0 ? able : [.. all.Where(copy => copy is { IsWhole: true, WasInSync: true }).Take(1)];
        return best.Count == 0 ? Refused(all, spec, missing, $"{why}, and no whole copy is left to force", force: false)
            : Recovered(all, spec, best, missing, forced: true, $"forced, though {why}");
    }

    private static VolumeRecovery Refused(ImmutableArray<RecoveryCopy> all, VolumeSpec? spec, ImmutableArray<StampedMember> missing, string why, bool force) =>
        new(all[0].Header.Volume, spec, all, [], missing, false, force && spec is not null ? $"{why}; --force {spec.FullName} gives those up" : why);

    /// <summary>Of the newest stamp; the largest of them, since a volume only grows (a change is stamped before anything relies on it).</summary>
    private static VolumeSpec? SpecOf(ImmutableArray<RecoveryCopy> all)
    {
        VolumeSpec? best = null;
        var of = all[0].Stamp;
        foreach (var copy in all)
        {
            if (!VolumeSpecCodec.TryDecode(copy.Header.Spec, out var spec) || spec.Id != copy.Header.Volume) continue;
            if (best is not null && (copy.Stamp != of || spec.SizeBytes <= best.SizeBytes)) continue;
            (best, of) = (spec, copy.Stamp);
        }
        return best;
    }
}
