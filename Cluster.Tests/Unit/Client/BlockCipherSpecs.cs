using System.Security.Cryptography;
using System.Text;
using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Client;

/// <summary>Blocks under AES-256-GCM: layout, known answers, and that nothing but the very block under the very key decodes.</summary>
public sealed class BlockCipherSpecs
{
    private const ulong Index = 0x123456789ABC;
    private static readonly VolumeId Volume = new(42);
    private static readonly Guid Lineage = new("00112233-4455-6677-8899-aabbccddeeff");
    private static readonly byte[] KeyBytes = [.. Enumerable.Range(0, BlockKey.SizeBytes).Select(value => (byte)value)];
    private static readonly byte[] Salt = [.. Enumerable.Range(0, EncryptedBlock.SaltBytes).Select(value => (byte)(0xA0 + value))];

    private static BlockKey Key(byte slot = 3, Guid? lineage = null) => new(lineage ?? Lineage, slot, KeyBytes);

    private static BlockCipher Cipher(BlockKey? key = null, byte[]? salt = null, ulong blocksPerSalt = BlockCipher.BlocksPerSaltMax) => new(key ?? Key(), salt ?? Salt, blocksPerSalt);

    /// <summary>Raw for an even seed: random bytes; else LZ4.</summary>
    private static byte[] Block(int seed)
    {
        var block = new byte[Limits.BlockBytes];
        if (seed % 2 == 0) new Random(seed).NextBytes(block);
        else block.AsSpan().Fill((byte)seed);
        return block;
    }

    private static (BlockDescriptor Descriptor, byte[] Bytes) Encode(BlockCipher cipher, byte[] block, ulong index = Index, VolumeId? volume = null)
    {
        var to = new byte[BlockCodec.RoomFor(cipher)];
        var descriptor = BlockCodec.Encode(volume ?? Volume, 0, index, block, to, compress: true, cipher);
        return (descriptor, to[..descriptor.Length]);
    }

    private static IoStatus Decode(BlockCipher? cipher, BlockDescriptor descriptor, byte[] bytes, out byte[] block, ulong index = Index, VolumeId? volume = null)
    {
        block = new byte[Limits.BlockBytes];
        return BlockCodec.Decode(descriptor, volume ?? Volume, 0, index, bytes, block, cipher);
    }

    /// <summary>As an attacker who knows how checksums are made would have it.</summary>
    private static BlockDescriptor WithChecksumOf(BlockDescriptor descriptor, byte[] bytes, ulong index = Index) => BlockDescriptor.Of(descriptor.Encoding, Volume, 0, index, bytes);

    [Theory(DisplayName = "Known answers: the bytes are those of HKDF-SHA256 and AES-256-GCM put together by hand")]
    [InlineData(1, BlockEncoding.Lz4AesGcm, "010300000100000000000000A0A1A2A3A4A5A6A7A8A9AAABACADAEAF")]
    [InlineData(2, BlockEncoding.AesGcm, "010300000100000000000000A0A1A2A3A4A5A6A7A8A9AAABACADAEAF")]
    public void Known_answers(int seed, BlockEncoding encoding, string head)
    {
        using var cipher = Cipher();
        var (descriptor, bytes) = Encode(cipher, Block(seed));
        Assert.Equal(encoding, descriptor.Encoding);
        Assert.Equal(head, Convert.ToHexString(bytes.AsSpan(0, EncryptedBlock.HeadBytes)));
        // HKDF (RFC 5869) of one block of output: extract, then expand with the purpose and a 1.
        var extracted = HMACSHA256.HashData(Salt, KeyBytes);
        var sessionKey = HMACSHA256.HashData(extracted, (byte[])[.. Encoding.ASCII.GetBytes("myrmidon block 1"), 1]);
        byte[] associated = [.. Lineage.ToByteArray(), .. BitConverter.GetBytes(Index), (byte)encoding, 0, 0, 0, 0, 0, 0, 0];
        var before = new byte[Limits.BlockBytes];
        var length = BlockCodec.Encode(Volume, 0, Index, Block(seed), before, compress: true).Length;
        var (sealedBytes, tag) = (new byte[length], new byte[EncryptedBlock.TagBytes]);
        using var aes = new AesGcm(sessionKey, EncryptedBlock.TagBytes);
        aes.Encrypt(bytes.AsSpan(0, EncryptedBlock.NonceBytes), before.AsSpan(0, length), sealedBytes, tag, associated);
        Assert.Equal([.. bytes.Take(EncryptedBlock.HeadBytes), .. sealedBytes, .. tag], bytes);
    }

