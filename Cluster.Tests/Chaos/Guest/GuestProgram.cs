namespace Cluster.Tests.Chaos.Guest;

/// <summary>What this assembly is when it is run as a program, in the guests of <see cref="KernelNbdSpecs"/> and <see cref="KernelNbdNodeSpecs"/>.</summary>
public static class GuestProgram
{
    public static Task<int> Main(string[] args) => args switch
    {
        ["drive", var root] => new GuestDriver(root).RunAsync(),
        ["drive-node", var root] => new GuestNode(root).RunAsync(),
        ["serve", var root] => GuestServer.RunAsync(root),
        _ => Usage(),
    };

    private static Task<int> Usage()
    {
        Console.Error.WriteLine("Tests: run ./test. As a program this is only of use in the guest of its own tests.");
        return Task.FromResult(2);
    }
}
