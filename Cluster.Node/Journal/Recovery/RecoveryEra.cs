namespace Cluster.Node.Journal.Recovery;

/// <summary>
/// Eras are random ids. That of a recovery is told from that of a first formation by its version (8 instead of 4, RFC 9562), so that every node of it, also one that joins
/// later, waits until the new journal holds what was recovered.
/// </summary>
public static class RecoveryEra
{
    private const int VersionRecovered = 8;

    public static Guid New()
    {
        Span<byte> bytes = stackalloc byte[16];
        Guid.NewGuid().TryWriteBytes(bytes, bigEndian: true, out _);
        bytes[6] = (byte)((bytes[6] & 0x0F) | (VersionRecovered << 4));
        return new Guid(bytes, bigEndian: true);
    }

    public static bool IsRecovered(Guid era) => era.Version == VersionRecovered;
}
