using Cluster.Messages.Model;
using Cluster.Node.Owner;

namespace Cluster.Tests.Unit.Owner;

public sealed class OwnerTableSpecs
{
    private static readonly VolumeId Volume = new(7);
    private static readonly NodeId A = new(Guid.Parse("00000000-0000-0000-0000-00000000000a"));
    private static readonly NodeId B = new(Guid.Parse("00000000-0000-0000-0000-00000000000b"));

    private readonly OwnerTable _table = new();

    [Fact(DisplayName = "The owner with the higher epoch is believed, in whichever order the two are heard")]
    public void Higher_epoch_wins()
    {
        Assert.Null(_table.Of(Volume));
        Assert.True(_table.Serves(Volume, A, 3));
        Assert.True(_table.Serves(Volume, B, 4));
        Assert.False(_table.Serves(Volume, A, 3));
        Assert.Equal(new ServedBy(B, 4), _table.Of(Volume));
        Assert.False(_table.Serves(Volume, B, 4));
    }

    [Fact(DisplayName = "An owner that ended is not named any more, and one that it has replaced does not come back")]
    public void Ended_owners_are_gone()
    {
        _table.Serves(Volume, B, 4);
        _table.Ended(Volume, A, 4);
        _table.Ended(Volume, B, 3);
        Assert.Equal(new ServedBy(B, 4), _table.Of(Volume));
        _table.Ended(Volume, B, 4);
        Assert.Null(_table.Of(Volume));
        Assert.False(_table.Serves(Volume, A, 3));
        Assert.Null(_table.Of(Volume));
    }

    [Fact(DisplayName = "A lost node serves nothing until it says so again; others stay")]
    public void Lost_nodes_are_forgotten()
    {
        var other = new VolumeId(8);
        _table.Serves(Volume, A, 3);
        _table.Serves(other, B, 1);
        _table.Lost(A);
        Assert.Null(_table.Of(Volume));
        Assert.Equal([(other, 1UL)], _table.ServedAt(B));
        Assert.True(_table.Serves(Volume, A, 3));
        Assert.Equal([(Volume, 3UL)], _table.ServedAt(A));
    }

    [Fact(DisplayName = "Volumes that nobody serves are forgotten before the table grows without bound")]
    public void The_table_is_bounded()
    {
        const int Many = 70_000;
        for (ulong number = 1; number <= Many; number++)
        {
            _table.Serves(new VolumeId(number), A, 1);
            if (number > 10) _table.Ended(new VolumeId(number), A, 1);
        }
        Assert.Equal(10, _table.ServedAt(A).Count);
        // A forgotten one is believed anew.
        Assert.True(_table.Serves(new VolumeId(100), B, 1));
    }
}
