using System.Text.RegularExpressions;
using Cluster.Node.Cli;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.Options;
using Cluster.Tests.Architecture;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;
using YamlDotNet.Serialization;

namespace Cluster.Tests.Unit.Deployment;

/// <summary>docker/Dockerfile, docker/compose.yaml and docker/myrmidon.service beside the program: they drift as soon as nobody looks.</summary>
public sealed partial class ImageSpecs
{
    private const string Dockerfile = "docker/Dockerfile";

    private static readonly NodeOptions Defaults = NodeSettings.Load(new Dictionary<string, string>(), new Dictionary<string, string>(), null).Options!;

    [Fact(DisplayName = "What the image is made of exists, and is not kept out of the build's context")]
    public void Copied_paths_exist()
    {
        var ignore = Repository.Read(".dockerignore").Split('\n');
        Assert.Contains("*", ignore);
        var copied = Instructions("COPY").Where(copy => !copy.StartsWith("--from", StringComparison.Ordinal)).SelectMany(copy => copy.Split(' ')[..^1]).ToArray();
        Assert.Contains("Cluster.Node", copied);
        Assert.All(copied, path => Assert.True(Path.Exists(Path.Combine(Repository.Root, path)), path));
        Assert.All(copied, path => Assert.Contains("!" + path.Split('/')[0], ignore));
    }

    [Fact(DisplayName = "All that a build reads of the tree is copied: projects, what they refer to, and the files that MSBuild finds by itself")]
    public void Nothing_is_missing()
    {
        var copied = Instructions("COPY").SelectMany(copy => copy.Split(' ')).ToHashSet(StringComparer.Ordinal);
        Assert.Subset(copied, new HashSet<string> { "global.json", "Directory.Build.props", "Directory.Packages.props", "hocon" });
        var waiting = new Queue<string>(["Cluster.Node"]);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        while (waiting.TryDequeue(out var project))
        {
            if (!seen.Add(project)) continue;
            Assert.Contains(project, copied);
            Assert.Contains($"{project}/{project}.csproj", copied);
            foreach (Match reference in ProjectReference().Matches(Repository.Read($"{project}/{project}.csproj"))) waiting.Enqueue(reference.Groups["name"].Value);
        }
        Assert.True(seen.Count >= 3);
    }

    [Fact(DisplayName = "What is restored for the image is what is published: for the processor that builds it, and ahead of time; the same for hosts")]
    public void Restored_is_what_is_published()
    {
        var commands = Instructions("RUN").Where(command => command.StartsWith("dotnet ", StringComparison.Ordinal)).ToArray();
        Assert.Equal(["restore", "publish"], commands.Select(command => command.Split(' ')[1]));
        var hosts = Repository.Read("docs/operations.md").Split('\n').Single(line => line.StartsWith("dotnet publish ", StringComparison.Ordinal));
        Assert.All(commands.Append(hosts), command =>
        {
            Assert.Contains(" --use-current-runtime ", command, StringComparison.Ordinal);
            Assert.Contains(" -p:PublishReadyToRun=true", command, StringComparison.Ordinal);
        });
        Assert.Contains(" --no-restore ", commands[1], StringComparison.Ordinal);
        Assert.All([commands[1], hosts], command => Assert.Contains(" --self-contained false ", command, StringComparison.Ordinal));
    }

    [Fact(DisplayName = "The image has every program that attaching runs, exposes every port, and its commands are ones that the program takes")]
    public void The_image_fits_the_program()
    {
        var text = string.Join('\n', Instructions("RUN"));
        Assert.All(Cluster.Csi.Attach.HostPrograms.Packages.Values.Distinct(), package => Assert.Matches($@"\b{Regex.Escape(package)}\b", text));
        int[] ports = [Defaults.ApiPort, Defaults.NbdPort, Defaults.MeshPort, Defaults.RemotePort, Defaults.JournalPort];
        Assert.Equal(ports, Instructions("EXPOSE").Single().Split(' ').Select(int.Parse));
        Assert.Equal(Defaults.DataDirectory, Instructions("VOLUME").Single());
        foreach (var command in (string[])[Instructions("CMD").Single(), Instructions("HEALTHCHECK").Single().Split("CMD ")[1]])
        {
            var line = Word().Matches(command).Select(match => match.Groups["word"].Value).Where(word => word != "myrmidon").ToArray();
            Assert.Empty(CommandLine.Build().Parse(line).Errors);
        }
        Assert.Equal("[\"myrmidon\"]", Instructions("ENTRYPOINT").Single());
    }

