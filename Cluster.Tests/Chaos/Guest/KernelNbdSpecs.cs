using Cluster.Tests.Integration.EndToEnd;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>
/// Devices by the kernel's own NBD client, in a guest that has one: Debian's kernel under emulation, with .NET and this assembly in it. The guest runs once, from the first scenario to the
/// last (<see cref="GuestDriver"/>), and each is a test here.
/// </summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public class KernelNbdSpecs(KernelNbdSpecs.Run guest) : IClassFixture<KernelNbdSpecs.Run>
{
    [Theory(DisplayName = "A volume as a device of the kernel's NBD client")]
    [InlineData("attach", "the kernel's client is chosen where there is one; the device is known by its backend, and blank")]
    [InlineData("verify", "many writes of all sizes are read back, and a flush reaches the volume")]
    [InlineData("mount", "a file system is made and mounted")]
    [InlineData("restart", "the process that serves it is killed and started again under a writer, who sees no error")]
    [InlineData("in-flight", "what the killed process had taken and not answered is sent again to the next one")]
    [InlineData("resize", "it grows while it is mounted")]
    [InlineData("in-use", "it is not taken away while it is mounted or open, and who uses it is named")]
    [InlineData("detach", "nothing is left of it, and the next device shows the same")]
    [InlineData("stale", "a device whose attachment ended while nobody was there is taken away at the next start")]
    [InlineData("fence", "I/O of a fenced attachment fails")]
    [InlineData("cut-off", "a mounted device whose attachment has moved on is cut off and goes with its mount")]
    public void Scenario(string name, string what) => guest.Passed(name, what);

    public sealed class Run() : GuestRun(TimeSpan.FromMinutes(8), "drive", "/devices");
}
