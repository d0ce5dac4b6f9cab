using System.Buffers.Binary;
using System.Security.Cryptography;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Client;

/// <summary>
/// Encrypts what one session writes, and decrypts what any session wrote under the same key. AES-256-GCM; layout: <see cref="EncryptedBlock"/>. Encoding happens once, and a replay sends the
/// bytes that it made: no nonce is ever used for two texts, since the salt is random per session (128 bits) and the counter rises with every block. Not safe for use by several threads.
/// </summary>
public sealed class BlockCipher : IDisposable
{
    /// <summary>Blocks under one salt: far below what the counter could number, and 16 TiB of writes. Then there is a new salt.</summary>
    public const ulong BlocksPerSaltMax = 1UL << 32;

    /// <summary>Keys of other sessions that are kept for reads. Deriving one costs about as much as decrypting a block.</summary>
    public const int SessionKeysMax = 64;

    private const int AssociatedBytes = 32;

    private readonly BlockKey _key;
    private readonly byte[] _plain = new byte[Limits.BlockBytes];
    private readonly Dictionary<UInt128, SessionKey> _keys = [];
    private readonly ulong _blocksPerSalt;
    private byte[] _salt;
    private SessionKey _own;
    private ulong _counter;
    private ulong _uses;

    private sealed class SessionKey(AesGcm aes)
    {
        public AesGcm Aes => aes;

        public ulong LastUse { get; set; }
    }

    /// <summary>A session's, under a salt of its own.</summary>
    public BlockCipher(BlockKey key)
        : this(key, RandomNumberGenerator.GetBytes(EncryptedBlock.SaltBytes), BlocksPerSaltMax)
    {
    }

    /// <param name="salt">Given by tests that pin bytes: else never twice under one key.</param>
    internal BlockCipher(BlockKey key, byte[] salt, ulong blocksPerSalt)
    {
        (_key, _salt, _blocksPerSalt) = (key, salt, blocksPerSalt);
        _own = NewKey(salt);
    }

    /// <summary>
    /// Encrypts the <paramref name="length"/> bytes at the front of <paramref name="block"/>, a raw or compressed block, where they are; <paramref name="block"/> has room for
    /// <see cref="EncryptedBlock.OverheadBytes"/> more. Answers the length that it has then.
    /// </summary>
    /// <param name="encoding">What is made of it: it is authenticated, too.</param>
    public int Encrypt(BlockEncoding encoding, ulong index, Span<byte> block, int length)
    {
        if (_counter == _blocksPerSalt) Renew();
        block[..length].CopyTo(_plain);
        new EncryptedBlock(_key.Slot, ++_counter).Write(block, _salt);
        Span<byte> associated = stackalloc byte[AssociatedBytes];
        Associate(associated, _key.Lineage, index, encoding);
        var tag = block.Slice(EncryptedBlock.HeadBytes + length, EncryptedBlock.TagBytes);
        _own.Aes.Encrypt(block[..EncryptedBlock.NonceBytes], _plain.AsSpan(0, length), block.Slice(EncryptedBlock.HeadBytes, length), tag, associated);
        return length + EncryptedBlock.OverheadBytes;
    }

    /// <summary>
    /// Decrypts a block of that index, whose checksum matched, into the buffer of this cipher, which the next call uses again. BadChecksum: it was made by nobody who has the key, or is not
    /// this block. Unsupported: a format, or a key, that this session does not have.
    /// </summary>
    public IoStatus Decrypt(BlockEncoding encoding, ulong index, ReadOnlySpan<byte> encoded, out ReadOnlySpan<byte> plain)
    {
        plain = default;
        var status = EncryptedBlock.TryDecode(encoded, out var head);
        if (status != IoStatus.Ok) return status;
        if (head.KeySlot != _key.Slot) return IoStatus.Unsupported;
        var length = encoded.Length - EncryptedBlock.OverheadBytes;
        if (length > Limits.BlockBytes) return IoStatus.Malformed;
        Span<byte> associated = stackalloc byte[AssociatedBytes];
        Associate(associated, _key.Lineage, index, encoding);
        try
        {
            KeyOf(EncryptedBlock.SaltOf(encoded)).Aes.Decrypt(encoded[..EncryptedBlock.NonceBytes], encoded.Slice(EncryptedBlock.HeadBytes, length),
                encoded[^EncryptedBlock.TagBytes..], _plain.AsSpan(0, length), associated);
        }
        catch (AuthenticationTagMismatchException)
        {
            return IoStatus.BadChecksum;
        }
        plain = _plain.AsSpan(0, length);
        return IoStatus.Ok;
    }

    public void Dispose()
    {
        _own.Aes.Dispose();
        foreach (var key in _keys.Values) key.Aes.Dispose();
        CryptographicOperations.ZeroMemory(_plain);
    }

    /// <summary>Lineage, 16 bytes | block u64 | encoding u8 | zero, 7 bytes.</summary>
    private static void Associate(Span<byte> to, Guid lineage, ulong index, BlockEncoding encoding)
    {
        to.Clear();
        lineage.TryWriteBytes(to);
        BinaryPrimitives.WriteUInt64LittleEndian(to[16..], index);
        to[24] = (byte)encoding;
    }

    private void Renew()
    {
        Remember(_salt, _own);
        _salt = RandomNumberGenerator.GetBytes(EncryptedBlock.SaltBytes);
        (_own, _counter) = (NewKey(_salt), 0);
    }

    private SessionKey KeyOf(ReadOnlySpan<byte> salt)
    {
        if (salt.SequenceEqual(_salt)) return _own;
        if (!_keys.TryGetValue(BinaryPrimitives.ReadUInt128LittleEndian(salt), out var key)) Remember(salt, key = NewKey(salt));
        key.LastUse = ++_uses;
        return key;
    }

    /// <summary>In place of the one that was not used for longest.</summary>
    private void Remember(ReadOnlySpan<byte> salt, SessionKey key)
    {
        if (_keys.Count >= SessionKeysMax)
        {
            var (oldest, dropped) = _keys.MinBy(pair => pair.Value.LastUse);
            _keys.Remove(oldest);
            dropped.Aes.Dispose();
        }
        key.LastUse = ++_uses;
        _keys[BinaryPrimitives.ReadUInt128LittleEndian(salt)] = key;
    }

    private SessionKey NewKey(ReadOnlySpan<byte> salt)
    {
        Span<byte> derived = stackalloc byte[BlockKey.SizeBytes];
        _key.Derive(salt, derived);
        var key = new SessionKey(new AesGcm(derived, EncryptedBlock.TagBytes));
        CryptographicOperations.ZeroMemory(derived);
        return key;
    }
}