    [Fact(DisplayName = "The image's user is nobody of note, and the sentence about privileges is there")]
    public void The_user_is_unprivileged()
    {
        Assert.Equal("$APP_UID", Instructions("USER").Single());
        Assert.Contains("# Privileges. By itself a node needs none", Repository.Read(Dockerfile), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "The compose file's nodes get settings that the program takes, each its own, and can find each other")]
    public void Compose()
    {
        var compose = Compiled();
        var services = compose.Map("services")!.Children.ToDictionary(child => child.Key.ToString(), child => (YamlMappingNode)child.Value, StringComparer.Ordinal);
        Assert.Equal(3, services.Count);
        var published = new List<string>();
        foreach (var (name, service) in services)
        {
            var environment = service.Pairs("environment");
            Assert.Empty(environment.Keys.Except(NodeSetting.All.Select(setting => setting.Variable)));
            var options = NodeSettings.Load(new Dictionary<string, string>(), environment, null).Options;
            Assert.NotNull(options);
            Assert.Equal((name, name, 3), (options.Name, options.AdvertisedHost, options.BootstrapExpect));
            Assert.Equal(services.Keys.Select(other => $"{other}:{Defaults.JournalPort}"), options.Seeds.AsEnumerable());
            Assert.Equal([$"{name}:{Defaults.DataDirectory}"], service.Texts("volumes"));
            published.AddRange(service.Texts("ports"));
        }
        Assert.All(published, port => Assert.Matches($@"\A127\.0\.0\.1:[0-9]+:({Defaults.ApiPort}|{Defaults.NbdPort})\z", port));
        Assert.Equal(6, published.Select(port => port.Split(':')[1]).Distinct().Count());
        Assert.Equal(services.Keys.Order(StringComparer.Ordinal), compose.Map("volumes")!.Children.Keys.Select(key => key.ToString()).Order(StringComparer.Ordinal));
    }

    [Fact(DisplayName = "Who stops a node gives it longer than it takes at most: compose and systemd")]
    public void Stops_have_time()
    {
        Assert.True(Quantities.TryDuration(Compiled().Map("services")!.Map("node-a")!.Text("stop_grace_period"), out var compose));
        Assert.True(compose > Defaults.StopTimeout);
        var unit = Repository.Read("docker/myrmidon.service");
        var seconds = int.Parse(Regex.Match(unit, "^TimeoutStopSec=([0-9]+)$", RegexOptions.Multiline).Groups[1].Value);
        Assert.True(TimeSpan.FromSeconds(seconds) > Defaults.StopTimeout);
        var start = Regex.Match(unit, "^ExecStart=/opt/myrmidon/myrmidon (.*)$", RegexOptions.Multiline).Groups[1].Value;
        Assert.Empty(CommandLine.Build().Parse(start.Split(' ')).Errors);
    }

    [Fact(DisplayName = "systemd's units: the node is started for ever, a mount is attached with a command that the program takes and tried again until it works, and outlives the node's restart")]
    public void Units()
    {
        var node = Unit("docker/myrmidon.service");
        Assert.Contains(("Unit", "StartLimitIntervalSec", "0"), node);
        Assert.Contains(("Service", "Restart", "always"), node);
        var mount = Unit("docker/myrmidon-mount@.service");
        foreach (var line in ((string, string, string)[])[("Unit", "StartLimitIntervalSec", "0"), ("Unit", "After", "myrmidon.service"), ("Unit", "Wants", "myrmidon.service"),
            ("Service", "Type", "oneshot"), ("Service", "RemainAfterExit", "yes"), ("Service", "Restart", "on-failure"), ("Service", "RestartPreventExitStatus", $"{ExitCode.Usage}")]) Assert.Contains(line, mount);
        Assert.DoesNotContain(mount, line => line.Key is "Requires" or "BindsTo" or "PartOf");
        foreach (var (key, verb) in ((string, string)[])[("ExecStart", "attach"), ("ExecStop", "detach")])
        {
            var command = mount.Single(line => line.Key == key).Value.Replace("${VOLUME}", "shop/db", StringComparison.Ordinal).Replace("${MOUNT}", "/srv/db", StringComparison.Ordinal)
                .Replace("$OPTIONS", "--fs xfs --options noatime", StringComparison.Ordinal).Split(' ');
            Assert.Equal(["/opt/myrmidon/myrmidon", "volume", verb], command[..3]);
            Assert.Empty(CommandLine.Build().Parse(command[1..]).Errors);
        }
    }

