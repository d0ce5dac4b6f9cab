using Akka.Actor;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// Whether the cluster has gone on without this node. Those of the others that have taken it out refuse it; a few may be a minority that took
/// the rest out before it ended itself. A node that was silent may have taken them out too, all at once when it woke up and before they could
/// refuse it: so whom it took out lately counts as one of the others. Pure; one thread.
/// </summary>
internal sealed class Refusals(TimeProvider time)
{
    /// <summary>Whoever was taken out for longer is not one of the others any more.</summary>
    public static readonly TimeSpan Recent = TimeSpan.FromSeconds(60);

    /// <summary>The others, with the time stamp at which they were taken out here; null: a member.</summary>
    private readonly Dictionary<Address, long?> _others = [];
    private readonly HashSet<Address> _refusers = [];

    /// <summary>A process of that address is a member now; what an earlier one said there counts no more.</summary>
    public void OnMember(Address other)
    {
        _others[other] = null;
        _refusers.Remove(other);
    }

    public void OnTakenOut(Address other)
    {
        if (_others.ContainsKey(other)) _others[other] = time.GetTimestamp();
    }

    public void OnLeft(Address other)
    {
        _others.Remove(other);
        _refusers.Remove(other);
    }

    public void OnRefused(Address other) => _refusers.Add(other);

    /// <summary>
    /// Most of the others refuse this node; or some do, and those that it has not taken out itself are, with it, no majority.
    /// </summary>
    public bool IsTakenOut()
    {
        foreach (var (other, since) in _others)
        {
            if (since is { } at && time.GetElapsedTime(at) > Recent) OnLeft(other);
        }
        var refusers = _refusers.Count(_others.ContainsKey);
        var members = _others.Values.Count(since => since is null);
        return refusers > 0 && (refusers > _others.Count / 2 || (1 + members) * 2 <= 1 + _others.Count);
    }
}
