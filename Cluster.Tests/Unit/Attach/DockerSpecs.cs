using System.Text.Json;
using Cluster.Csi.Attach;
using Cluster.Csi.Docker;
using Cluster.Node.Cli;

namespace Cluster.Tests.Unit.Attach;

public sealed class DockerSpecs : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-docker-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory(DisplayName = "Docker's names that are DNS labels are the volumes' names; others have one of their own, the same on every host")]
    [InlineData("db", "db")]
    [InlineData("shop_db", "docker-")]
    [InlineData("docker-x", "docker-")]
    [InlineData("DB", "docker-")]
    [InlineData("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "docker-")]
    public void Names(string name, string start)
    {
        var volume = DockerName.VolumeOf(name)!;
        Assert.Equal(volume, DockerName.VolumeOf(name));
        if (start == name) Assert.Equal(name, volume);
        else
        {
            Assert.StartsWith("docker-", volume, StringComparison.Ordinal);
            Assert.Equal("docker-".Length + 32, volume.Length);
            Assert.NotEqual(name, volume);
        }
    }

    [Theory(DisplayName = "Names that Docker would not take either are refused")]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("a/b")]
    [InlineData("a b")]
    [InlineData("ä")]
    public void No_names(string? name) => Assert.Null(DockerName.VolumeOf(name));

    [Theory(DisplayName = "A size is what the command line takes for one, and what it does not take is refused in its words")]
    [InlineData("10GiB")]
    [InlineData("10gb")]
    [InlineData("1.5 TiB")]
    [InlineData("512")]
    [InlineData("512B")]
    [InlineData("1Ti")]
    [InlineData("16383PiB")]
    [InlineData("")]
    [InlineData("-1")]
    [InlineData("10X")]
    [InlineData("1iB")]
    [InlineData("16384PiB")]
    public void Sizes(string text)
    {
        var options = DockerOptions.Read("db", "db", new Dictionary<string, string> { ["size"] = text }, Known);
        if (SizeText.TryParse(text, out var bytes, out var reason)) Assert.Equal((AttachStatus.Ok, bytes), (options.Status, options.Value!.SizeBytes));
        else Assert.Equal((AttachStatus.Invalid, true), (options.Status, options.Reason.Contains(reason.TrimEnd('.'), StringComparison.Ordinal)));
    }

    [Theory(DisplayName = "A size with one letter behind it is 1024-based, as in Docker's own sizes")]
    [InlineData("64m", 64UL << 20)]
    [InlineData("1.5G", 1536UL << 20)]
    [InlineData("16383P", 16383UL << 50)]
    public void Sizes_in_Dockers_way(string text, ulong bytes) =>
        Assert.Equal(bytes, DockerOptions.Read("db", "db", new Dictionary<string, string> { ["size"] = text }, Known).Value!.SizeBytes);

    private static readonly string[] Known = ["myrmidon.dev/replicas", "myrmidon.dev/failure-mode"];

    [Fact(DisplayName = "Options are the volume's size and labels, with or without the labels' prefix")]
    public void Options()
    {
        var options = DockerOptions.Read("shop_db", "docker-1", new Dictionary<string, string>
        {
            ["size"] = "1GiB",
            ["replicas"] = "2",
            ["myrmidon.dev/failure-mode"] = "hard",
            ["fs"] = "xfs",
            ["mount-options"] = "noatime",
            ["takeover"] = "always",
            ["example.com/team"] = "db",
        }, Known).Value!;
        Assert.Equal(1UL << 30, options.SizeBytes);
        Assert.Equal(["docker/fs=xfs", "docker/mount-options=noatime", "docker/name=shop_db", "docker/takeover=always", "example.com/team=db", "myrmidon.dev/failure-mode=hard", "myrmidon.dev/replicas=2"],
            options.Labels.Select(label => $"{label.Key}={label.Value}"));
        Assert.Empty(DockerOptions.Read("db", "db", null, Known).Value!.Labels);
    }

    [Theory(DisplayName = "An option with a value that makes no sense is refused, with what would")]
    [InlineData("size", "much", "10GiB")]
    [InlineData("size", "0", "10GiB")]
    [InlineData("size", "1Gi", "\"1Gi\" has the unknown unit \"Gi\": write GiB (1024-based) or GB (1000-based)")]
    [InlineData("size", "g", "\"g\" is not a size")]
    [InlineData("size", "16384P", "is not a whole number of bytes that a volume can have")]
    [InlineData("fs", "ntfs", "ext4, xfs")]
    [InlineData("takeover", "maybe", "when-down")]
    [InlineData("sizze", "200MiB", "use size, fs, mount-options, takeover, failure-mode, replicas, or a label of your own with a prefix, such as example.com/sizze")]
    public void Wrong_options(string key, string value, string hint)
    {
        var options = DockerOptions.Read("db", "db", new Dictionary<string, string> { [key] = value }, Known);
        Assert.Equal(AttachStatus.Invalid, options.Status);
        Assert.Contains(hint, options.Reason, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Who has a volume mounted is known after a restart of the process, but not after one of the host")]
    public void Mounts_are_kept()
    {
        var mounts = new DockerMounts(_directory, "boot-1");
        Assert.Null(mounts.Read("db"));
        mounts.Write("db", "shop_db", ["a", "b"]);
        mounts.Write("db2", "db2", []);
        Assert.Equal(["a", "b"], new DockerMounts(_directory, "boot-1").Read("db"));
        Assert.Equal([("db", "shop_db", 2), ("db2", "db2", 0)], new DockerMounts(_directory, "boot-1").All().Select(known => (known.Volume, known.Name, known.Ids.Count)));
        Assert.Null(new DockerMounts(_directory, "boot-2").Read("db"));
        Assert.Empty(new DockerMounts(_directory, "boot-2").All());
        Assert.Empty(Directory.EnumerateFiles(_directory));
    }

    [Fact(DisplayName = "A file of mounts that is torn counts as none")]
    public void Torn_file()
    {
        var mounts = new DockerMounts(_directory, "boot-1");
        mounts.Write("db", "db", ["a"]);
        var path = Path.Combine(_directory, "db.json");
        File.WriteAllText(path, File.ReadAllText(path)[..20]);
        Assert.Null(mounts.Read("db"));
        mounts.Write("db", "db", ["c"]);
        Assert.Equal(["c"], mounts.Read("db"));
    }

    [Fact(DisplayName = "Docker's own spelling is used on the wire")]
    public void Wire()
    {
        Assert.Equal("a", JsonSerializer.Deserialize<DockerCall>("""{"Name":"x","ID":"a","Opts":{"size":"1"}}""")!.Id);
        Assert.Equal("""{"Err":"","Capabilities":{"Scope":"global"}}""",
            JsonSerializer.Serialize(new DockerAnswer { Capabilities = new DockerCapabilities("global") }, DockerPlugin.Json));
    }
}