    [Fact(DisplayName = "The unit of a mount asks the node where the guide has it listen, which is not the address that the command line asks by itself")]
    public void Mounts_find_their_node()
    {
        var files = Unit("docker/myrmidon-mount@.service").Where(line => line.Key == "EnvironmentFile").Select(line => line.Value).ToArray();
        // The mount's own comes last, and counts.
        Assert.Equal(["-/etc/myrmidon/environment", "/etc/myrmidon/mounts/%i.conf"], files);
        var guide = Repository.Read("docs/operations.md");
        var host = NodeAddress().Match(guide).Groups[1].Value;
        Assert.NotEqual("127.0.0.1", host);
        Assert.Contains($"\necho {ApiClient.EndpointVariable}=http://{host}:5705 > {files[0][1..]}\n", guide, StringComparison.Ordinal);
        foreach (var unit in (string[])["docker/myrmidon.service", "docker/myrmidon-mount@.service"]) Assert.Contains($" {unit} ", guide, StringComparison.Ordinal);
    }

    [GeneratedRegex("\n  host = \"(.*)\"\n")]
    private static partial Regex NodeAddress();

    [Fact(DisplayName = "systemd itself finds nothing wrong with the units, where it is installed")]
    public async Task Units_verified()
    {
        if (!File.Exists("/usr/bin/systemd-analyze")) return;
        var directory = Directory.CreateTempSubdirectory("myrmidon-units-").FullName;
        try
        {
            // It looks for the program of each command.
            foreach (var unit in (string[])["myrmidon.service", "myrmidon-mount@.service"])
                await File.WriteAllTextAsync(Path.Combine(directory, unit.Replace("@.", "@db.", StringComparison.Ordinal)), Repository.Read("docker/" + unit).Replace("/opt/myrmidon/myrmidon", "/bin/true", StringComparison.Ordinal));
            var start = new System.Diagnostics.ProcessStartInfo("/usr/bin/systemd-analyze") { RedirectStandardError = true, RedirectStandardOutput = true };
            foreach (var argument in (string[])["verify", "--man=no", .. Directory.EnumerateFiles(directory).Order(StringComparer.Ordinal)]) start.ArgumentList.Add(argument);
            using var process = System.Diagnostics.Process.Start(start)!;
            var (said, error) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            await process.WaitForExitAsync();
            // Of other units of the host it may say what it likes.
            Assert.DoesNotContain("myrmidon", await said + await error, StringComparison.Ordinal);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>Section, key and value of each line.</summary>
    private static List<(string Section, string Key, string Value)> Unit(string path)
    {
        var (section, lines) = ("", new List<(string, string, string)>());
        foreach (var line in Repository.Read(path).Split('\n').Where(line => line.Length > 0 && !line.StartsWith('#')))
        {
            if (line.StartsWith('[')) section = line.Trim('[', ']');
            else lines.Add((section, line[..line.IndexOf('=', StringComparison.Ordinal)], line[(line.IndexOf('=', StringComparison.Ordinal) + 1)..]));
        }
        return lines;
    }

    [Fact(DisplayName = "Image and compose file are of the program's version")]
    public void Versions()
    {
        var version = Regex.Match(Repository.Read("Directory.Build.props"), "<Version>(.*)</Version>").Groups[1].Value;
        Assert.StartsWith(version, ControlPlane.Version, StringComparison.Ordinal);
        foreach (var file in (string[])["docker/compose.yaml", "docker/kubernetes/base/node.yaml", "docker/kubernetes/base/guard.yaml", "docker/kubernetes/chart/values.yaml"])
            Assert.All(Regex.Matches(Repository.Read(file), @"image: myrmidon:(\S+)"), match => Assert.Equal(version, match.Groups[1].Value));
        Assert.Contains($"appVersion: {version}", Repository.Read("docker/kubernetes/chart/Chart.yaml"), StringComparison.Ordinal);
    }

    /// <summary>With what "&lt;&lt;" takes over.</summary>
    private static YamlMappingNode Compiled()
    {
        var plain = new DeserializerBuilder().Build().Deserialize<object>(new MergingParser(new Parser(new StringReader(Repository.Read("docker/compose.yaml")))));
        return Kustomize.Parse(new SerializerBuilder().DisableAliases().Build().Serialize(plain)).Single();
    }

    /// <summary>What stands behind an instruction, lines that go on put together.</summary>
    private static IEnumerable<string> Instructions(string name) =>
        Repository.Read(Dockerfile).Split('\n').Where(line => !line.TrimStart().StartsWith('#')).Aggregate("", (text, line) => text.EndsWith('\\') ? text[..^1] + line : text + "\n" + line)
            .Split('\n').Where(line => line.StartsWith(name + " ", StringComparison.Ordinal)).Select(line => line[(name.Length + 1)..]);

    [GeneratedRegex("ProjectReference Include=\"\\.\\./(?<name>[A-Za-z.]+)/", RegexOptions.CultureInvariant)]
    private static partial Regex ProjectReference();

    [GeneratedRegex("\"(?<word>[^\"]+)\"", RegexOptions.CultureInvariant)]
    private static partial Regex Word();
}
