using System.Collections;
using System.Globalization;
using System.Runtime.InteropServices;

namespace Cluster.Node.Hosting;

/// <summary>This process's program and arguments.</summary>
internal static partial class ProcessImage
{
    /// <summary>
    /// Becomes a fresh run of the same program under the same process id, so that no supervisor has to notice: nothing of the old run is
    /// left but its id, its standard streams and its environment. Returns only when it failed, with the reason.
    /// </summary>
    /// <param name="count">What the next run is told in <see cref="AnewPause.Variable"/>.</param>
    public static string StartAnew(int count)
    {
        if (Environment.ProcessPath is not { } program) return "the path of this program is not known";
        var arguments = File.ReadAllText("/proc/self/cmdline").TrimEnd('\0').Split('\0');
        List<string?> environment = [string.Create(CultureInfo.InvariantCulture, $"{AnewPause.Variable}={count}")];
        foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables())
        {
            if ((string)variable.Key != AnewPause.Variable) environment.Add($"{variable.Key}={variable.Value}");
        }
        Execve(program, [.. arguments, null], [.. environment, null]);
        return Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError());
    }

    [LibraryImport("libc", EntryPoint = "execve", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Execve(string path, string?[] arguments, string?[] environment);
}