    [Fact(DisplayName = "Golden bytes: a compressed block whole, and the hash of a raw one")]
    public void Golden_bytes()
    {
        using var cipher = Cipher();
        var (lz4, raw) = (Convert.ToHexString(Encode(cipher, Block(1)).Bytes), Convert.ToHexString(SHA256.HashData(Encode(cipher, Counting()).Bytes)));
        Assert.True((lz4, raw) == (GoldenLz4, GoldenRawHash), $"{lz4} {raw}");
    }

    /// <summary>Too many different bytes for the test of compressibility.</summary>
    private static byte[] Counting() => [.. Enumerable.Range(0, Limits.BlockBytes).Select(at => (byte)at)];

    /// <summary>Both were made again by another implementation (Python's, of HKDF and AES-GCM).</summary>
    private const string GoldenLz4 = "010300000100000000000000A0A1A2A3A4A5A6A7A8A9AAABACADAEAF9969FB4EB8564662AE80DCD99C7ED2D624C0DE51489BF1123748D7D61EFF58D475931B908CF08130B831";
    private const string GoldenRawHash = "BEB6BA028F8C891A4D215E92B9232D028793D1FC38A89F38739F6EF840CF8D91";

    [Fact(DisplayName = "What is decrypted is what was encrypted, zeroes cost nothing, and the longest block fits into a record")]
    public void Round_trip()
    {
        using var cipher = Cipher();
        for (var seed = 0; seed < 200; seed++)
        {
            var (descriptor, bytes) = Encode(cipher, Block(seed), (ulong)seed);
            Assert.True(descriptor.IsPlausible);
            Assert.Equal(IoStatus.Ok, Decode(cipher, descriptor, bytes, out var back, (ulong)seed));
            Assert.Equal(Block(seed), back);
        }
        var (zero, none) = Encode(cipher, new byte[Limits.BlockBytes]);
        Assert.Equal((BlockEncoding.Zero, 0), (zero.Encoding, none.Length));
        Assert.True(BlockCodec.RoomFor(cipher) <= Limits.EncodedBlockBytesMax);
    }

    [Theory(DisplayName = "One flipped bit anywhere is found: by the checksum, and with the checksum made anew by the tag")]
    [InlineData(1, 1)]
    [InlineData(2, 37)]
    public void Flipped_bits(int seed, int step)
    {
        using var cipher = Cipher();
        var (descriptor, bytes) = Encode(cipher, Block(seed));
        for (var bit = 0; bit < bytes.Length * 8; bit += bit < EncryptedBlock.HeadBytes * 8 ? 1 : step)
        {
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.Equal(IoStatus.BadChecksum, Decode(cipher, descriptor, bytes, out _));
            var status = Decode(cipher, WithChecksumOf(descriptor, bytes), bytes, out var back);
            // The first byte is the format, the second the key, the next two are zero.
            Assert.Equal(bit < 16 ? IoStatus.Unsupported : bit < 32 ? IoStatus.Malformed : IoStatus.BadChecksum, status);
            Assert.Equal(-1, back.AsSpan().IndexOfAnyExcept((byte)0));
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
        }
        Assert.Equal(IoStatus.Ok, Decode(cipher, descriptor, bytes, out _));
    }

