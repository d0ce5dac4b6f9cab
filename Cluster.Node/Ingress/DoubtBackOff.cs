using Cluster.Messages.Model;

namespace Cluster.Node.Ingress;

/// <summary>
/// How long a doubted peer has to be silent. One whose link was closed and whose same process is back soon only stands still now and then: each time that doubles, up to what silence takes without
/// a doubt; it halves with every <see cref="HalvesMs"/>. Pure. Loop thread only.
/// </summary>
public sealed class DoubtBackOff
{
    /// <summary>Back within this after it was closed by a doubt, the peer did not hang.</summary>
    public const int BackSoonMs = 5000;

    public const int HalvesMs = 60_000;

    private int _neededMs = Limits.DoubtedSilenceMs;
    private long _raisedMs;

    /// <summary>When a doubt closed the link; null: that was looked at since.</summary>
    public long? ClosedMs { get; set; }

    public int NeededMs(long nowMs)
    {
        var halvings = (int)Math.Clamp((nowMs - _raisedMs) / HalvesMs, 0, 30);
        return Math.Max(Limits.DoubtedSilenceMs, _neededMs >> halvings);
    }

    /// <summary>The link is up again.</summary>
    /// <param name="sameProcess">It was not found dead meanwhile.</param>
    public void OnBack(bool sameProcess, long nowMs)
    {
        if (ClosedMs is { } closedMs && sameProcess && nowMs - closedMs <= BackSoonMs)
            (_neededMs, _raisedMs) = (Math.Min(NeededMs(nowMs) * 2, Limits.MeshSilenceMs), nowMs);
        ClosedMs = null;
    }
}
