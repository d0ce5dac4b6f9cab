using System.Security.Cryptography;
using Cluster.Messages.Model;

namespace Cluster.Csi.Client;

/// <summary>
/// The key of an encrypted volume, on the consumer's side only. Its lineage is the volume that the key was made for: a clone has the blocks of its parent, and so its parent's lineage.
/// </summary>
public sealed class BlockKey : IDisposable
{
    public const int SizeBytes = 32;

    /// <summary>What the session's key is for, so that the volume's may serve for something else, too.</summary>
    private static readonly byte[] Purpose = "myrmidon block 1"u8.ToArray();

    private readonly byte[] _key;

    /// <param name="slot">Which of the lineage's keys it is; each block names its own.</param>
    public BlockKey(Guid lineage, byte slot, ReadOnlySpan<byte> key)
    {
        Invariant.That(key.Length == SizeBytes, "a block key has 32 bytes");
        (Lineage, Slot, _key) = (lineage, slot, key.ToArray());
    }

    public Guid Lineage { get; }

    public byte Slot { get; }

    /// <summary>The key of the session with that salt.</summary>
    public void Derive(ReadOnlySpan<byte> salt, Span<byte> sessionKey) => HKDF.DeriveKey(HashAlgorithmName.SHA256, _key, sessionKey, salt, Purpose);

    public void Dispose() => CryptographicOperations.ZeroMemory(_key);
}
