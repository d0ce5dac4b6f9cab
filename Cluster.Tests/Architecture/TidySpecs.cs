using System.Text.RegularExpressions;

namespace Cluster.Tests.Architecture;

/// <summary>What can be checked of the style by reading the sources.</summary>
public partial class TidySpecs
{
    private const int FileLinesMax = 700;
    private const int FunctionLinesMax = 70;
    private const int FunctionLinesMedianMax = 12;

    private static readonly string[] ActorFolders = ["Cluster.Node/Owner", "Cluster.Node/Replica", "Cluster.Node/Placement"];

    private static readonly string[] WallClockReaders =
    [
        // Times that are shown, or named after.
        "Cluster.Node/Api/Health.cs", "Cluster.Node/Hosting/Logging/OneLineFormatter.cs", "Cluster.Node/Hosting/DataDirectory.cs", "Cluster.Csi/Fuse/DeviceServer.cs",
        "Cluster.Csi/Attach/LongPrograms.cs",
        // Times that are written beside what is stored.
        "Cluster.Node/Store/DiskPool.Attach.cs", "Cluster.Node/Journal/Persistence/MetaJournal.cs", "Cluster.Node/Hosting/Volumes/OwnerShell.cs", "Cluster.Node/Cli/Recover/RecoverRun.cs",
        // How old a journaled time is, perhaps one of another node: what is due by a schedule, and what somebody began and never ended.
        "Cluster.Node/Owner/VolumeActor.Snapshots.cs", "Cluster.Node/Owner/VolumeActor.Clones.cs", "Cluster.Node/Hosting/Control/SnapshotGroups.cs",
        "Cluster.Node/Hosting/Control/SnapshotGroups.Sweep.cs", "Cluster.Node/Hosting/Control/ControlPlane.Groups.cs", "Cluster.Node/Hosting/Control/VolumeMoves.cs",
        // What others ask for: Akka's schedulers have a wall clock, and gRPC tells a call's end as a time of day.
        "Cluster.Node/Hosting/Scheduling/GridScheduler.cs", "Cluster.Csi/Csi/CsiCalls.cs",
        // Whether that clock was set.
        "Cluster.Node/Hosting/Membership/SteadyDowning.cs",
    ];

    // Written in two parts, so that this file is clean by its own rule.
    private static readonly string[] Unfinished = ["TO" + "DO", "FIX" + "ME", "HA" + "CK", "XX" + "X", "NotImplemented" + "Exception"];
    private static readonly string[] Hosts = ["nuget" + ".org", "github" + "usercontent", "docker" + ".io/", "npm" + "js.com",
        "pypi" + ".org"];
    private static readonly string[] Places = ["/wo" + "rk/", "/tm" + "p/wt", "/ro" + "ot/", "/home" + "/"];

    [Fact(DisplayName = "No source file is longer than 700 lines")]
    public void Files_are_short() => Assert.DoesNotContain(
        Repository.Sources.Select(file => (File: file, Lines: Repository.Read(file).Count(c => c == '\n'))), file => file.Lines > FileLinesMax);

    [Fact(DisplayName = "No function is longer than 70 lines, and half of them are short")]
    public void Functions_are_short()
    {
        var functions = Repository.Sources.SelectMany(
            file => Functions.In(Repository.Read(file)).Select(function => (File: file, Function: function))).ToArray();
        Assert.True(functions.Length > 1000, $"only {functions.Length} functions were found; the counter is wrong");
        Assert.Empty(functions.Where(found => found.Function.Lines > FunctionLinesMax)
            .Select(found => $"{found.File}:{found.Function.Line} {found.Function.Lines} lines"));
        Assert.InRange(functions.Select(found => found.Function.Lines).Order().ElementAt(functions.Length / 2), 1, FunctionLinesMedianMax);
    }

