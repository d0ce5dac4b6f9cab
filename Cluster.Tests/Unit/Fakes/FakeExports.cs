using Cluster.Csi.Nbd;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>Exports by name, over devices of the test.</summary>
internal sealed class FakeExports(params (string Name, MemoryDevice Device)[] exports) : INbdExports
{
    public Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation) =>
        Task.FromResult<IReadOnlyList<string>>([.. exports.Select(export => export.Name)]);

    public Task<NbdExport> DescribeAsync(string name, CancellationToken cancellation) => Task.FromResult(
        Find(name) is { } device
            ? new NbdExport(IoStatus.Ok, name, device.SizeBytes, device.ReadOnly, $"test {name}", "")
            : new NbdExport(IoStatus.Missing, null, 0, false, "", Missing(name)));

    public Task<NbdExportOpen> OpenAsync(string name, CancellationToken cancellation) => Task.FromResult(
        Find(name) is { } device
            ? new NbdExportOpen(IoStatus.Ok, device, name, $"test {name}", "")
            : new NbdExportOpen(IoStatus.Missing, null, name, "", Missing(name)));

    private static string Missing(string name) => $"no volume {name}";

    private MemoryDevice? Find(string name) => exports.FirstOrDefault(export => export.Name == name).Device;
}
