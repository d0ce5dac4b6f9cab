using Akka.Configuration;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Repair;
using Microsoft.Extensions.Logging;

namespace Cluster.Tests.Unit.Hosting;

public sealed class NodeSettingsSpecs : IDisposable
{
    private static readonly Dictionary<string, string> None = [];
    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-settings").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact(DisplayName = "Every shipped key is a setting, and every setting has a shipped key with a default that fits")]
    public void Keys_and_settings_agree()
    {
        var shipped = ConfigurationFactory.ParseString(File.ReadAllText(Path.Combine(NodeSettings.ShippedDirectory, "myrmidon.conf")));
        var keys = HoconKeys.Leaves(shipped.GetConfig("myrmidon")).Select(leaf => leaf.Key).Order(StringComparer.Ordinal);
        Assert.Equal(NodeSetting.All.Select(setting => setting.Key).Order(StringComparer.Ordinal), keys);
        foreach (var (key, text) in HoconKeys.Leaves(shipped.GetConfig("myrmidon")))
        {
            var setting = NodeSetting.All.Single(candidate => candidate.Key == key);
            Assert.NotNull(setting.Apply(new NodeOptions(), text));
        }
    }

    [Fact(DisplayName = "Every property of the options is set by exactly one setting")]
    public void Options_and_settings_agree() => Assert.Equal(
        typeof(NodeOptions).GetProperties().Length - 1 + typeof(RepairOptions).GetProperties().Length, NodeSetting.All.Length);

    [Fact(DisplayName = "The defaults are those that the design promises")]
    public void Defaults()
    {
        var options = Load(None, None, null);
        Assert.Equal((5705, 10809, 5707, 5708, 5709),
            (options.ApiPort, options.NbdPort, options.MeshPort, options.RemotePort, options.JournalPort));
        Assert.Equal(("127.0.0.1", "127.0.0.1", TimeSpan.FromMinutes(10), LogLevel.Information),
            (options.Host, options.AdvertisedHost, options.ReplaceAfter, options.LogLevel));
        Assert.Null(options.BootstrapExpect);
        Assert.Empty(options.Seeds);
        Assert.NotEmpty(options.Name);
    }

    [Fact(DisplayName = "A flag wins over a variable, a variable over the file, the file over the defaults")]
    public void Layers()
    {
        var file = Write("myrmidon { mesh-port = 1, nbd-port = 1, api-port = 1\n seeds = [\"a:1\", \"b\"] }");
        var variables = new Dictionary<string,
            string>
        { ["MYRMIDON_NBD_PORT"] = "2", ["MYRMIDON_API_PORT"] = "2", ["MYRMIDON_CONFIG"] = file };
        var options = Load(new Dictionary<string, string> { ["api-port"] = "3" }, variables, null);
        Assert.Equal((3, 2, 1, 5708), (options.ApiPort, options.NbdPort, options.MeshPort, options.RemotePort));
        Assert.Equal(["a:1", "b"], options.Seeds.AsEnumerable());
    }

