using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Client;

// Writes that the owner may hold, and that nobody waits for any more.
public partial class VolumeSessionSpecs
{
    [Fact(DisplayName = "A write that the owner has, and that is given up after the hold time, is not done after what is asked next: the session is opened anew in between")]
    public void Given_up()
    {
        var link = Owner.Link!;
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        Assert.True(link.StepIn());
        _loop.Advance(60_000 + ClientLimits.HoldCheckMs);
        Assert.Equal(IoStatus.HoldExpired, write.Status);
        GoesAnew(link);
    }

    [Fact(DisplayName = "A write that the owner has, and whose client is gone, is not done after what another client of the session asks next: the session is opened anew in between")]
    public void Given_up_by_one_of_two()
    {
        Assert.Same(_session, Open().Session);
        var link = Owner.Link!;
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        Assert.True(link.StepIn());
        write.Abandoned = true;
        _session.Close();
        Assert.True(write.IsDone);
        Assert.False(_session.IsOver);
        GoesAnew(link);
    }

    [Fact(DisplayName = "A session whose only client is gone is closed at once, whatever its writes come to")]
    public void Given_up_by_the_last()
    {
        var write = Submit(ProbeRequest.Write(0, Pattern(Block)));
        Assert.True(Owner.Link!.StepIn());
        write.Abandoned = true;
        _session.Close();
        Assert.True(write.IsDone && _session.IsOver);
        Owner.Settle();
        Assert.Equal(1, Sent(FrameKind.SessionClose));
    }

    private void GoesAnew(FakeLink link)
    {
        Owner.Arrived.Clear();
        var trim = Submit(ProbeRequest.Of(BlockOperation.Trim, 0, Block));
        Assert.Equal(0, link.ToOwnerCount);
        _loop.Advance(ClientLimits.ReconnectMsMax);
        Owner.Settle();
        Assert.NotSame(link, Owner.Link);
        Assert.Equal(IoStatus.Ok, trim.Status);
        Assert.Equal([FrameKind.SessionOpen, FrameKind.ClientWrite], Owner.Arrived.Select(frame => frame.Header.Kind));
    }
}
