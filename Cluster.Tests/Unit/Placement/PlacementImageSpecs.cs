using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;
using Cluster.Tests.Unit.Hosting;

namespace Cluster.Tests.Unit.Placement;

public sealed class PlacementImageSpecs
{
    [Fact(DisplayName = "An image of the catalogue, through its bytes, is the catalogue: whatever is on its way in it too, and every id that is gone")]
    public void Images()
    {
        var state = PlacementState.Empty.Apply(new CatalogueRecovered(100));
        var (spec, placement) = (ContractSamples.Events.OfType<VolumePlaced>().Single().Spec, ContractSamples.Events.OfType<VolumePlaced>().Single().Replicas[0]);
        ImmutableArray<ReplicaPlacement> copies = [placement with { Id = new ReplicaId(1) }, placement with { Id = new ReplicaId(2), Node = new NodeId(Guid.NewGuid()) }];
        var node = ContractSamples.Events.OfType<NodeRegistered>().Single().Node;
        VolumeSpec Spec(ulong id) => spec with { Id = new VolumeId(id), Name = $"v{id}", Source = null };
        var third = placement with { Id = new ReplicaId(3) };
        PlacementEvent[] events =
        [
            new NodeRegistered(node), new NodeRegistered(node with { Id = new NodeId(Guid.NewGuid()), Name = "other", AkkaAddress = "x" }), new NodeCordoned(node.Id, true), new NodeCordoned(node.Id, false), new NodeCordonedForRestart(node.Id),
            .. Enumerable.Range(101, 9).Select(id => new VolumePlaced(Spec((ulong)id), copies)),
            .. Enumerable.Range(101, 8).Select(id => new VolumeConfirmed(new VolumeId((ulong)id))),
            new VolumeRespecified(Spec(101) with { SizeBytes = 1 << 30 }), new ShrinkAsked(Spec(102)), new ReplacementPlaced(new VolumeId(103), new ReplicaId(1), third),
            new ReplacementConfirmed(new VolumeId(103), new ReplicaId(1)), new ReplacementPlaced(new VolumeId(104), new ReplicaId(1), third), new CopiesChanged(Spec(105), [third], [new ReplicaId(2)]),
            new RemovalAsked(new VolumeId(106), true, new VolumeRevision(3, 4)), new RemovalAsked(new VolumeId(107), false, null), new VolumeRemoved(new VolumeId(107)), new VolumeRemoved(new VolumeId(108)),
        ];
        foreach (var e in events)
        {
            state = state.Apply(e);
            var image = state.Image;
            var again = PlacementState.Empty.Apply((PlacementEvent)EventCodec.Decode(EventCodec.ManifestOf(image), EventCodec.Encode(image)));
            Assert.Equal(Text(state), Text(again));
            Assert.Equal(EventCodec.Encode(image), EventCodec.Encode(again.Image));
        }
        Assert.Equal([new IdRange(107, 108)], state.Image.Tombstones.AsEnumerable());
        Assert.True(state.IsGone(new HeldCopy(new VolumeId(103), new ReplicaId(1))) && !state.IsGone(new HeldCopy(new VolumeId(50), new ReplicaId(1))));
    }

    private static string Text(PlacementState state) => string.Join('\n',
        [$"{state.LastVolume} {string.Join(",", state.Tombstones.Order())} {string.Join(",", state.Names.OrderBy(name => name.Value))}",
        .. state.Nodes.Select(pair => $"{pair}"),
        .. state.Volumes.Values.Select(volume => $"{Convert.ToHexString(VolumeSpecCodec.Encode(volume.Spec))} {string.Join(";", volume.Replicas)} {volume.Phase} {volume.SpecPending} {volume.Replacement} {volume.LastReplica} "
            + $"{volume.Removal} {volume.ShrinkTo?.SizeBytes} {volume.SpecRevision} {string.Join(";", volume.Arrangement?.Added ?? [])} {string.Join(";", volume.Arrangement?.DropFirst ?? [])} {string.Join(",", volume.Dropped.Order())} {volume.Order?.GetType().Name}")]);
}
