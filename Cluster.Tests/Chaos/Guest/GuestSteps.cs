using System.Diagnostics;

namespace Cluster.Tests.Chaos.Guest;

/// <summary>Scenarios of a guest, one after the other, each line of its output one answer: "passed NAME", or "failed NAME: why", which ends it.</summary>
internal static class GuestSteps
{
    public const string Passed = "passed ";
    public const string Failed = "failed ";
    public const string Done = "guest is done";

    /// <summary>False: one failed.</summary>
    public static async Task<bool> RunAsync((string Name, Func<Task> Run)[] all)
    {
        foreach (var (name, run) in all)
        {
            var took = Stopwatch.StartNew();
            try
            {
                await run();
                Console.WriteLine($"{Passed}{name} ({took.ElapsedMilliseconds} ms)");
            }
            catch (Exception e)
            {
                Console.WriteLine($"{Failed}{name}: {e}".ReplaceLineEndings(" "));
                return false;
            }
        }
        return true;
    }
}
