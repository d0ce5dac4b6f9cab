using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Csi.Nbd;

/// <summary>Every volume is an export, under its full name.</summary>
internal sealed class VolumeExports(IOwnerGateway gateway, VolumeSessions sessions) : INbdExports
{
    public Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation) => gateway.ListAsync(cancellation);

    public async Task<NbdExport> DescribeAsync(string name, CancellationToken cancellation)
    {
        var (full, reason) = await ResolveAsync(name, cancellation).ConfigureAwait(false);
        if (full is null) return new NbdExport(IoStatus.Missing, null, 0, false, "", reason);
        var lookup = await gateway.LookupAsync(full, cancellation).ConfigureAwait(false);
        return lookup.Volume is { } volume
            ? new NbdExport(IoStatus.Ok, volume.FullName, volume.SizeBytes, false, Describe(volume), "")
            : new NbdExport(lookup.Status, null, 0, false, "", lookup.Reason);
    }

    public async Task<NbdExportOpen> OpenAsync(string name, CancellationToken cancellation)
    {
        var (full, reason) = await ResolveAsync(name, cancellation).ConfigureAwait(false);
        if (full is null) return new NbdExportOpen(IoStatus.Missing, null, "", "", reason);
        var open = await sessions.OpenAsync(full, cancellation).ConfigureAwait(false);
        return open.Session is { } session
            ? new NbdExportOpen(IoStatus.Ok, session, session.Info.FullName, Describe(session.Info), "")
            : new NbdExportOpen(open.Status, null, full, "", open.Reason);
    }

    private static string Describe(VolumeInfo volume) =>
        volume.SingleCopy ? $"Myrmidon volume {volume.FullName} (one copy, not replicated)" : $"Myrmidon volume {volume.FullName}";

    private async Task<(string? Full, string Reason)> ResolveAsync(string name, CancellationToken cancellation)
    {
        if (name.Length > 0) return (name, "");
        var names = await gateway.ListAsync(cancellation).ConfigureAwait(false);
        return names.Count switch
        {
            1 => (names[0], ""),
            0 => (null, "no export name was given and there is no volume; create one: myrmidon volume create NAME --size 10GiB"),
            _ => (null, $"no export name was given and there are {names.Count} volumes; name one, such as {names[0]}"),
        };
    }
}
