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
}
