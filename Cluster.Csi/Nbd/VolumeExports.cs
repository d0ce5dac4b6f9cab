using Cluster.Csi.Attach;
using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;

namespace Cluster.Csi.Nbd;

/// <summary>
/// Every volume is an export, under its full name; and, for devices of this host, under "NAME@v12.7" (<see cref="AttachTarget.ExportName"/>), which is
/// refused once the attachment is another one.
/// </summary>
internal sealed class VolumeExports(IOwnerGateway gateway, VolumeSessions sessions) : INbdExports
{
    public Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation) => gateway.ListAsync(cancellation);

    public async Task<NbdExport> DescribeAsync(string name, CancellationToken cancellation)
    {
        var (full, device) = Split(name);
        (full, var reason) = await ResolveAsync(full, cancellation).ConfigureAwait(false);
        if (full is null) return new NbdExport(IoStatus.Missing, null, 0, false, "", reason);
        var lookup = await gateway.LookupAsync(full, cancellation).ConfigureAwait(false);
        return lookup.Volume is { } volume
            ? new NbdExport(IoStatus.Ok, NameOf(volume, device), volume.SizeBytes, false, Describe(volume), "")
            : new NbdExport(lookup.Status, null, 0, false, "", lookup.Reason);
    }

    public async Task<NbdExportOpen> OpenAsync(string name, CancellationToken cancellation)
    {
        var (full, device) = Split(name);
        (full, var reason) = await ResolveAsync(full, cancellation).ConfigureAwait(false);
        if (full is null) return new NbdExportOpen(IoStatus.Missing, null, "", "", reason);
        var open = await sessions.OpenAsync(full, device, cancellation).ConfigureAwait(false);
        // An export of one generation is gone for good when that is; the other reasons may pass.
        if (device is not null && open.Status == IoStatus.StaleSession) open = open with { Status = IoStatus.Missing };
        return open.Session is { } session
            ? new NbdExportOpen(IoStatus.Ok, session, NameOf(session.Info, device), Describe(session.Info), "")
            : new NbdExportOpen(open.Status, null, full, "", open.Reason);
    }

    /// <summary>The volume of an export, by its full name.</summary>
    public static string VolumeOf(string export) => Split(export).Name!;

    /// <summary>A name without a device's identity is one of a volume, whatever else is in it.</summary>
    private static (string? Name, DeviceIdentity? Device) Split(string name)
    {
        var at = name.LastIndexOf('@');
        return at > 0 && DeviceIdentity.TryParse(name[(at + 1)..], out var device) ? (name[..at], device) : (name, null);
    }

    private static string NameOf(VolumeInfo volume, DeviceIdentity? device) => device is { } bound ? $"{volume.FullName}@{bound}" : volume.FullName;

    private static string Describe(VolumeInfo volume) =>
        volume.SingleCopy ? $"Myrmidon volume {volume.FullName} (one copy, not replicated)" : $"Myrmidon volume {volume.FullName}";

    private async Task<(string? Full, string Reason)> ResolveAsync(string? name, CancellationToken cancellation)
    {
        if (name!.Length > 0) return (name, "");
        var names = await gateway.ListAsync(cancellation).ConfigureAwait(false);
        return names.Count switch
        {
            1 => (names[0], ""),
            0 => (null, "no export name was given and there is no volume; create one: myrmidon volume create NAME --size 10GiB"),
            _ => (null, $"no export name was given and there are {names.Count} volumes; name one, such as {names[0]}"),
        };
    }
}
