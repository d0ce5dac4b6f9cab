using System.Collections.Immutable;
using Cluster.Csi.Csi.V1;

namespace Cluster.Csi.Csi;

/// <summary>CreateVolume and DeleteVolume.</summary>
internal sealed class VolumeCreation(IVolumeControl control)
{
    public async Task<CsiResult<CreateVolumeResponse>> CreateAsync(CreateVolumeRequest request, CancellationToken cancellation)
    {
        if ((Capabilities.Check(request.VolumeCapabilities) ?? CsiFields.Map(request.Secrets, "secrets")) is { } wrong) return wrong;
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        if (VolumeParameters.Read(request.Parameters, "parameters", control, labels) is { } unknown) return unknown;
        if (VolumeParameters.Read(request.MutableParameters, "mutable_parameters", control, labels) is { } unknownMutable) return unknownMutable;
        if (CapacityRanges.Check(request.CapacityRange) is { } range) return range;
        if (await CheckTopologyAsync(request.AccessibilityRequirements, cancellation).ConfigureAwait(false) is { } elsewhere) return elsewhere;
        var hash = VolumeParameters.RequestHash(request.Name, labels.ToImmutable(), request.VolumeContentSource);
        var name = OwnName(request.Name);
        var found = await control.GetAsync(name, cancellation).ConfigureAwait(false);
        if (found.Value is { } there) return Again(there, request, hash);
        if (found.Error!.Code != Grpc.Core.StatusCode.NotFound) return found.Error;
        var source = await SourceAsync(request.VolumeContentSource, cancellation).ConfigureAwait(false);
        if (source.Error is { } noSource) return noSource;
        var smallest = source.Value!.SizeBytes;
        if (CapacityRanges.Choose(request.CapacityRange, Math.Max(smallest, CsiLimits.VolumeBytesDefault), out var bytes) is { } noSize) return noSize;
        // What it begins with may have grown since the orchestrator read its size.
        bytes = Math.Max(bytes, smallest);
        // What is too small for its file system would be made, and no workload ever begin.
        var least = source.Value.Source is null ? Capabilities.BytesMin(request.VolumeCapabilities) : 0;
        if (bytes < least && !CapacityRanges.Holds(request.CapacityRange, least))
            return CsiError.OutOfRange($"The file system of volume {name} needs {least} bytes, more than the capacity_range allows.");
        bytes = Math.Max(bytes, least);
        if (!CapacityRanges.Holds(request.CapacityRange, bytes))
            return CsiError.OutOfRange($"Volume {name} begins with {smallest} bytes, more than the capacity_range allows.");
        // After the hash: the same request finds its volume whatever was done to the claim since.
        if (await AddClaimAsync(labels, cancellation).ConfigureAwait(false) is { } noClaim) return noClaim;
        if (request.VolumeCapabilities.Select(capability => Capabilities.NotFor(labels, capability)).FirstOrDefault(error => error is not null) is { } notFor) return notFor;
        labels[VolumeParameters.RequestLabel] = hash;
        if (name != request.Name) labels[VolumeParameters.NameLabel] = request.Name;
        var created = await control.CreateAsync(new NewVolume(name, bytes, labels.ToImmutable(), source.Value.Source), cancellation).ConfigureAwait(false);
        return created.Value is { } volume
            ? new CreateVolumeResponse { Volume = VolumeMessages.Of(volume, request.VolumeContentSource) }
            : await RefusedAsync(name, request, hash, created.Error!, cancellation).ConfigureAwait(false);
    }

