using System.Collections.Immutable;
using Cluster.Csi.Csi.V1;

namespace Cluster.Csi.Csi;

/// <summary>ControllerExpandVolume, ControllerModifyVolume and ValidateVolumeCapabilities.</summary>
internal sealed class VolumeChanges(IVolumeControl control)
{
    public async Task<CsiResult<ControllerExpandVolumeResponse>> ExpandAsync(ControllerExpandVolumeRequest request, CancellationToken cancellation)
    {
        if (request.CapacityRange is not { } range || range is { RequiredBytes: 0, LimitBytes: 0 }) return CsiError.Invalid("The field capacity_range is missing.");
        if ((CapacityRanges.Check(range) ?? CsiFields.Map(request.Secrets, "secrets")) is { } wrong) return wrong;
        if (request.VolumeCapability is { } capability && (Capabilities.Malformed(capability) ?? Capabilities.Unsupported(capability)) is { } unsupported)
            return unsupported;
        var found = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (found.Error is { } missing) return missing;
        var volume = found.Value!;
        if (CapacityRanges.Choose(range, volume.SizeBytes, out var bytes) is { } noSize) return noSize;
        if (bytes < volume.SizeBytes) bytes = volume.SizeBytes;
        if (!CapacityRanges.Holds(range, bytes))
            return CsiError.OutOfRange($"Volume {volume.FullName} has {volume.SizeBytes} bytes and can't shrink to {range.LimitBytes}.");
        if (bytes > volume.SizeBytes)
        {
            var changed = await control.ChangeAsync(volume.FullName, bytes, ImmutableSortedDictionary<string, string>.Empty, null, cancellation)
                .ConfigureAwait(false);
            if (changed.Error is { } refused) return refused;
        }
        // The device must show the new size, whether a file system is on it or not.
        return new ControllerExpandVolumeResponse { CapacityBytes = (long)bytes, NodeExpansionRequired = true };
    }

    /// <summary>All of the labels are changed, or none is.</summary>
    public async Task<CsiResult<ControllerModifyVolumeResponse>> ModifyAsync(ControllerModifyVolumeRequest request, CancellationToken cancellation)
    {
        if (CsiFields.Map(request.Secrets, "secrets") is { } wrong) return wrong;
        var found = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (found.Error is { } missing) return missing;
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        if (VolumeParameters.Read(request.MutableParameters, "mutable_parameters", control, labels) is { } unknown) return unknown;
        if (labels.Count == 0) return new ControllerModifyVolumeResponse();
        var changed = await control.ChangeAsync(found.Value!.FullName, null, labels.ToImmutable(), null, cancellation).ConfigureAwait(false);
        // What this volume can't have, such as more copies than there are nodes.
        if (changed.Error is { Code: Grpc.Core.StatusCode.FailedPrecondition } impossible) return CsiError.Invalid(impossible.Message);
        return changed.Error is { } refused ? refused : new ControllerModifyVolumeResponse();
    }

    public async Task<CsiResult<ValidateVolumeCapabilitiesResponse>> ValidateAsync(
        ValidateVolumeCapabilitiesRequest request, CancellationToken cancellation)
    {
        if (request.VolumeCapabilities.Count is 0 or > CsiLimits.CapabilitiesMax)
            return CsiError.Invalid($"The field volume_capabilities has {request.VolumeCapabilities.Count} entries; give 1 to {CsiLimits.CapabilitiesMax}.");
        var malformed = request.VolumeCapabilities.Select(Capabilities.Malformed).FirstOrDefault(error => error is not null);
        if ((malformed ?? CsiFields.Map(request.Secrets, "secrets")) is { } wrong) return wrong;
        var found = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (found.Error is { } missing) return missing;
        if (Differs(request, found.Value!) is { } difference) return new ValidateVolumeCapabilitiesResponse { Message = difference };
        return new ValidateVolumeCapabilitiesResponse
        {
            Confirmed = new()
            {
                VolumeContext = { request.VolumeContext },
                VolumeCapabilities = { request.VolumeCapabilities },
                Parameters = { request.Parameters },
                MutableParameters = { request.MutableParameters },
            },
        };
    }

    /// <summary>Null when all that is asked about holds.</summary>
    private string? Differs(ValidateVolumeCapabilitiesRequest request, VolumeFacts volume)
    {
        var unsupported = request.VolumeCapabilities.Select(capability => Capabilities.Unsupported(capability) ?? Capabilities.NotFor(volume.Labels, capability));
        if (unsupported.FirstOrDefault(error => error is not null) is { } refused) return refused.Message;
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        if (VolumeParameters.Read(request.Parameters, "parameters", control, labels) is { } unknown) return unknown.Message;
        if (VolumeParameters.Read(request.MutableParameters, "mutable_parameters", control, labels) is { } unknownMutable) return unknownMutable.Message;
        return labels.Where(label => volume.Labels.GetValueOrDefault(label.Key) != label.Value)
            .Select(label => $"Volume {volume.FullName} has not {label.Key}={label.Value}.").FirstOrDefault();
    }
}
