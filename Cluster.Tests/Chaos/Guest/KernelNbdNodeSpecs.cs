using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>A whole node in a guest whose kernel has an NBD client: `volume attach --mount` and all that may come after it (<see cref="GuestNode"/>), each a test here.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public class KernelNbdNodeSpecs(KernelNbdNodeSpecs.Run guest) : IClassFixture<KernelNbdNodeSpecs.Run>
{
    [Theory(DisplayName = "A node whose volumes are devices of the kernel's NBD client")]
    [InlineData("start", "the node is a cluster by itself")]
    [InlineData("attach", "a blank volume is formatted and mounted, over the kernel's client")]
    [InlineData("upgrade", "the node is stopped and another process started under a writer, who sees no error; the mount stays the same one")]
    [InlineData("resize", "the device grows in use")]
    [InlineData("in-use", "a mount with an open file is not taken away")]
    [InlineData("detach", "nothing is left of mount and device, and the next mount shows the same files")]
    [InlineData("stale", "a device whose attachment ended before its node was killed goes with the next process")]
    public void Scenario(string name, string what) => guest.Passed(name, what);

    public sealed class Run() : GuestRun(TimeSpan.FromMinutes(20), "drive-node", "/node");
}