    /// <summary>Ok too when there is no such volume.</summary>
    public async Task<CsiResult<DeleteVolumeResponse>> DeleteAsync(DeleteVolumeRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Map(request.Secrets, "secrets") is { } wrong) return wrong;
        var found = await control.GetAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (found.Value is { IsDeleting: false } volume && Publications.Of(volume).Select(publication => publication.Node).ToArray() is { Length: > 0 } nodes)
            return CsiError.Precondition($"Volume {request.VolumeId} is published on {string.Join(", ", nodes)}; unpublish it there, then delete it.");
        if (found.Error is { Code: not Grpc.Core.StatusCode.NotFound } error) return error;
        // One that is being deleted is asked for again, which waits for its end.
        var deleted = await control.DeleteAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        return deleted.Error is null or { Code: Grpc.Core.StatusCode.NotFound } ? new DeleteVolumeResponse() : deleted.Error;
    }

    /// <summary>The volume's name for the orchestrator's.</summary>
    public static string OwnName(string name) => CsiFields.OwnName(name, _ => false);

    private static CsiResult<CreateVolumeResponse> Again(VolumeFacts volume, CreateVolumeRequest request, string hash)
    {
        if (volume.IsDeleting) return CsiError.Aborted($"Volume {volume.FullName} is being deleted; make this call again when it is gone.");
        if (volume.Labels.GetValueOrDefault(VolumeParameters.RequestLabel) != hash)
            return CsiError.Exists($"Volume {volume.FullName} exists and was not made by this request: its parameters or its source are others.");
        return CapacityRanges.Holds(request.CapacityRange, volume.SizeBytes)
            ? new CreateVolumeResponse { Volume = VolumeMessages.Of(volume, request.VolumeContentSource) }
            : CsiError.Exists($"Volume {volume.FullName} exists with {volume.SizeBytes} bytes, which is not within the capacity_range.");
    }

    private async Task<CsiError?> AddClaimAsync(ImmutableSortedDictionary<string, string>.Builder labels, CancellationToken cancellation)
    {
        if (!labels.TryGetValue(VolumeParameters.ClaimKey, out var claim) || !labels.TryGetValue(VolumeParameters.ClaimNamespaceKey, out var scope)) return null;
        var read = await control.ReadClaimAsync(scope, claim, cancellation).ConfigureAwait(false);
        return read.Error ?? VolumeParameters.AddClaim(read.Value!, $"{scope}/{claim}", control, labels);
    }

    /// <summary>A conflict is a volume that another request has made meanwhile, or a cluster that has no room for this one.</summary>
    private async Task<CsiResult<CreateVolumeResponse>> RefusedAsync(
        string name, CreateVolumeRequest request, string hash, CsiError refused, CancellationToken cancellation)
    {
        if (refused.Code != Grpc.Core.StatusCode.FailedPrecondition) return refused;
        var found = await control.GetAsync(name, cancellation).ConfigureAwait(false);
        return found.Value is { } volume ? Again(volume, request, hash) : CsiError.Exhausted(refused.Message);
    }

    /// <summary>Every volume can be reached from every node, so a requirement is met as soon as one of its topologies has a node.</summary>
    private async Task<CsiError?> CheckTopologyAsync(TopologyRequirement? requirement, CancellationToken cancellation)
    {
        if (requirement is null || requirement.Requisite.Count == 0) return null;
        var nodes = await control.ListNodesAsync(cancellation).ConfigureAwait(false);
        if (nodes.Error is { } error) return error;
        return requirement.Requisite.Any(topology => Topologies.Has(topology, nodes.Value!)) ? null
            : CsiError.Exhausted($"No node of the cluster is in any of the requisite topologies; nodes are told apart by {Topologies.ZoneKey}, and each is in {Topologies.NodeKey}=true.");
    }

    /// <param name="Source">Null: an empty volume.</param>
    private sealed record FoundSource(VolumeSource? Source, ulong SizeBytes);

    private async Task<CsiResult<FoundSource>> SourceAsync(VolumeContentSource? source, CancellationToken cancellation)
    {
        if (source is null) return new FoundSource(null, 0);
        VolumeSource asked;
        if (source.Volume is { } ofVolume)
        {
            if (CsiFields.Id(ofVolume.VolumeId, "volume_content_source.volume.volume_id") is { } wrong) return wrong;
            asked = new VolumeSource(ofVolume.VolumeId, null);
        }
        else if (source.Snapshot is { } ofSnapshot)
        {
            if (CsiFields.Id(ofSnapshot.SnapshotId, "volume_content_source.snapshot.snapshot_id") is { } wrong) return wrong;
            if (!CsiFields.TrySnapshot(ofSnapshot.SnapshotId, out var volume, out var snapshot))
                return CsiError.NotFound($"There is no snapshot '{ofSnapshot.SnapshotId}'.");
            var made = await control.GetSnapshotAsync(volume, snapshot, cancellation).ConfigureAwait(false);
            if (made.Error is { } missing) return missing;
            asked = new VolumeSource(volume, snapshot);
        }
        else
        {
            return CsiError.Invalid("The field volume_content_source has neither a snapshot nor a volume.");
        }
        var found = await control.FindAsync(asked.Volume, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error;
        return control.CanClone ? new FoundSource(asked, found.Value!.SizeBytes)
            : CsiError.Invalid("A volume can't begin as a copy in this version: leave volume_content_source out.");
    }
}
