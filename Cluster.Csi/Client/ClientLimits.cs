using Cluster.Messages.Model;

namespace Cluster.Csi.Client;

/// <summary>Bounds of a volume session. What the owner must know of stands in <see cref="Cluster.Messages.Model.Limits"/>.</summary>
public static class ClientLimits
{
    /// <summary>A lost owner is looked for at once; after that the pauses double from here...</summary>
    public const int ReconnectMsMin = 5;

    /// <summary>
    /// ...to here, each with up to half of it taken off at random, so that the sessions of a dead owner don't come in step.
    /// </summary>
    public const int ReconnectMsMax = 250;

    /// <summary>An owner that does not answer SessionOpen for this long is looked for anew.</summary>
    public const int SessionOpenMs = 3000;

    /// <summary>How often held I/O is compared with the hold time: an I/O fails at most this much later.</summary>
    public const int HoldCheckMs = 500;

    /// <summary>
    /// A read whose bytes fail their checksum is asked for this many times in all before it fails: a replica may have been repaired
    /// meanwhile.
    /// </summary>
    public const int ReadAttemptsMax = 3;

    /// <summary>
    /// Longest pause before a part of a block that met a change is read, merged and written again. The pauses double up to here; the
    /// volume's hold time
    /// bounds their number.
    /// </summary>
    public const int ConflictPauseMsMax = 50;

    /// <summary>What was answered is flushed after so long if nobody asks for it: it need not be kept then, and no loss of power takes it back (R13).</summary>
    public const int KeptMs = 5000;

    /// <summary>An owner to which this session has presented what it kept answers within this, or is looked for anew.</summary>
    public const int PresentMs = Limits.PresentMsMax + SessionOpenMs;

    /// <summary>
    /// Request ids of the window that only trims and zeroes may use (R21): they go past writes that are held for want of room and fill the rest of it, or the session's bytes. Each frees as
    /// much as its range holds; when these are used up too, the next one waits until any of the writes is answered.
    /// </summary>
    public const int TrimsReserved = 128;

    /// <summary>
    /// Reads, and looks at what is allocated, that may be past writes at one time (R21). They have request ids of their own: those of the window are used up once the oldest write is held, however many reads
    /// behind it are answered.
    /// </summary>
    public const int PassingReadsMax = 64;

    /// <summary>A read may pass as long as all reads of its session have fewer bytes outstanding than this: it takes memory at the owner, and here, that no write counts. One more may go over it by its own size.</summary>
    public const long PassingReadBytesMax = 4L << 20;

    /// <summary>Pause before a request that the owner had no room for goes again; doubled each time that nothing else was answered meanwhile...</summary>
    public const int BusyPauseMs = 5;

    /// <summary>...up to this.</summary>
    public const int BusyPauseMsMax = 160;

    /// <summary>Requests that were sent back and go again with each that is answered.</summary>
    public const int BusyPerAnswer = 2;

    /// <summary>
    /// Blocks whose content is remembered after a partial write, so that the next one (a log's tail) need not read them: 256 KiB a
    /// session.
    /// </summary>
    public const int EditCacheBlocksMax = 64;

    /// <summary>
    /// Encoded block of at most this many bytes or it is stored raw: below a saving of a quarter, decoding on each read costs more than
    /// the bytes.
    /// </summary>
    public const int CompressedBytesMax = 3072;

    /// <summary>
    /// An open that can't reach the owner for this long is given up; the client sees a dropped connection and tries again.
    /// </summary>
    public const int OpenMs = 30_000;

    /// <summary>Pause between two look-ups of a volume that nobody serves just now.</summary>
    public const int LookupPauseMs = 250;
}
