using System.Buffers.Text;
using System.Text;
using Cluster.Csi.Csi.V1;

namespace Cluster.Csi.Csi;

/// <summary>
/// Where a list goes on: after that key, in ordinal order. Keys that came or went between two pages do no harm. A token is "1." and the key in base64url.
/// </summary>
internal static class PageToken
{
    private const string Version = "1.";

    public static string Of(string lastKey) => Version + Base64Url.EncodeToString(Encoding.UTF8.GetBytes(lastKey));

    /// <summary>"" for the first page; null: none of ours.</summary>
    public static string? Read(string token)
    {
        if (token.Length == 0) return "";
        if (!token.StartsWith(Version, StringComparison.Ordinal) || !Base64Url.IsValid(token.AsSpan(Version.Length))) return null;
        var key = Encoding.UTF8.GetString(Base64Url.DecodeFromChars(token.AsSpan(Version.Length)));
        return key.Length > 0 && Of(key) == token ? key : null;
    }

    /// <summary>The entries of a page, and the token of the next one ("": there is none).</summary>
    public static (T[] Page, string Next) Cut<T>(IEnumerable<T> all, Func<T, string> keyOf, string after, int maxEntries)
    {
        var bound = maxEntries == 0 ? CsiLimits.PageEntriesMax : Math.Min(maxEntries, CsiLimits.PageEntriesMax);
        var rest = all.Where(item => string.CompareOrdinal(keyOf(item), after) > 0).OrderBy(keyOf, StringComparer.Ordinal).Take(bound + 1).ToArray();
        return rest.Length <= bound ? (rest, "") : (rest[..bound], Of(keyOf(rest[bound - 1])));
    }
}

/// <summary>ListVolumes, ControllerGetVolume and GetCapacity.</summary>
internal sealed class VolumeLists(IVolumeControl control)
{
    public async Task<CsiResult<ListVolumesResponse>> ListAsync(ListVolumesRequest request, CancellationToken cancellation)
    {
        if (CsiFields.MaxEntries(request.MaxEntries) is { } wrong) return wrong;
        if (PageToken.Read(request.StartingToken) is not { } after)
            return CsiError.Aborted("The starting_token is none that ListVolumes gave; begin again without one.");
        var all = await control.ListUsableAsync(cancellation).ConfigureAwait(false);
        if (all.Error is { } error) return error;
        var (page, next) = PageToken.Cut(all.Value!, volume => volume.FullName, after, request.MaxEntries);
        return new ListVolumesResponse { NextToken = next, Entries = { page.Select(Entry) } };
    }

    public async Task<CsiResult<ControllerGetVolumeResponse>> GetAsync(ControllerGetVolumeRequest request, CancellationToken cancellation)
    {
        var found = await control.FindAsync(request.VolumeId, cancellation).ConfigureAwait(false);
        if (found.Error is { } error) return error;
        return new ControllerGetVolumeResponse
        {
            Volume = VolumeMessages.Of(found.Value!),
            Status = new()
            {
                PublishedNodeIds = { Publications.Of(found.Value!).Select(publication => publication.Node) },
                VolumeCondition = VolumeMessages.ConditionOf(found.Value!),
            },
        };
    }

    /// <summary>
    /// How much data volumes with these parameters can take more, all copies counted. Volumes are thin, so that their sizes are bounded by what a volume may
    /// have, not by this. Every node reaches all of it, so a topology only decides whether there is a node at all.
    /// </summary>
    public async Task<CsiResult<GetCapacityResponse>> CapacityAsync(GetCapacityRequest request, CancellationToken cancellation)
    {
        if (request.VolumeCapabilities.Count > 0 && Capabilities.Check(request.VolumeCapabilities) is { } unsupported) return unsupported;
        var labels = System.Collections.Immutable.ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        if (VolumeParameters.Read(request.Parameters, "parameters", control, labels) is { } unknown) return unknown;
        var nodes = await control.ListNodesAsync(cancellation).ConfigureAwait(false);
        if (nodes.Error is { } error) return error;
        // No capacity would be an answer, by which a scheduler goes until the next one.
        if (nodes.Value!.FirstOrDefault(node => !node.IsKnown) is { } silent)
            return CsiError.Unavailable($"What node {silent.Name} has free is not known now: the placement service does not answer. Try again.");
        var free = nodes.Value!.Where(node => node.TakesCopies).Select(node => node.FreeBytes).ToArray();
        var copies = labels.TryGetValue(VolumeParameters.Prefix + "replicas", out var text) && int.TryParse(text, out var asked) ? asked
            : Math.Clamp(free.Length, 1, ReplicasDefault);
        var isThere = request.AccessibleTopology is null || Topologies.Has(request.AccessibleTopology, nodes.Value!);
        var available = isThere ? Capacity.Of(free, copies) : 0;
        return new GetCapacityResponse
        {
            AvailableCapacity = (long)available,
            MaximumVolumeSize = available > 0 ? (long)Cluster.Messages.Model.Limits.VolumeBytesMax : 0,
            MinimumVolumeSize = (long)CsiLimits.VolumeBytesMin,
        };
    }

    /// <summary>Copies of a volume that asks for no number, if the cluster can give so many.</summary>
    private const int ReplicasDefault = 3;

    private static ListVolumesResponse.Types.Entry Entry(VolumeFacts volume) => new()
    {
        Volume = VolumeMessages.Of(volume),
        Status = new()
        {
            PublishedNodeIds = { Publications.Of(volume).Select(publication => publication.Node) },
            VolumeCondition = VolumeMessages.ConditionOf(volume),
        },
    };
}

internal static class Capacity
{
    /// <summary>
    /// The most data of which every byte can have its copies on so many different nodes: the largest X for which nodes that take at most X each have room for
    /// copies times X.
    /// </summary>
    public static ulong Of(IReadOnlyCollection<ulong> freeBytes, int copies)
    {
        if (copies < 1 || freeBytes.Count < copies) return 0;
        var (low, high) = (0UL, freeBytes.Aggregate(0UL, (sum, free) => sum + free) / (ulong)copies);
        while (low < high)
        {
            var middle = low + ((high - low + 1) / 2);
            if (freeBytes.Aggregate((UInt128)0, (sum, free) => sum + Math.Min(free, middle)) >= (UInt128)middle * (ulong)copies) low = middle;
            else high = middle - 1;
        }
        return low;
    }
}