    [Fact(DisplayName = "Another key, slot, lineage, place or encoding decrypts nothing, though the checksum is right; without a key it is Unsupported")]
    public void Wrong_context()
    {
        using var cipher = Cipher();
        var (descriptor, bytes) = Encode(cipher, Block(2));
        byte[] otherBytes = [.. KeyBytes];
        otherBytes[31] ^= 1;
        using var otherKey = Cipher(new BlockKey(Lineage, 3, otherBytes));
        using var otherSlot = Cipher(Key(slot: 4));
        using var otherLineage = Cipher(Key(lineage: Guid.Empty));
        Assert.Equal(IoStatus.BadChecksum, Decode(otherKey, descriptor, bytes, out _));
        Assert.Equal(IoStatus.Unsupported, Decode(otherSlot, descriptor, bytes, out _));
        Assert.Equal(IoStatus.BadChecksum, Decode(otherLineage, descriptor, bytes, out _));
        Assert.Equal(IoStatus.BadChecksum, Decode(cipher, WithChecksumOf(descriptor, bytes, Index + 1), bytes, out _, Index + 1));
        Assert.Equal(IoStatus.Unsupported, Decode(null, descriptor, bytes, out _));
        var (compressed, small) = Encode(cipher, Block(1));
        Assert.Equal(IoStatus.Malformed, Decode(cipher, compressed with { Encoding = BlockEncoding.AesGcm }, small, out _));
        // Random bytes that LZ4 could not make smaller, taken for compressed ones.
        Assert.Equal(IoStatus.Malformed, Decode(cipher, descriptor with { Encoding = BlockEncoding.Lz4AesGcm }, bytes, out _));
    }

    [Fact(DisplayName = "A clone reads its parent's blocks: the lineage is the key's, and the volume's id is in the checksum alone")]
    public void Clones()
    {
        using var parent = Cipher();
        using var clone = new BlockCipher(Key());
        var (descriptor, bytes) = Encode(parent, Block(2));
        var (ofClone, volume) = (BlockDescriptor.Of(descriptor.Encoding, new VolumeId(77), 0, Index, bytes), new VolumeId(77));
        Assert.Equal(IoStatus.Ok, Decode(clone, ofClone, bytes, out var back, volume: volume));
        Assert.Equal(Block(2), back);
    }

    [Fact(DisplayName = "No nonce is used twice: sessions have salts of their own, the counter rises with every block, and long sessions change their salt")]
    public void Nonces()
    {
        using var key = Key();
        var seen = new HashSet<string>();
        using var reader = new BlockCipher(key);
        for (var session = 0; session < 3; session++)
        {
            using var cipher = new BlockCipher(key, RandomNumberGenerator.GetBytes(EncryptedBlock.SaltBytes), blocksPerSalt: 5);
            for (var count = 0; count < 23; count++)
            {
                var (descriptor, bytes) = Encode(cipher, Block(2));
                Assert.True(seen.Add(Convert.ToHexString(bytes.AsSpan(0, EncryptedBlock.HeadBytes))));
                Assert.Equal(IoStatus.Ok, Decode(reader, descriptor, bytes, out _));
                Assert.Equal(IoStatus.Ok, Decode(cipher, descriptor, bytes, out _));
            }
        }
        Assert.Equal(15, seen.Select(head => head[24..]).Distinct().Count());
    }

    [Fact(DisplayName = "Blocks of more sessions than keys are kept decrypt in any order")]
    public void Many_sessions()
    {
        using var key = Key();
        var blocks = new List<(BlockDescriptor Descriptor, byte[] Bytes, int Seed)>();
        for (var session = 0; session < 3 * BlockCipher.SessionKeysMax; session++)
        {
            using var writer = new BlockCipher(key);
            var (descriptor, bytes) = Encode(writer, Block(session));
            blocks.Add((descriptor, bytes, session));
        }
        using var reader = new BlockCipher(key);
        var random = new Random(5);
        for (var read = 0; read < 2000; read++)
        {
            var (descriptor, bytes, seed) = blocks[random.Next(blocks.Count)];
            Assert.Equal(IoStatus.Ok, Decode(reader, descriptor, bytes, out var back));
            Assert.Equal(Block(seed), back);
        }
    }

