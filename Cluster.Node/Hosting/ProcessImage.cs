using System.Collections;
using System.Runtime.InteropServices;

namespace Cluster.Node.Hosting;

/// <summary>This process's program and arguments.</summary>
internal static partial class ProcessImage
{
    /// <summary>
    /// Becomes a fresh run of the same program under the same process id, so that no supervisor has to notice: nothing of the old run is
    /// left but its id and its standard streams. Returns only when it failed, with the reason.
    /// </summary>
    public static string StartAnew()
    {
        if (Environment.ProcessPath is not { } program) return "the path of this program is not known";
        var arguments = File.ReadAllText("/proc/self/cmdline").TrimEnd('\0').Split('\0');
        List<string?> environment = [];
        foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables()) environment.Add($"{variable.Key}={variable.Value}");
        Execve(program, [.. arguments, null], [.. environment, null]);
        return Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError());
    }

    [LibraryImport("libc", EntryPoint = "execve", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Execve(string path, string?[] arguments, string?[] environment);
}