    [Theory(DisplayName = "What does not fit is refused by one sentence that names the key, the place and what would be right")]
    [InlineData("myrmidon.mesh-prt = 1", "myrmidon.mesh-prt", "myrmidon.mesh-port")]
    [InlineData("myrmidon.mesh-port = many", "myrmidon.mesh-port", "0 (any free one) to 65535")]
    [InlineData("myrmidon.replace-after = 10", "myrmidon.replace-after", "30s")]
    [InlineData("myrmidon.host = 0.0.0.0", "myrmidon.host", "myrmidon.advertised-host")]
    [InlineData("mirmidon.name = a", "mirmidon", "myrmidon and akka")]
    [InlineData("myrmidon.store.cache = 1", "myrmidon.store.cache", "is no setting")]
    [InlineData("myrmidon {\n name = \"a\"", "node.conf", "is not HOCON: the '{' in line 1 is not closed.")]
    [InlineData("myrmidon {\n name = \"a\n}", "node.conf", "is not HOCON: the quote in line 2 is not closed.")]
    [InlineData("myrmidon { name = \"\"\"a }", "node.conf", "is not HOCON: the quote in line 1 is not closed.")]
    [InlineData("myrmidon { name = a }\n}", "node.conf", "is not HOCON: the '}' in line 2 closes nothing.")]
    [InlineData("myrmidon { name = a,, }", "node.conf", "is not HOCON: Unknown token")]
    [InlineData("include \"b.conf\"", "node.conf", "is not HOCON: it includes b.conf; write the settings themselves here.")]
    [InlineData("myrmidon { seeds = [a:1] }", "node.conf", "is not HOCON: the ':' in the list in line 1 must be in quotes.")]
    public void Wrong_files(string text, string names, string says)
    {
        var result = NodeSettings.Load(None, None, Write(text));
        Assert.Null(result.Options);
        Assert.Contains(names, result.Error, StringComparison.Ordinal);
        Assert.Contains(says, result.Error, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', result.Error);
    }

    [Theory(DisplayName = "A misspelt variable is refused; a stranger's and a Kubernetes service link are not ours")]
    [InlineData("MYRMIDON_MESHPORT", "1", "MYRMIDON_MESH_PORT")]
    [InlineData("MYRMIDON_MESH_PORT", "x", "65535")]
    [InlineData("MYRMIDON_API_PORT", "tcp://10.0.0.1:5705", "")]
    [InlineData("MYRMIDON_ENDPOINT", "x", "")]
    [InlineData("OTHER", "x", "")]
    public void Variables(string name, string value, string error)
    {
        var result = NodeSettings.Load(None, new Dictionary<string, string> { [name] = value }, null);
        Assert.Equal(error.Length == 0, result.Options is not null);
        Assert.Contains(error, result.Error, StringComparison.Ordinal);
    }

    [Theory(DisplayName = "A list that Akka's parser never returns from, asking for ever more memory, is refused before")]
    [InlineData("myrmidon { seeds = [\"a:1\", \"b:1\" }", "the '[' in line 1 is not closed before the '}' in line 1.")]
    [InlineData("myrmidon {\n disks = [ /a\n", "the '[' in line 2 is not closed.")]
    [InlineData("myrmidon { disks = [ /a, /dev/disk/by-id/scsi@1 ] }", "the '@' in the list in line 1 must be in quotes.")]
    public void Endless_lists(string text, string says)
    {
        // Not by loading, which would take the machine's memory where it fails.
        Assert.Equal(says, HoconSyntax.Check(text) + ".");
        Assert.Contains(says, NodeSettings.Load(None, None, Write(text)).Error, StringComparison.Ordinal);
    }

    [Theory(DisplayName = "Quotes and brackets in comments and quotes are no syntax")]
    [InlineData("# { [ \"\nmyrmidon { // } \"\n name = \"\"\"{ \n [ \"\"\" }")]
    [InlineData("a = \"\\\"{\" \n b = [ \"a:1\", { c = d, e : f }, ${x}, g ] # [")]
    [InlineData("")]
    public void Right_syntax(string text) => Assert.Null(HoconSyntax.Check(text));

    [Fact(DisplayName = "The shipped files have nothing that is refused")]
    public void Shipped_syntax() => Assert.All(Directory.GetFiles(NodeSettings.ShippedDirectory), file => Assert.Null(HoconSyntax.Check(File.ReadAllText(file))));

    [Fact(DisplayName = "A file that is absent or not HOCON is refused by its name")]
    public void Unreadable_files()
    {
        var absent = Path.Combine(_directory, "absent.conf");
        Assert.Contains(absent, NodeSettings.Load(None, None, absent).Error, StringComparison.Ordinal);
        var broken = Write("myrmidon { name = ${absent} }");
        Assert.Contains(broken, NodeSettings.Load(None, None, broken).Error, StringComparison.Ordinal);
    }

    [Theory(DisplayName = "Durations and sizes are read with their units, and nothing else is")]
    [InlineData("500ms", 500)]
    [InlineData("1.5s", 1500)]
    [InlineData("10m", 600_000)]
    [InlineData("1d", 86_400_000)]
    [InlineData("10", -1)]
    [InlineData("-1s", -1)]
    [InlineData("1e3s", -1)]
    [InlineData("40d", -1)]
    [InlineData("", -1)]
    public void Durations(string text, long milliseconds)
    {
        var read = Quantities.TryDuration(text, out var value);
        Assert.Equal(milliseconds >= 0, read);
        if (read) Assert.Equal(milliseconds, value.TotalMilliseconds);
    }

    private static NodeOptions Load(Dictionary<string, string> flags, Dictionary<string, string> variables, string? file)
    {
        var result = NodeSettings.Load(flags, variables, file);
        Assert.Equal("", result.Error);
        return result.Options!;
    }

    private string Write(string text)
    {
        var file = Path.Combine(_directory, "node.conf");
        File.WriteAllText(file, text);
        return file;
    }
}