    [Fact(DisplayName = "What a storage node checks of a record works without the key, for the longest record that there is")]
    public void Without_the_key()
    {
        using var cipher = Cipher();
        var header = new RecordHeader { Kind = RecordKind.Write, Volume = Volume, Range = new BlockRange(7, Limits.RecordBlocksMax), DescriptorCount = Limits.RecordBlocksMax };
        var record = new byte[Limits.RecordBytesMax];
        var at = header.PayloadOffset;
        for (var index = 0; index < Limits.RecordBlocksMax; index++)
        {
            var descriptor = BlockCodec.Encode(Volume, 0, 7 + (ulong)index, Block(2 * index), record.AsSpan(at), compress: true, cipher);
            descriptor.Write(record.AsSpan(RecordHeader.SizeBytes + (index * BlockDescriptor.SizeBytes)));
            at += descriptor.Length;
        }
        header.PayloadLength = (uint)(at - header.PayloadOffset);
        header.Encode(record);
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record, out var decoded));
        Assert.Equal(IoStatus.Ok, StoreRecord.CheckPayload(in decoded, record.AsSpan(0, at)));
        foreach (var byteOf in new[] { header.PayloadOffset, header.PayloadOffset + 30, at - 1 })
        {
            record[byteOf] ^= 0x10;
            Assert.Equal(IoStatus.BadChecksum, StoreRecord.CheckPayload(in decoded, record.AsSpan(0, at)));
            record[byteOf] ^= 0x10;
        }
    }

    [Fact(DisplayName = "A session with a cipher: a replay sends the same bytes, nothing readable is on the wire, and reads, parts of blocks and zeroes come back")]
    public async Task Session()
    {
        using var key = Key();
        using var cipher = new BlockCipher(key);
        using var owners = new BlockCipher(key);
        var loop = new FakeLoop();
        var gateway = new FakeGateway(loop, 64UL << 20);
        gateway.Owner.Cipher = owners;
        var sessions = new VolumeSessions(gateway, NullLoggerFactory.Instance) { CipherOf = _ => cipher };
        var open = sessions.OpenAsync("vol");
        loop.RunUntil(() =>
        {
            gateway.Owner.Settle();
            return open.IsCompleted;
        });
        var session = (await open).Session!;

        var text = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("nobody else may read this. ", 400)))[..(2 * Limits.BlockBytes)];
        var write = ProbeRequest.Write(0, text);
        session.Submit(write);
        gateway.Owner.Link!.StepIn();
        gateway.Owner.Kill(survive: 0);
        gateway.Owner.Settle();
        Assert.Equal(IoStatus.Ok, write.Status);
        var sent = gateway.Owner.Arrived.Where(frame => frame.Header.Kind == FrameKind.ClientWrite).Select(frame => frame.Body[RecordHeader.SizeBytes..]).ToList();
        Assert.Equal(2, sent.Count);
        Assert.Equal(sent[0], sent[1]);
        Assert.Equal(-1, sent[0].AsSpan().IndexOf("nobody"u8));

        Do(ProbeRequest.Write(100, [1, 2, 3]));
        Do(ProbeRequest.Write(Limits.BlockBytes, new byte[Limits.BlockBytes]));
        byte[] expected = [.. text[..100], 1, 2, 3, .. text[103..Limits.BlockBytes], .. new byte[Limits.BlockBytes]];
        Assert.Equal(expected, Do(ProbeRequest.Of(BlockOperation.Read, 0, 2 * Limits.BlockBytes)).Data.ToArray());
        Assert.Equal(expected[90..200], Do(ProbeRequest.Of(BlockOperation.Read, 90, 110)).Data.ToArray());

        ProbeRequest Do(ProbeRequest request)
        {
            session.Submit(request);
            gateway.Owner.Settle();
            Assert.Equal(IoStatus.Ok, request.Status);
            return request;
        }
    }
}
