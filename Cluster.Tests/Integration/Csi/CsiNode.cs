using Cluster.Csi.Csi.V1;
using Cluster.Tests.Integration.Hosting;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Integration.Csi;

/// <summary>A cluster of one node for the specs of one class, and requests as orchestrators make them.</summary>
public sealed class CsiNode : IAsyncLifetime
{
    public const long Gibibyte = 1L << 30;

    private int _names;

    internal TestNodes Nodes { get; } = new(1);

    internal CsiClient Client { get; private set; } = null!;

    internal Controller.ControllerClient Controller => Client.Controller;

    public async Task InitializeAsync()
    {
        await Nodes.StartAllAsync();
        Client = new CsiClient(SocketOf(Nodes, 0));
    }

    public async Task DisposeAsync()
    {
        Client.Dispose();
        await Nodes.DisposeAsync();
    }

    internal static string SocketOf(TestNodes nodes, int index) => Path.Combine(nodes.DataOf(index), "csi.sock");

    /// <summary>One that no other spec uses.</summary>
    internal string NewName(string start = "csi") => $"{start}-{Interlocked.Increment(ref _names)}";

    internal static VolumeCapability Mount(Mode mode = Mode.SingleNodeWriter, string fsType = "") =>
        new() { Mount = new() { FsType = fsType }, AccessMode = new() { Mode = mode } };

    internal static VolumeCapability Block(Mode mode = Mode.SingleNodeWriter) => new() { Block = new(), AccessMode = new() { Mode = mode } };

    internal static CreateVolumeRequest CreateRequest(string name, long bytes = Gibibyte) => new()
    {
        Name = name,
        CapacityRange = new() { RequiredBytes = bytes },
        VolumeCapabilities = { Mount() },
        Secrets = { ["key"] = "a secret" },
    };

    internal async Task<Volume> CreateAsync(string? name = null) => (await Controller.CreateVolumeAsync(CreateRequest(name ?? NewName()))).Volume;

    internal async Task DeleteAsync(string volumeId) => await Controller.DeleteVolumeAsync(new DeleteVolumeRequest { VolumeId = volumeId });
}
