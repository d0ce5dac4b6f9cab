using Cluster.Tests.Architecture;
using Cluster.Tests.Integration.Nbd;

namespace Cluster.Tests.Unit.Bench;

/// <summary>Runs a script that has imported programs of Cluster.Tests/Bench; what it does not assert fails the test.</summary>
internal static class BenchPython
{
    public static Task RunAsync(string module, string script) => ClientTool.Run("/usr/bin/python3", "-c",
        $"import os, sys\nos.chdir({Quoted(Repository.Root)})\nsys.dont_write_bytecode = True\nsys.path.insert(0, \"Cluster.Tests/Bench\")\nimport {module}\n{script}");

    private static string Quoted(string text) => $"\"{text.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal)}\"";
}
