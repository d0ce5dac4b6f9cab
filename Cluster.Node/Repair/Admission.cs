using Cluster.Messages.Model;

namespace Cluster.Node.Repair;

/// <summary>
/// Lets so many in at once, in the order in which they first asked. Those that wait ask again; who gives up leaves. Pure; on one loop. Nobody waits twice, so it is
/// bounded by who there is to ask: copies of a node's volumes.
/// </summary>
public sealed class Admission(int max)
{
    private readonly List<object> _inside = [];
    private readonly List<object> _waiting = [];

    public int InsideCount => _inside.Count;

    public int WaitingCount => _waiting.Count;

    /// <summary>Whether it is inside now. If not, it has a place in the queue, unless it asked not to.</summary>
    public bool TryEnter(object who, bool queues = true)
    {
        if (_inside.Contains(who)) return true;
        var place = _waiting.IndexOf(who);
        if (place < 0) place = _waiting.Count;
        if (place >= max - _inside.Count)
        {
            if (queues && place == _waiting.Count) _waiting.Add(who);
            return false;
        }
        _waiting.Remove(who);
        _inside.Add(who);
        Invariant.That(_inside.Count <= max, "more were let in than there is room for");
        return true;
    }

    public bool IsWaiting(object who) => _waiting.Contains(who);

    public void Leave(object who)
    {
        if (!_inside.Remove(who)) _waiting.Remove(who);
    }
}
