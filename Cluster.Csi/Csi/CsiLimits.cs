using Cluster.Messages.Model;

namespace Cluster.Csi.Csi;

/// <summary>Bounds of the driver. Those of fields are the specification's.</summary>
public static class CsiLimits
{
    /// <summary>Bytes of a string field in UTF-8, unless the field says otherwise.</summary>
    public const int StringBytesMax = 128;

    /// <summary>Bytes of a node's id.</summary>
    public const int NodeIdBytesMax = 256;

    /// <summary>Bytes of all keys and values of a map.</summary>
    public const int MapBytesMax = 4096;

    /// <summary>Bytes of a path, as the kernel counts.</summary>
    public const int PathBytesMax = 4095;

    /// <summary>Capabilities of one request.</summary>
    public const int CapabilitiesMax = 32;

    /// <summary>Bytes of one request.</summary>
    public const int RequestBytesMax = 256 * 1024;

    /// <summary>Names that may be locked at one time, which bounds the calls that change something.</summary>
    public const int LocksMax = 1024;

    /// <summary>Entries of one page of a list when the caller gives no bound.</summary>
    public const int PageEntriesMax = 4096;

    /// <summary>Runs in one message of a snapshot's metadata.</summary>
    public const int MetadataEntriesMax = 1024;

    /// <summary>Nodes that share one volume at one time: each is a label of the volume.</summary>
    public const int SharersMax = 16;

    /// <summary>Volumes of one node: each has a connection, and where there is no nbd module a process of its own.</summary>
    public const int VolumesPerNodeMax = 256;

    /// <summary>Options of one mount.</summary>
    public const int MountFlagsMax = 32;

    /// <summary>Of a volume when no capacity is asked for.</summary>
    public const ulong VolumeBytesDefault = 1UL << 30;

    public const ulong VolumeBytesMin = Limits.BlockBytes;

    /// <summary>How long running calls may take to end at a stop.</summary>
    public const int StopMs = 2000;

    /// <summary>How many volumes are asked for at one time whether their notes of a publication still count.</summary>
    public const int NotesLookedAtMax = 16;

    /// <summary>How long a node is given to say whether it uses a volume before that is given to another node: a frozen one does not answer.</summary>
    public const int UseProbeMs = 1000;

    /// <summary>Between two looks at whether the catalogue, which a publication is noted in, hangs.</summary>
    public const int NoteLookMs = 50;

    /// <summary>Publications that were answered while the catalogue hung, and are yet to be noted; further ones wait for it.</summary>
    public const int LateNotesMax = 64;
}
