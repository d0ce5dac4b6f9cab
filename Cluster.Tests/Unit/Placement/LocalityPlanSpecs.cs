using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Placement;

/// <summary>Owners follow who uses their volumes: after a settling time, few at one time, and never to and fro.</summary>
public sealed class LocalityPlanSpecs
{
    private const long Settle = 10_000;
    private static readonly NodeId A = Node(1), B = Node(2), C = Node(3);
    private readonly LocalityPlan _plan = new(TimeSpan.FromMilliseconds(Settle));
    private readonly Dictionary<(NodeId Owner, VolumeId Volume), AwayVolume> _away = [];
    private readonly HashSet<NodeId> _unfit = [];
    private long _now = 1_000_000;

    [Fact(DisplayName = "An owner follows once a node has been the only user for the settling time, not before, and is asked for once")]
    public void Settles()
    {
        Away(1, A, B);
        Assert.Empty(Pass(Settle - 1000));
        var move = Assert.Single(Pass(1000));
        Assert.Equal((new VolumeId(1), A, B), (move.Away.Volume, move.Owner, move.Away.FrontEnd));
        Assert.Empty(Pass(5000));
        Assert.False(_plan.OnServed(new VolumeId(1), A));
        Assert.True(_plan.OnServed(new VolumeId(1), B));
        Assert.False(_plan.OnServed(new VolumeId(1), B));
    }

    [Fact(DisplayName = "A user that goes, another user, another attachment or another owner: the settling time begins anew")]
    public void Begins_anew()
    {
        Away(1, A, B);
        Assert.Empty(Pass(Settle - 1000));
        Home(1, A);
        Assert.Empty(Pass(2000));
        Away(1, A, B);
        Assert.Empty(Pass(Settle - 1000));
        Away(1, A, C);
        Assert.Empty(Pass(Settle - 1000));
        Away(1, A, C, generation: 1);
        Assert.Empty(Pass(Settle - 1000));
        Home(1, A);
        Away(1, B, C, generation: 1);
        Assert.Empty(Pass(Settle - 1000));
        Assert.Equal(C, Assert.Single(Pass(1000)).Away.FrontEnd);
    }

    [Fact(DisplayName = "Nothing moves on the word of a node that is not heard of any more")]
    public void Stale_word()
    {
        Away(1, A, B);
        Pass(Settle - 1000);
        _now += LocalityPlan.SaidMs + 1000;
        Assert.Empty(_plan.Next(_now, Fit));
    }

    [Fact(DisplayName = "A node that is cordoned, drained or ails takes no owner, and settles anew once it is fit")]
    public void Unfit()
    {
        _unfit.Add(B);
        Away(1, A, B);
        Assert.Empty(Pass(5 * Settle));
        _unfit.Clear();
        Assert.Empty(Pass(Settle - 1000));
        Assert.Single(Pass(1000));
    }

    [Fact(DisplayName = "Only so many move at one time, those first that have waited for longest")]
    public void Few_at_one_time()
    {
        for (ulong id = 1; id <= 10; id++)
        {
            Away(11 - id, A, B);
            Assert.Empty(Pass(100));
        }
        var first = Pass(Settle);
        Assert.Equal([10UL, 9, 8, 7], first.Select(move => move.Away.Volume.Value));
        Assert.Empty(Pass(1000));
        Made(10, A, B);
        Assert.Equal(6UL, Assert.Single(Pass(1000)).Away.Volume.Value);
    }

    [Fact(DisplayName = "A volume that leaves its user again and again moves back after growing pauses only; one that stays is forgiven")]
    public void No_ping_pong()
    {
        var times = new List<long>();
        for (var count = 0; count < 7; count++)
        {
            Away(1, A, B);
            times.Add(UntilMove(1));
            Made(1, A, B);
        }
        var pauses = times.Zip(times.Skip(1), (one, next) => next - one).ToArray();
        Assert.Equal(Settle * LocalityPlan.PauseMin, pauses[0]);
        Assert.Equal([.. pauses.Order()], pauses);
        Assert.Equal(Settle * LocalityPlan.PauseMax, pauses[^1]);
        Pass(Settle * (LocalityPlan.PauseMax + LocalityPlan.Quiet + 1));
        Assert.Equal(0, _plan.Count);
        var again = _now;
        Away(1, A, B);
        Assert.Equal(Settle, UntilMove(1) - again);
    }

