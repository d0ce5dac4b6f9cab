using Cluster.Messages.Model;
using Cluster.Tests.Unit.Hosting;

namespace Cluster.Tests.Unit.Wire;

public class VolumeRevisionSpecs
{
    [Fact(DisplayName = "A revision has one text, which reads back as the same")]
    public void Text()
    {
        var revision = new VolumeRevision(0xab, 12);
        Assert.Equal("00000000000000ab-12", revision.ToString());
        Assert.True(VolumeRevision.TryParse(revision.ToString(), out var again));
        Assert.Equal(revision, again);
        foreach (var wrong in new[] { "", "ab-12", "00000000000000AB-12", "00000000000000ab-012", "00000000000000ab-", "00000000000000ab-x",
            "00000000000000ab--1", "00000000000000ab-99999999999999999999", VolumeRevision.UnknownGeneration(0xab) })
            Assert.False(VolumeRevision.TryParse(wrong, out _), wrong);
    }

    [Fact(DisplayName = "The catalogue's part changes with size, labels, id and copies, and with nothing else")]
    public void Catalogue_part()
    {
        var (spec, placement) = (ContractSamples.Spec, ContractSamples.Placement);
        var revision = VolumeRevision.CatalogueOf(spec, [placement]);
        Assert.Equal(revision, VolumeRevision.CatalogueOf(spec with { Labels = spec.Labels }, [placement with { NodeName = "renamed" }]));
        Assert.NotEqual(revision, VolumeRevision.CatalogueOf(spec with { SizeBytes = spec.SizeBytes + 4096 }, [placement]));
        Assert.NotEqual(revision, VolumeRevision.CatalogueOf(spec with { Labels = spec.Labels.Add("x", "y") }, [placement]));
        Assert.NotEqual(revision, VolumeRevision.CatalogueOf(spec with { Id = new VolumeId(99) }, [placement]));
        Assert.NotEqual(revision, VolumeRevision.CatalogueOf(spec, [placement with { Id = new ReplicaId(9) }]));
    }
}
