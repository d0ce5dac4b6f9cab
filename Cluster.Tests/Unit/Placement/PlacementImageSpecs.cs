using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Serialization;
using Cluster.Node.Journal;
using Cluster.Node.Journal.State;
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
            CheckSums(state);
            var image = state.Image;
            var again = PlacementState.Empty.Apply((PlacementEvent)EventCodec.Decode(EventCodec.ManifestOf(image), EventCodec.Encode(image)));
            Assert.Equal(Text(state), Text(again));
            CheckSums(again);
            Assert.Equal(EventCodec.Encode(image), EventCodec.Encode(again.Image));
        }
        Assert.Equal([new IdRange(107, 108)], state.Image.Tombstones.AsEnumerable());
        Assert.True(state.IsGone(new HeldCopy(new VolumeId(103), new ReplicaId(1))) && !state.IsGone(new HeldCopy(new VolumeId(50), new ReplicaId(1))));
    }

    /// <summary>What is kept with each change is what a walk over all volumes finds.</summary>
    private static void CheckSums(PlacementState state)
    {
        var copies = state.Volumes.Values.SelectMany(volume => volume.AllCopies().Select(copy => (copy.Node, volume.Spec.SizeBytes))).GroupBy(copy => copy.Node)
            .ToDictionary(node => node.Key, node => new NodeShare(node.Count(), node.Aggregate((UInt128)0, (sum, copy) => sum + copy.SizeBytes)));
        Assert.Equal(copies.OrderBy(node => node.Key), state.Shares.OrderBy(node => node.Key));
        var without = EventCodec.Encode(state.Image with { Volumes = [] }).Length;
        Assert.Equal(EventCodec.Encode(state.Image).Length - without, state.VolumesBytes - (state.Volumes.Count * PlacementState.VolumeReserveBytes));
    }

    [Fact(DisplayName = "A catalogue that would not fit into one command of the journal any more takes no volume and no label more, and says so; it takes them again once volumes are gone, and its largest image fits")]
    public void Bounded()
    {
        var fixture = new PlacementFixture().WithNodes(5);
        var label = new string('x', Limits.LabelLengthMax);
        var labels = Enumerable.Range(0, Limits.LabelsMax).Select(number => ($"{number:d3}{label[3..]}", label)).ToArray();
        var made = 0;
        PlacementDecision decision;
        while ((decision = fixture.Create($"v{made}", 1UL << 30, labels)).Event is not null) made++;
        var refused = Assert.IsType<PlacementProtocol.Refused>(decision.Answer);
        Assert.Equal(RefusalKind.Impossible, refused.Kind);
        Assert.Contains($"v{made} as it is to be: {made} volumes", refused.Reason, StringComparison.Ordinal);
        while (fixture.Create($"v{made}").Event is not null) made++;
        // So does its list, between two nodes.
        Assert.InRange(new ControlSerializer(null!).ToBinary(PlacementMachine.List(fixture.State, new PlacementProtocol.ListVolumes(""))).Length, 2 << 20, ControlSerializer.BodyBytesMax);
        var last = fixture.State.Volumes.Values.Last();
        var change = new PlacementProtocol.ChangeVolume(last.Spec.FullName, 0, PlacementFixture.Labels(("a", label), ("b", label), ("c", label), ("d", label)), null, false);
        Assert.IsType<PlacementProtocol.Refused>(PlacementMachine.Change(fixture.State, fixture.Nodes, change, fixture.NewGuid).Answer);
        var fewer = new PlacementProtocol.ChangeVolume(fixture.State.Volumes.Values.First().Spec.FullName, 0, PlacementFixture.Labels((labels[0].Item1, "")), null, false);
        Assert.NotNull(PlacementMachine.Change(fixture.State, fixture.Nodes, fewer, fixture.NewGuid).Event);
        // Whatever comes without being asked for: a deletion of each, and copies made anew again and again.
        foreach (var volume in fixture.State.Volumes.Values.ToArray())
        {
            fixture.Apply(new VolumeConfirmed(volume.Spec.Id));
            for (var number = 4; number < 12; number += 2)
            {
                var lost = fixture.State.Volumes[volume.Spec.Id].Replicas[0];
                fixture.Apply(new ReplacementPlaced(volume.Spec.Id, lost.Id, lost with { Id = new ReplicaId((ushort)number) }));
                fixture.Apply(new ReplacementConfirmed(volume.Spec.Id, lost.Id));
            }
            fixture.Apply(new RemovalAsked(volume.Spec.Id, false, new VolumeRevision(1, 2)));
        }
        var command = MetaCommandCodec.Encode(new MetaCommand.SaveSnapshot(PlacementActor.StreamId, new MetaSnapshot(1, 1, new MetaPayload(1, "placement-image/1", EventCodec.Encode(fixture.State.Image)))));
        Assert.InRange(command.Length, JournalLimits.CommandBytesMax / 4 * 3, JournalLimits.CommandBytesMax);
        foreach (var volume in fixture.State.Volumes.Keys.Take(5).ToArray()) fixture.Apply(new VolumeRemoved(volume));
        Assert.NotNull(fixture.Create("again").Event);
    }

    private static string Text(PlacementState state) => string.Join('\n',
        [$"{state.LastVolume} {string.Join(",", state.Tombstones.Order())} {string.Join(",", state.Names.OrderBy(name => name.Value))}",
        .. state.Nodes.Select(pair => $"{pair}"),
        .. state.Volumes.Values.Select(volume => $"{Convert.ToHexString(VolumeSpecCodec.Encode(volume.Spec))} {string.Join(";", volume.Replicas)} {volume.Phase} {volume.SpecPending} {volume.Replacement} {volume.LastReplica} "
            + $"{volume.Removal} {volume.ShrinkTo?.SizeBytes} {volume.SpecRevision} {string.Join(";", volume.Arrangement?.Added ?? [])} {string.Join(";", volume.Arrangement?.DropFirst ?? [])} {string.Join(",", volume.Dropped.Order())} {volume.Order?.GetType().Name}")]);
}
