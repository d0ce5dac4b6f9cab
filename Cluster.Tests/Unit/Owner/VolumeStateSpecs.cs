using System.Collections;
using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

/// <summary>What the journal's events say of the order of a volume's records.</summary>
public sealed class VolumeStateSpecs
{
    private static readonly VolumeId Volume = new(0x0102);

    private static VolumeState Opened(params (ulong Epoch, ulong Start)[] epochs)
    {
        var state = VolumeState.Empty;
        foreach (var (epoch, start) in epochs) state = state.Apply(new EpochOpened(Volume, new Epoch(epoch), start, epoch, ImmutableArray<InSyncMember>.Empty));
        return state;
    }

    [Fact(DisplayName = "A log leaves the order where the first of the later epochs begins that cut it, whichever that is: one may lose what an earlier one took over (seed 101418)")]
    public void Fork_is_the_lowest_start()
    {
        // Guards VolumeState.Fork: R1, R8, R13.
        var state = Opened((1, 0), (3, 9), (5, 6), (6, 7));
        Assert.Equal(6UL, state.Fork(1, 8));
        Assert.Equal(6UL, state.Fork(3, 12));
        Assert.Equal(5UL, state.Fork(1, 5));
        Assert.Equal(7UL, state.Fork(5, 8));
        Assert.Equal(8UL, state.Fork(6, 8));
        Assert.Equal(0UL, state.Fork(1, 0));
    }

    [Fact(DisplayName = "What the epoch opened before the newest one had is told apart from what was lost before it")]
    public void Was_in_order()
    {
        Assert.True(Opened((1, 0), (3, 9), (5, 6)).WasInOrder(1, 8));
        Assert.False(Opened((1, 0), (3, 9), (5, 6), (6, 6)).WasInOrder(1, 8));
        Assert.True(Opened((1, 0), (3, 9), (5, 6), (6, 6)).WasInOrder(5, 8));
    }

    [Fact(DisplayName = "An image has all of a state: whatever happened before it and after it, the state is the same with and without it, in every field")]
    public void Images()
    {
        for (var seed = 0; seed < 200; seed++)
        {
            var random = new Random(seed);
            var (state, imaged) = (VolumeState.Empty, VolumeState.Empty);
            for (ulong number = 1; number < 150; number++)
            {
                var e = Draw(random, state, number);
                (state, imaged) = (state.Apply(e), imaged.Apply(e));
                if (random.Next(20) == 0)
                {
                    var image = state.ImageOf(Volume);
                    imaged = VolumeState.Empty.Apply((VolumeEvent)EventCodec.Decode(EventCodec.ManifestOf(image), EventCodec.Encode(image)));
                }
                foreach (var field in typeof(VolumeState).GetProperties().Where(field => field.CanWrite))
                    Assert.True(IsSame(field.GetValue(state), field.GetValue(imaged)), $"seed {seed}, event {number}: {field.Name} is {field.GetValue(state)} and {field.GetValue(imaged)}");
            }
        }
    }

    private static bool IsSame(object? one, object? other) => (one, other) switch
    {
        (VolumeSpec left, VolumeSpec right) => VolumeSpecCodec.Same(left, right),
        (IDictionary or IEnumerable and not string, IEnumerable and not string) => Sorted(one).SequenceEqual(Sorted(other)),
        _ => Equals(one, other),
    };

    /// <summary>Sets and dictionaries have no order, and arrays need none here: what is in them tells it.</summary>
    private static IEnumerable<string> Sorted(object? items) => ((IEnumerable)items!).Cast<object>().Select(item => $"{item}").Order(StringComparer.Ordinal);

    private static VolumeEvent Draw(Random random, VolumeState state, ulong number)
    {
        var spec = new VolumeSpec(Volume, "default", "pg", number << 20, 1 + random.Next(3), FailureModeKind.Soft, 0, 300_000, true, ImmutableSortedDictionary<string, string>.Empty);
        var copy = new ReplicaPlacement(new ReplicaId((ushort)number), new NodeId(new Guid((int)number, 0, 0, new byte[8])), $"n{number}", new Guid((int)number, 1, 0, new byte[8]));
        if (state.Spec is null) return new VolumeCreated(Volume, spec, [copy]);
        ImmutableArray<InSyncMember> members = [.. state.Replicas.Where(_ => random.Next(3) > 0).Select(replica => new InSyncMember(replica.Id, replica.Identity, number, number + 1))];
        return random.Next(15) switch
        {
            13 when state.Snapshots.Length > 0 => new RestoreStarted(Volume, state.Snapshots[random.Next(state.Snapshots.Length)].Sequence),
            14 => new RestoreEnded(Volume),
            11 => new CloneStarted(Volume, number * 10, $"c{random.Next(3)}", number),
            12 => new CloneEnded(Volume, $"c{random.Next(3)}"),
            0 => new EpochStarted(Volume, new Epoch(number), copy.Node, copy.NodeName),
            1 or 2 => new EpochOpened(Volume, new Epoch(number), number * 10, number, members),
            3 => new InSyncChanged(Volume, state.Opened, number, members, "drawn"),
            4 => new ReplicaAdded(Volume, copy),
            5 when state.Replicas.Length > 1 => new ReplicaRemoved(Volume, state.Replicas[random.Next(state.Replicas.Length)].Id, "drawn"),
            6 => new AttachmentChanged(Volume, new Attachment(number, AttachmentMode.Exclusive, copy.Node, copy.NodeName)),
            7 => new SpecChanged(Volume, spec, number),
            8 => new SnapshotCreated(Volume, number * 10, $"s{number}", number),
            9 when state.Snapshots.Length > 0 => new SnapshotDeleted(Volume, state.Snapshots[random.Next(state.Snapshots.Length)].Sequence),
            10 when random.Next(10) == 0 => new VolumeRecovered(Volume, spec, [copy], new Epoch(number), number - 1, number * 10, number, [new InSyncMember(copy.Id, copy.Identity, 1, 2)]),
            10 when random.Next(20) == 0 => new VolumeDeleted(Volume),
            _ => new InSyncChanged(Volume, state.Opened, number, members, "drawn"),
        };
    }
}