    [Fact(DisplayName = "A user that goes from node to node is followed with the shortest pause")]
    public void Pods_move()
    {
        Away(1, A, B);
        var first = UntilMove(1);
        Made(1, A, B);
        Away(1, B, C);
        var second = UntilMove(1);
        Made(1, B, C);
        Away(1, C, B);
        Assert.Equal((Settle * LocalityPlan.PauseMin, Settle * LocalityPlan.PauseMin), (second - first, UntilMove(1) - second));
    }

    [Fact(DisplayName = "A move that does not come to its end is taken back, makes room for others, and is tried again after longer and longer pauses")]
    public void Late()
    {
        Away(1, A, B);
        var asked = UntilMove(1);
        Pass(LocalityPlan.MoveMs - 1000);
        Assert.Empty(_plan.TakeLate(_now));
        Pass(1000);
        Assert.Equal(B, Assert.Single(_plan.TakeLate(_now)).Away.FrontEnd);
        Assert.Empty(_plan.TakeLate(_now));
        Assert.Empty(_plan.UnderWay);
        var (late, second) = (_now, UntilMove(1));
        Assert.Equal(2 * LocalityPlan.PauseMin * Settle, second - late);
        Pass(LocalityPlan.MoveMs);
        _plan.TakeLate(_now);
        Assert.True(UntilMove(1) - _now <= 0 && _now - second > second - asked);
    }

    [Fact(DisplayName = "An operator's move keeps the owner where it is; it is looked at again now and then, and at once under another attachment")]
    public void Pinned()
    {
        Away(1, A, B);
        var asked = UntilMove(1);
        _plan.OnNotAsked(new VolumeId(1), isPinned: true, _now);
        Assert.Equal(LocalityPlan.PinnedAgain * Settle, UntilMove(1) - asked);
        _plan.OnNotAsked(new VolumeId(1), isPinned: true, _now);
        var detached = _now;
        Away(1, A, B, generation: 2);
        Assert.Equal(Settle, UntilMove(1) - detached);
    }

    [Fact(DisplayName = "A request that nobody took is made again soon, and counts as no move")]
    public void Not_taken()
    {
        Away(1, A, B);
        var asked = UntilMove(1);
        _plan.OnNotAsked(new VolumeId(1), isPinned: false, _now);
        Assert.Equal(Settle, UntilMove(1) - asked);
    }

    [Fact(DisplayName = "Volumes whose moves nobody takes don't keep others from theirs")]
    public void Others_first()
    {
        for (ulong id = 1; id <= 60; id++) Away(id, A, B);
        var asked = new HashSet<ulong>();
        for (var seconds = 0; seconds < 30; seconds++)
        {
            foreach (var move in Pass(1000))
            {
                asked.Add(move.Away.Volume.Value);
                if (move.Away.Volume.Value <= 50) _plan.OnNotAsked(move.Away.Volume, isPinned: false, _now);
                else Made(move.Away.Volume.Value, A, B);
            }
        }
        Assert.Equal(60, asked.Count);
    }

    private static NodeId Node(int number) => new(new Guid(number, 0, 0, new byte[8]));

    private bool Fit(AwayVolume away) => !_unfit.Contains(away.FrontEnd);

    private void Away(ulong id, NodeId owner, NodeId front, ulong generation = 0) =>
        _away[(owner, new VolumeId(id))] = new AwayVolume(new VolumeId(id), front, generation);

    private void Home(ulong id, NodeId owner)
    {
        _away.Remove((owner, new VolumeId(id)));
        Report(owner);
    }

    private void Made(ulong id, NodeId from, NodeId to)
    {
        Assert.True(_plan.OnServed(new VolumeId(id), to));
        Home(id, from);
    }

    private void Report(NodeId owner) => _plan.OnReport(owner, [.. _away.Where(away => away.Key.Owner == owner).Select(away => away.Value)], _now);

    /// <summary>Every owner reports each second, and placement looks.</summary>
    private List<FollowMove> Pass(long ms)
    {
        var moves = new List<FollowMove>();
        for (var end = _now + ms; ;)
        {
            foreach (var owner in _away.Keys.Select(key => key.Owner).Distinct().ToArray()) Report(owner);
            moves.AddRange(_plan.Next(_now, Fit));
            if (_now >= end) return moves;
            _now += Math.Min(100, end - _now);
        }
    }

    private long UntilMove(ulong id)
    {
        for (var steps = 0; steps < 100_000; steps++)
        {
            if (Pass(0).Any(move => move.Away.Volume.Value == id)) return _now;
            _now += 100;
        }
        throw new Xunit.Sdk.XunitException("it never moved");
    }
}
