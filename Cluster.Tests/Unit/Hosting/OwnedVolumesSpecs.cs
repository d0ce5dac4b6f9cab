using System.Globalization;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Api;
using Cluster.Node.Hosting.Volumes;
using Cluster.Tests.Unit.Owner;

namespace Cluster.Tests.Unit.Hosting;

public sealed class OwnedVolumesSpecs
{
    private readonly Metrics _metrics = new();
    private readonly OwnedVolumes _owned = new();

    public OwnedVolumesSpecs() => _owned.Expose(_metrics);

    [Fact(DisplayName = "Volumes that are not healthy are named with their state for as long as they are; healthy ones are only counted")]
    public void Named()
    {
        Tick(("db", "healthy"), ("shop/web", "degraded"), ("log", "held"));
        var page = _metrics.Write();
        Assert.Contains("myrmidon_volume_state{volume=\"shop/web\",state=\"degraded\"} 1", page, StringComparison.Ordinal);
        Assert.Contains("myrmidon_volume_state{volume=\"log\",state=\"held\"} 1", page, StringComparison.Ordinal);
        Assert.DoesNotContain("volume=\"db\"", page, StringComparison.Ordinal);
        Assert.Contains("myrmidon_volumes{state=\"healthy\"} 1", page, StringComparison.Ordinal);
        Tick(("db", "healthy"), ("shop/web", "healthy"), ("log", "degraded"));
        Assert.Equal(["myrmidon_volume_state{volume=\"log\",state=\"degraded\"} 1"], Samples());
        Tick();
        Assert.Empty(Samples());
    }

    [Fact(DisplayName = "No more are named than the bound; all are counted")]
    public void Bounded()
    {
        Tick([.. Enumerable.Range(0, 1000).Select(number => (number.ToString(CultureInfo.InvariantCulture), "starting"))]);
        Assert.Equal(OwnedVolumes.NamedMax, Samples().Length);
        Assert.Contains("myrmidon_volumes{state=\"starting\"} 1000", _metrics.Write(), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A volume that was deleted, or has left this node, is none of its owner's: it hides no other one that nobody owns")]
    public void Stopped()
    {
        using var rig = OwnerRig.Serving(1);
        Count();
        Assert.Contains("myrmidon_volumes{state=\"healthy\"} 1", _metrics.Write(), StringComparison.Ordinal);
        rig.Client(null, FrameKind.SessionClose, 0, new SessionOpenBody(rig.Session, 1).Encode(new byte[SessionOpenBody.SizeBytes]));
        Assert.Equal(IoStatus.Ok, rig.Machine.Delete().Status);
        rig.Journal();
        Assert.Equal("deleted", rig.Machine.StateName);
        Count();
        Assert.All(_metrics.Write().Split('\n').Where(line => line.StartsWith("myrmidon_volumes{", StringComparison.Ordinal)), line => Assert.EndsWith(" 0", line, StringComparison.Ordinal));

        void Count()
        {
            _owned.Begin();
            _owned.Add(rig.Machine);
            _owned.End();
        }
    }

    [Fact(DisplayName = "How many volumes the cluster has is told only where placement runs")]
    public void Placed()
    {
        Assert.DoesNotContain("\nmyrmidon_placement_volumes ", _metrics.Write(), StringComparison.Ordinal);
        _owned.CountPlaced(3);
        Assert.Contains("\nmyrmidon_placement_volumes 3\n", _metrics.Write(), StringComparison.Ordinal);
        _owned.CountPlaced(null);
        Assert.DoesNotContain("\nmyrmidon_placement_volumes ", _metrics.Write(), StringComparison.Ordinal);
    }

    private void Tick(params (string Name, string State)[] volumes)
    {
        _owned.Begin();
        foreach (var (name, state) in volumes)
            _owned.Add(state, name, name => state != "healthy" ? name : throw new InvalidOperationException("the name of a healthy volume is not needed"));
        _owned.End();
    }

    private string[] Samples() => [.. _metrics.Write().Split('\n').Where(line => line.StartsWith("myrmidon_volume_state{", StringComparison.Ordinal))];
}
