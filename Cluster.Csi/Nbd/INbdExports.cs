using Cluster.Messages.Model;

namespace Cluster.Csi.Nbd;

/// <summary>What a client may know of an export before it uses it; without <see cref="FullName"/>, why there is none.</summary>
public sealed record NbdExport(IoStatus Status, string? FullName, ulong SizeBytes, bool ReadOnly, string Description, string Reason);

/// <summary>An export in use, to be closed; or why not.</summary>
public sealed record NbdExportOpen(IoStatus Status, IBlockDevice? Device, string FullName, string Description, string Reason);

/// <summary>The exports behind an NBD server. Any thread.</summary>
public interface INbdExports
{
    Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation);

    /// <summary>The empty name means the only volume, if there is exactly one.</summary>
    Task<NbdExport> DescribeAsync(string name, CancellationToken cancellation);

    Task<NbdExportOpen> OpenAsync(string name, CancellationToken cancellation);
}
