using System.Reflection;
using System.Text.RegularExpressions;
using Cluster.Csi.Nbd;
using Cluster.Messages.Model;

namespace Cluster.Tests.Architecture;

/// <summary>Who may know whom (ARCHITECTURE.md).</summary>
public partial class DependencySpecs
{
    [Fact(DisplayName = "Messages references nothing but the framework")]
    public void Messages() => Assert.Empty(Strangers(typeof(VolumeId).Assembly, "System."));

    [Fact(DisplayName = "Csi references Messages, the framework, gRPC and LZ4 only")]
    public void Front_ends() => Assert.Empty(
        Strangers(typeof(NbdServer).Assembly, "System.", "Microsoft.Extensions.", "Microsoft.AspNetCore", "Microsoft.Win32.Primitives", "Cluster.Messages", "K4os.",
            "Grpc.", "Google.Protobuf"));

    [Fact(DisplayName = "The store references no Akka")]
    public void Store() => Assert.Empty(Uses(Repository.Under("Cluster.Node/Store"), "Akka"));

    [Fact(DisplayName = "Machines reference no Akka, clock, socket, file or thread")]
    public void Machines()
    {
        var machines = Repository.Under("Cluster.Node").Where(file => MachineFile().IsMatch(file)).ToArray();
        Assert.Contains("Cluster.Node/Owner/VolumeMachine.cs", machines);
        Assert.Contains("Cluster.Node/Replica/ReplicaMachine.cs", machines);
        Assert.Contains("Cluster.Node/Placement/PlacementMachine.cs", machines);
        Assert.Empty(Uses(machines, "Akka"));
        Assert.Empty(Uses(machines, "System.Net"));
        Assert.Empty(Uses(machines, "System.Threading"));
        var impure = machines.Where(file => ImpureCall().IsMatch(SourceText.Blank(Repository.Read(file))));
        Assert.Empty(impure);
    }

    [Fact(DisplayName = "Owners and replicas meet only through Messages")]
    public void Owner_and_replica()
    {
        Assert.Empty(Uses(Repository.Under("Cluster.Node/Owner"), "Cluster.Node.Replica"));
        Assert.Empty(Uses(Repository.Under("Cluster.Node/Owner"), "Cluster.Node.Store"));
        Assert.Empty(Uses(Repository.Under("Cluster.Node/Replica"), "Cluster.Node.Owner"));
        Assert.Empty(Uses(Repository.Under("Cluster.Node/Store"), "Cluster.Node.Replica"));
        Assert.Empty(Uses(Repository.Under("Cluster.Node/Store"), "Cluster.Node.Owner"));
    }

    [Fact(DisplayName = "Only Hosting and the CLI see everything; the parts do not know who wires them")]
    public void Hosting()
    {
        var parts = Repository.Under("Cluster.Node/Store", "Cluster.Node/Owner", "Cluster.Node/Replica", "Cluster.Node/Ingress",
            "Cluster.Node/Journal");
        Assert.Empty(Uses(parts, "Cluster.Node.Hosting"));
        Assert.Empty(Uses(parts, "Cluster.Node.Api"));
    }

    private static IEnumerable<string> Strangers(Assembly assembly, params string[] allowed) => assembly.GetReferencedAssemblies()
        .Select(reference => reference.Name!).Where(name => !allowed.Any(start => name.StartsWith(start, StringComparison.Ordinal)));

    private static IEnumerable<string> Uses(IEnumerable<string> files, string space) => files.Where(file =>
        Regex.IsMatch(SourceText.Blank(Repository.Read(file)),
            $@"\b(using|global::)\s*{Regex.Escape(space)}\b|(?<![\w.]){Regex.Escape(space)}\."));

    [GeneratedRegex(@"/[A-Za-z]*Machine(\.[A-Za-z]+)?\.cs$", RegexOptions.CultureInvariant)]
    private static partial Regex MachineFile();

    [GeneratedRegex(@"\b(DateTime(Offset)?\.(Utc)?Now|Stopwatch|Environment\.TickCount|File\.|Random\.Shared|Guid\.NewGuid|Task\.Run)\b",
        RegexOptions.CultureInvariant)]
    private static partial Regex ImpureCall();
}
