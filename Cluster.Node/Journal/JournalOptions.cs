using System.Net;

namespace Cluster.Node.Journal;

/// <summary>Where a journal listens, as others reach it.</summary>
public readonly record struct JournalAddress(string Host, int Port)
{
    public const int DefaultPort = 5709;

    /// <summary>Reads "host", "host:port" or "[v6]:port"; the port is <see cref="DefaultPort"/> when it is left out.</summary>
    public static bool TryParse(string text, out JournalAddress address)
    {
        address = default;
        if (string.IsNullOrWhiteSpace(text)) return false;
        var end = text.StartsWith('[') ? text.IndexOf(']', StringComparison.Ordinal) : -1;
        var colon = text.IndexOf(':', end < 0 ? 0 : end);
        var host = colon < 0 ? text : text[..colon];
        var port = DefaultPort;
        if (colon >= 0 && !int.TryParse(text[(colon + 1)..], out port)) return false;
        if (port is < 1 or > 65535) return false;
        host = host.Trim('[', ']');
        if (host.Length == 0) return false;
        address = new JournalAddress(host, port);
        return true;
    }

    public override string ToString() => Host.Contains(':', StringComparison.Ordinal) ? $"[{Host}]:{Port}" : $"{Host}:{Port}";
}

/// <summary>Settings of one node's journal. Times are in milliseconds.</summary>
public sealed record JournalOptions
{
    /// <summary>Directory of the journal's own files; made when absent.</summary>
    public required string DataDirectory { get; init; }

    /// <summary>Unique in the cluster. The first control members are chosen by it.</summary>
    public required string NodeName { get; init; }

    /// <summary>The node's random id, kept by the caller. Null: the journal makes one and keeps it in its directory.</summary>
    public Guid? NodeId { get; init; }

    /// <summary>Address to bind. "0.0.0.0" and "::" mean any.</summary>
    public string ListenHost { get; init; } = "127.0.0.1";

    /// <summary>Port to bind; 0 takes a free one.</summary>
    public int ListenPort { get; init; } = JournalAddress.DefaultPort;

    /// <summary>Host that others are told; null: <see cref="ListenHost"/>.</summary>
    public string? AdvertisedHost { get; init; }

    /// <summary>Journal addresses to ask first. None of them need be this node.</summary>
    public IReadOnlyList<JournalAddress> Seeds { get; init; } = [];

    /// <summary>The addresses of a seed's name; null: as the host's resolver says. Throws <see cref="System.Net.Sockets.SocketException"/> if there are none.</summary>
    public Func<string, CancellationToken, Task<IPAddress[]>>? LookUp { get; init; }

    /// <summary>Form a cluster once this many nodes without one have met. 0: only ever join. Null: 1 without seeds, else 0.</summary>
    public int? BootstrapExpect { get; init; }

    /// <summary>
    /// The node's store belongs to this cluster: the journal joins it, and never forms or joins another one. When all journals are gone, it waits for a recovery.
    /// </summary>
    public Guid? ClusterOfStore { get; init; }

    /// <summary>Eras whose journal this node has put aside for a recovery: it never joins them again.</summary>
    public IReadOnlySet<Guid> ErasPutAside { get; init; } = new HashSet<Guid>();

    /// <summary>A leader is heard from at least this often.</summary>
    public int HeartbeatMs { get; init; } = 100;

    /// <summary>A follower stands for election after a silence drawn between these two.</summary>
    public int ElectionMinMs { get; init; } = 400;

    public int ElectionMaxMs { get; init; } = 800;

    /// <summary>After the leader's connection broke: a short draw below this before standing.</summary>
    public int EarlyElectionMaxMs { get; init; } = 120;

    /// <summary>One attempt to connect, and one handshake.</summary>
    public int ConnectTimeoutMs { get; init; } = 1000;

    /// <summary>One forwarded request to one node, before the next node is tried.</summary>
    public int RequestTimeoutMs { get; init; } = 2000;

    /// <summary>A whole proposal or read with all its retries. Below the journal plug-in's circuit breaker (5 s).</summary>
    public int OperationTimeoutMs { get; init; } = 4500;

    /// <summary>Pause between attempts, drawn up to this.</summary>
    public int RetryPauseMaxMs { get; init; } = 100;

    /// <summary>Pause between rounds of hellos while no cluster is known, drawn up to this.</summary>
    public int FormationPauseMs { get; init; } = 200;

    /// <summary>Pause between two looks of the leader at who should be a control member.</summary>
    public int GroupPauseMs { get; init; } = 1000;

    /// <summary>A control member that is silent for this long is replaced by another node, if there is one.</summary>
    public long ReplaceAfterMs { get; init; } = 600_000;

    internal int ExpectedNodes => BootstrapExpect ?? (Seeds.Count == 0 ? 1 : 0);
}
