using System.Collections.Immutable;
using Cluster.Csi.Attach;
using Cluster.Csi.Client;
using Cluster.Node.Repair;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Options;

/// <summary>A node's settings, each checked on load. Meanings and defaults: hocon/myrmidon.conf, whose keys these are.</summary>
public sealed record NodeOptions
{
    public string Name { get; init; } = "";

    public string DataDirectory { get; init; } = "";

    /// <summary>Directories of further disks of the store, beside the one in the data directory.</summary>
    public ImmutableArray<string> Disks { get; init; } = [];

    /// <summary>0: what the file systems have.</summary>
    public long CapacityBytes { get; init; }

    /// <summary>What the process may take; 0: no limit; null: as the container it runs in has it.</summary>
    public long? MemoryLimitBytes { get; init; } = 0;

    /// <summary>Memory for the maps of the volumes; 0: what the limit leaves for them.</summary>
    public long MapCacheBytes { get; init; }

    /// <summary>What front ends keep of what they read from other nodes (label cache); 0: nothing.</summary>
    public long ReadCacheBytes { get; init; } = ReadCache.BudgetBytesDefault;

    /// <summary>0: no limit.</summary>
    public int OverCommitPercent { get; init; }

    public string Zone { get; init; } = "";

    /// <summary>Address to bind.</summary>
    public string Host { get; init; } = "";

    /// <summary>How others reach this node; never empty after the load.</summary>
    public string AdvertisedHost { get; init; } = "";

    /// <summary>"host:port" of journals.</summary>
    public ImmutableArray<string> Seeds { get; init; } = [];

    /// <summary>Null: 1 without seeds, else 0.</summary>
    public int? BootstrapExpect { get; init; }

    public int ApiPort { get; init; }

    public int NbdPort { get; init; }

    /// <summary>Path, or "".</summary>
    public string NbdSocket { get; init; } = "";

    /// <summary>Path, "" for one in the data directory, or "off".</summary>
    public string CsiSocket { get; init; } = "";

    /// <summary>"auto", "off", or an https address.</summary>
    public string KubernetesApi { get; init; } = "auto";

    /// <summary>Directory with `token` and `ca.crt`.</summary>
    public string KubernetesCredentials { get; init; } = "";

    /// <summary>Path, "" for one in the data directory, or "off".</summary>
    public string DockerSocket { get; init; } = "";

    /// <summary>How new devices of this host are made.</summary>
    public AttacherChoice Attacher { get; init; } = AttacherChoice.FuseLoop;

    public int MeshPort { get; init; }

    public int RemotePort { get; init; }

    public int JournalPort { get; init; }

    public LogLevel LogLevel { get; init; }

    public TimeSpan ReplaceAfter { get; init; }

    public int ReplacementsMax { get; init; }

    public TimeSpan LocalitySettle { get; init; }

    public RepairOptions Repair { get; init; } = new();

    public TimeSpan JournalReplaceAfter { get; init; }

    public TimeSpan StopTimeout { get; init; }
}
