using System.Net.Http.Json;
using System.Text.Json;
using Cluster.Csi.Csi;
using Cluster.Node.Api;

namespace Cluster.Node.Hosting.FrontEnds;

/// <summary>The question to another node whether it uses a volume, which CSI and Docker ask before they take the volume from it. Any thread.</summary>
internal static class OpenVolumeProbe
{
    private static readonly HttpClient Http = new() { Timeout = TimeSpan.FromMilliseconds(CsiLimits.UseProbeMs) };

    /// <summary>True only if the node itself says, within <see cref="CsiLimits.UseProbeMs"/>, that a front end of it has the volume open.</summary>
    /// <param name="api">Of the node.</param>
    /// <param name="generation">Of the volume's attachment as it is known here.</param>
    /// <param name="outsideCsi">Only if an operator or Docker has it there.</param>
    public static async Task<bool> IsOpenAsync(string api, string fullName, ulong generation, bool outsideCsi, CancellationToken cancellation)
    {
        try
        {
            var open = await Http.GetFromJsonAsync<OpenVolumeResource[]>(new Uri(new Uri(api), "/v1/open-volumes"), ApiServer.Json, cancellation);
            return open?.Any(volume => volume.Volume == fullName && volume.IsUse(generation, outsideCsi)) ?? false;
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or OperationCanceledException && !cancellation.IsCancellationRequested)
        {
            // It is dead, cut off, frozen or too slow: nobody may wait for it, and what it still writes is refused.
            return false;
        }
    }
}