    [Fact(DisplayName = "The counter of functions sees through strings, comments and nesting")]
    public void The_counter_counts()
    {
        const string source = """"
            namespace A;
            class B(int c)
            {
                // } {
                void D(string e)
                {
                    var f = $"{{ {(e.Length > 0 ? "}" : "{")} }}" + @"""{" + '{';
                    if (f == "") { return; }
                }
                int G => 1;
                record H { int I(int j) { return j; } }
            }
            """";
        Assert.Equal([("void D(string e)", 5, 5), ("int I(int j)", 11, 1)], Functions.In(source).Select(f => (f.Header, f.Line, f.Lines)));
    }

    [Fact(DisplayName = "Nothing unfinished is checked in")]
    public void Nothing_unfinished() =>
        Assert.Empty(Lines(Repository.Sources, line => Unfinished.Any(word => line.Contains(word, StringComparison.Ordinal))));

    /// <summary>Chaos tests may: the moment of a kill is drawn, not waited for.</summary>
    [Fact(DisplayName = "Nothing sleeps in place of a condition")]
    public void Nothing_sleeps() => Assert.Empty(CodeLines(
        Repository.Sources.Where(file => !file.StartsWith("Cluster.Tests/Chaos/", StringComparison.Ordinal)), SleepCall()));

    /// <summary>It may be set by a day at any moment. How long something took or may take is measured with what nobody sets.</summary>
    [Fact(DisplayName = "Only what writes down a time, or tells how old such a one is, reads the wall clock")]
    public void The_wall_clock_decides_nothing() => Assert.Empty(CodeLines(
        Repository.Under("Cluster.Node", "Cluster.Csi", "Cluster.Messages").Except(WallClockReaders), WallClock()));

    [Fact(DisplayName = "Actors, owners and replicas never block on a task and never ask")]
    public void Actors_do_not_block() => Assert.Empty(CodeLines(Repository.Under(ActorFolders), BlockingCall()));

    [Fact(DisplayName = "HOCON stands in hocon/ and is parsed in Hosting only")]
    public void Hocon_stands_in_one_place() => Assert.Empty(CodeLines(
        Repository.Under("Cluster.Node", "Cluster.Csi", "Cluster.Messages")
            .Where(file => !file.StartsWith("Cluster.Node/Hosting/", StringComparison.Ordinal)),
        ParseCall()));

    [Fact(DisplayName = "No file names a package registry's host or a path of somebody's machine")]
    public void No_places() => Assert.Empty(Lines(
        Repository.Files.Where(Repository.IsText), line =>
            Hosts.Concat(Places).Any(place => line.Contains(place, StringComparison.Ordinal))));

    [Fact(DisplayName = "Every path that the documents name exists")]
    public void Documented_paths_exist()
    {
        var documents = Repository.Files.Where(
            file => file.EndsWith(".md", StringComparison.Ordinal) && !file.StartsWith("CHANGELOG", StringComparison.Ordinal));
        var missing = new List<string>();
        foreach (var document in documents)
        {
            var folder = Path.GetDirectoryName(document)!;
            foreach (Match match in DocumentedPath().Matches(Repository.Read(document)))
            {
                var path = match.Groups["path"].Value.TrimEnd('/', '.');
                string[] bases = ["", folder, "Cluster.Node", "Cluster.Tests"];
                if (!bases.Any(start => Path.Exists(Path.Combine(Repository.Root, start, path)))) missing.Add($"{document}: {path}");
            }
        }
        Assert.Empty(missing);
    }

    [Fact(DisplayName = "Every public key of hocon/ has a comment")]
    public void Settings_are_explained()
    {
        var lines = Repository.Read("hocon/myrmidon.conf").Split('\n');
        var bare = Enumerable.Range(1, lines.Length - 1)
            .Where(at => SettingLine().IsMatch(lines[at]) && !lines[at - 1].TrimStart().StartsWith('#')).Select(at => lines[at]);
        Assert.Empty(bare);
    }

    private static IEnumerable<string> Lines(IEnumerable<string> files, Func<string, bool> wrong) =>
        from file in files
        from line in Repository.Read(file).Split('\n').Select((text, index) => (Text: text, Number: index + 1))
        where wrong(line.Text)
        select $"{file}:{line.Number} {line.Text.Trim()}";

    private static IEnumerable<string> CodeLines(IEnumerable<string> files, Regex wrong) =>
        from file in files
        from line in SourceText.Blank(Repository.Read(file)).Split('\n').Select((text, index) => (Text: text, Number: index + 1))
        where wrong.IsMatch(line.Text)
        select $"{file}:{line.Number} {line.Text.Trim()}";

    [GeneratedRegex(@"\bUtcNow\b|\bGetUtcNow\b|\bGetLocalNow\b|\bDateTime(Offset)?\s*\.\s*(Now|Today)\b", RegexOptions.CultureInvariant)]
    private static partial Regex WallClock();

    [GeneratedRegex(@"\bThread\s*\.\s*Sleep\b", RegexOptions.CultureInvariant)]
    private static partial Regex SleepCall();

    [GeneratedRegex(@"\.Result\b(?!\s*\()|\.Wait\s*\(|\.GetAwaiter\s*\(\s*\)|\.Ask\s*<|\.Ask\s*\(", RegexOptions.CultureInvariant)]
    private static partial Regex BlockingCall();

    [GeneratedRegex(@"\bConfigurationFactory\s*\.\s*ParseString\b", RegexOptions.CultureInvariant)]
    private static partial Regex ParseCall();

    /// <summary>In backquotes or as a link's target, with a slash or a known ending, and no placeholder in it.</summary>
    [GeneratedRegex(
        @"(`|\]\()(?<path>(Cluster\.[A-Za-z]+|docs|hocon|docker|\.ci)(/[A-Za-z0-9._-]+)+/?|[A-Za-z0-9_-]+\.(md|props|sln|json))(`|\)|#)",
        RegexOptions.CultureInvariant)]
    private static partial Regex DocumentedPath();

    [GeneratedRegex(@"^  [a-z-]+ = ", RegexOptions.CultureInvariant)]
    private static partial Regex SettingLine();
}
