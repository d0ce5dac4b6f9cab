using System.Diagnostics;
using System.Text.RegularExpressions;
using Cluster.Node.Cli.Dev;
using Xunit.Abstractions;

namespace Cluster.Tests.Integration.EndToEnd;

/// <summary>The README's quick start, run as it stands, but for its directory and ports.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "EndToEnd")]
public sealed class ReadmeSpecs(ITestOutputHelper output) : IDisposable
{
    private const string Background = "<!-- runs in the background in ReadmeSpecs -->\n```\n";
    private const string LineByLine = "<!-- runs line by line in ReadmeSpecs -->\n```\n";
    private static readonly TimeSpan TimeMax = TimeSpan.FromSeconds(180);

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-readme-").FullName;
    private readonly int _offset = LocalCluster.FreeOffset(3);
    private readonly string _root = FindRoot();

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "Every command of the README's quick start works, in at most ten of them")]
    public async Task Quick_start_works()
    {
        var readme = await File.ReadAllTextAsync(Path.Combine(_root, "README.md"));
        var (start, lines) = (Block(readme, Background).Single(), Block(readme, LineByLine));
        Assert.InRange(lines.Length, 5, 9);
        using var supervisor = Process.Start(new ProcessStartInfo("bash", ["-c", $"exec {Here(start)} --port-offset {_offset}"])
        {
            WorkingDirectory = _directory,
            RedirectStandardOutput = true,
        })!;
        try
        {
            var file = new ClusterFile(Path.Combine(_directory, "data"));
            for (var waited = Stopwatch.StartNew(); !File.Exists(file.RunningPath); await Task.Delay(50))
            {
                Assert.False(supervisor.HasExited, "dev ended");
                Assert.True(waited.Elapsed < TimeMax, "dev is not healthy");
            }
            foreach (var line in lines)
            {
                var run = await Tool.RunInAsync(_directory, "bash", "-c",
                    $"export MYRMIDON_ENDPOINT=http://127.0.0.1:{5705 + _offset}; {Here(line)}");
                output.WriteLine($"$ {line}\n{run.Output}");
                run.Ok();
            }
        }
        finally
        {
            NodeProcess.Signal(supervisor.Id, NodeProcess.Term);
            await supervisor.WaitForExitAsync();
        }
        Assert.Equal(0, supervisor.ExitCode);
    }

    /// <summary>The line with this test's launcher, directory and ports.</summary>
    private string Here(string line) => Regex.Replace(
            line.Replace("./myrmidon", Path.Combine(_root, "myrmidon"), StringComparison.Ordinal), @"127\.0\.0\.1:(\d+)",
            address => $"127.0.0.1:{int.Parse(address.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture) + _offset}")
        .Replace("/tmp/myrmidon", Path.Combine(_directory, "data"), StringComparison.Ordinal);

    private static string[] Block(string readme, string mark)
    {
        var start = readme.IndexOf(mark, StringComparison.Ordinal) + mark.Length;
        Assert.True(start >= mark.Length, $"README.md has no block marked {mark}");
        return readme[start..readme.IndexOf("\n```", start, StringComparison.Ordinal)].Split('\n');
    }

    private static string FindRoot()
    {
        var at = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(at.FullName, "Cluster.sln"))) at = at.Parent!;
        return at.FullName;
    }
}
