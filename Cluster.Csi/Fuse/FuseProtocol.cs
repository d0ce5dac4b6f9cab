namespace Cluster.Csi.Fuse;

/// <summary>Requests of the kernel that are known here; all others are answered with ENOSYS. Numbers from the kernel's uapi, linux/fuse.h.</summary>
internal enum FuseOperation : uint
{
    Forget = 2,
    GetAttributes = 3,
    SetAttributes = 4,
    Open = 14,
    Read = 15,
    Write = 16,
    StatFs = 17,
    Release = 18,
    Sync = 20,
    Flush = 25,
    Init = 26,
    Interrupt = 36,
    Destroy = 38,
    BatchForget = 42,
    Allocate = 43,
}

/// <summary>
/// The FUSE protocol as far as one file needs it. In the host's byte order. A request: length u32 | operation u32 | unique u64 | node u64 | uid u32 |
/// gid u32 | pid u32 | extension u16 | 0 u16, then the operation's own. A reply: length u32 | -errno s32 | unique u64, then the operation's own.
/// </summary>
internal static class FuseProtocol
{
    public const int RequestHeaderBytes = 40;
    public const int ReplyHeaderBytes = 16;

    /// <summary>handle u64 | offset u64 | size u32 | flags u32 | lock owner u64 | open flags u32 | 0 u32; a write's data follows.</summary>
    public const int TransferBytes = 40;

    /// <summary>handle u64 | offset u64 | length u64 | mode u32 | 0 u32.</summary>
    public const int AllocateBytes = 32;
    public const int InitReplyBytes = 64;
    public const int AttributesReplyBytes = 104;
    public const int OpenReplyBytes = 16;
    public const int WriteReplyBytes = 8;
    public const int StatFsReplyBytes = 80;

    public const uint Major = 7;

    /// <summary>FALLOCATE and the number of pages of a request are known from here on: kernels since 4.20.</summary>
    public const uint MinorMin = 28;

    /// <summary>What replies are laid out by; a newer kernel falls back to it.</summary>
    public const uint Minor = 31;

    public const uint AsyncRead = 1 << 0;
    public const uint BigWrites = 1 << 5;
    public const uint AsyncDirectIo = 1 << 15;
    public const uint MaxPages = 1 << 22;

    public const uint SetsSize = 1 << 3;

    public const uint KeepSize = 0x01;
    public const uint PunchHole = 0x02;
    public const uint ZeroRange = 0x10;

    /// <summary>A regular file that only its owner, root, may use.</summary>
    public const uint FileMode = 0x8180;
    public const uint BlockBytes = 4096;
    private const uint PageBytes = 4096;
    private const ulong FileNode = 1;

    /// <summary>Of one read or write.</summary>
    public const uint TransferBytesMax = 1 << 20;

    /// <summary>What the kernel has at us at once of its own accord; those that a program waits for come on top.</summary>
    public const ushort BackgroundMax = 64;

    public static uint U32(ReadOnlySpan<byte> from, int at) => BitConverter.ToUInt32(from[at..]);

    public static ulong U64(ReadOnlySpan<byte> from, int at) => BitConverter.ToUInt64(from[at..]);

    public static void Put(Span<byte> to, int at, uint value) => BitConverter.TryWriteBytes(to[at..], value);

    public static void Put(Span<byte> to, int at, ulong value) => BitConverter.TryWriteBytes(to[at..], value);

    public static void Put(Span<byte> to, int at, ushort value) => BitConverter.TryWriteBytes(to[at..], value);

    public static void ReplyHeader(Span<byte> to, int length, int error, ulong unique)
    {
        Put(to, 0, (uint)length);
        BitConverter.TryWriteBytes(to[4..], -error);
        Put(to, 8, unique);
    }

    /// <summary>
    /// major u32 | minor u32 | read-ahead u32 | flags u32 | background u16 | congestion u16 | write bytes u32 | time granularity u32 | pages u16 | 0.
    /// </summary>
    public static void InitReply(Span<byte> to, uint kernelFlags)
    {
        to[..InitReplyBytes].Clear();
        Put(to, 0, Major);
        Put(to, 4, Minor);
        Put(to, 8, TransferBytesMax);
        Put(to, 12, kernelFlags & (AsyncRead | BigWrites | AsyncDirectIo | MaxPages));
        Put(to, 16, BackgroundMax);
        Put(to, 18, (ushort)(BackgroundMax * 3 / 4));
        Put(to, 20, TransferBytesMax);
        Put(to, 24, 1u);
        Put(to, 28, (ushort)(TransferBytesMax / PageBytes));
    }

    /// <summary>
    /// valid s u64 | valid ns u32 | 0 u32 | inode u64 | size u64 | 512-byte blocks u64 | three times s u64 | three times ns u32 | mode u32 | links u32 | uid u32 | gid u32 |
    /// device u32 | block bytes u32 | flags u32. Valid for no time: a new size is seen at once.
    /// </summary>
    public static void AttributesReply(Span<byte> to, ulong sizeBytes)
    {
        to[..AttributesReplyBytes].Clear();
        Put(to, 16, FileNode);
        Put(to, 24, sizeBytes);
        Put(to, 32, sizeBytes / 512);
        Put(to, 76, FileMode);
        Put(to, 80, 1u);
        Put(to, 96, BlockBytes);
    }

    /// <summary>blocks u64 | free u64 | available u64 | files u64 | free files u64 | block bytes u32 | name length u32 | fragment bytes u32 | 0.</summary>
    public static void StatFsReply(Span<byte> to, ulong sizeBytes)
    {
        to[..StatFsReplyBytes].Clear();
        Put(to, 0, sizeBytes / BlockBytes);
        Put(to, 24, 1ul);
        Put(to, 40, BlockBytes);
        Put(to, 44, 255u);
        Put(to, 48, BlockBytes);
    }
}
