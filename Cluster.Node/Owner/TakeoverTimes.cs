namespace Cluster.Node.Owner;

/// <summary>When each part of a takeover began, on the owner's clock in milliseconds; 0 while it has not.</summary>
public sealed class TakeoverTimes
{
    /// <summary>The claim was proposed.</summary>
    public long ClaimMs { get; set; }

    /// <summary>It is journaled, and promises are asked for.</summary>
    public long PromiseMs { get; set; }

    /// <summary>Enough have promised; the members are brought to one prefix. The last time, if it began anew.</summary>
    public long AlignMs { get; set; }

    /// <summary>They are; the epoch is proposed as open.</summary>
    public long OpenMs { get; set; }

    /// <summary>That is journaled; the members write it into their headers.</summary>
    public long StampMs { get; set; }

    /// <summary>They have; leases of the deposed owner are waited for.</summary>
    public long LeaseMs { get; set; }

    public long ServedMs { get; set; }
}
