namespace Cluster.Csi.Kernel;

/// <summary>What the kernel's NBD client is to know of a device.</summary>
/// <param name="Backend">Kept by the kernel as long as the device is configured: /sys/block/nbdN/backend.</param>
/// <param name="ServerFlags">The transmission flags of the handshake, as they came.</param>
/// <param name="DeadConnectionSeconds">How long new I/O is held while there is no live connection, before it fails.</param>
internal sealed record NbdDeviceConfig(string Backend, ulong SizeBytes, ulong BlockBytes, ulong ServerFlags, ulong DeadConnectionSeconds);

/// <summary>
/// Messages of the generic netlink family "nbd" (linux/nbd-netlink.h). Numbers are the kernel's. All values but the index and sockets are u64.
/// </summary>
internal static class NbdMessages
{
    public const string FamilyName = "nbd";
    public const byte Version = 1;

    public const ushort Index = 1;
    public const ushort SizeBytes = 2;
    public const ushort BlockBytes = 3;
    public const ushort ServerFlags = 5;
    public const ushort ClientFlags = 6;
    public const ushort Sockets = 7;
    public const ushort DeadConnectionTimeout = 8;
    public const ushort DeviceList = 9;
    public const ushort Backend = 10;

    /// <summary>The controller's family and its attributes (linux/genetlink.h).</summary>
    public const ushort ControlFamily = 0x10;
    public const ushort ControlFamilyId = 1;
    public const ushort ControlFamilyName = 2;
    public const ushort ControlAttributeMax = 5;

    /// <summary>Of <see cref="ClientFlags"/>: the kernel cuts the device off itself when its last user closes it.</summary>
    private const ulong DisconnectOnClose = 2;

    private const byte ControlVersion = 2;
    private const byte CommandGetFamily = 3;
    private const byte CommandConnect = 1;
    private const byte CommandDisconnect = 2;
    private const byte CommandReconfigure = 3;
    private const byte CommandStatus = 5;
    private const ushort SocketItem = 1;
    private const ushort SocketFd = 1;

    /// <summary>Asks for the number of a family; the kernel loads the module that has it.</summary>
    public static NetlinkMessage GetFamily(string name, uint sequence) =>
        new NetlinkMessage(ControlFamily, CommandGetFamily, ControlVersion, sequence).Text(ControlFamilyName, name);

    /// <summary>
    /// Makes a device of connected sockets. Answered with <see cref="Index"/>. Without one in the request the kernel takes a device that nobody uses, or makes one.
    /// No TIMEOUT: with one, the kernel would give up a connection whose server takes longer than that to answer, and send again on another.
    /// </summary>
    public static NetlinkMessage Connect(ushort family, uint sequence, NbdDeviceConfig config, ReadOnlyMemory<int> sockets) =>
        WithSockets(new NetlinkMessage(family, CommandConnect, Version, sequence)
            .U64(SizeBytes, config.SizeBytes).U64(BlockBytes, config.BlockBytes).U64(ServerFlags, config.ServerFlags)
            .U64(DeadConnectionTimeout, config.DeadConnectionSeconds).Text(Backend, config.Backend), sockets);

    /// <summary>Gives the device new sockets in place of dead ones; refused if the device is another backend's. A release that was begun is taken back.</summary>
    public static NetlinkMessage Reconnect(ushort family, uint sequence, uint index, string backend, ReadOnlyMemory<int> sockets) =>
        WithSockets(Release(family, sequence, index, backend, onClose: false), sockets);

    /// <summary>Whether the device goes when its last user closes it.</summary>
    public static NetlinkMessage Release(ushort family, uint sequence, uint index, string backend, bool onClose) =>
        new NetlinkMessage(family, CommandReconfigure, Version, sequence).U32(Index, index).U64(ClientFlags, onClose ? DisconnectOnClose : 0).Text(Backend, backend);

    public static NetlinkMessage Resize(ushort family, uint sequence, uint index, string backend, ulong sizeBytes) =>
        new NetlinkMessage(family, CommandReconfigure, Version, sequence).U32(Index, index).U64(SizeBytes, sizeBytes).Text(Backend, backend);

    public static NetlinkMessage Disconnect(ushort family, uint sequence, uint index) =>
        new NetlinkMessage(family, CommandDisconnect, Version, sequence).U32(Index, index);

    /// <summary>Answered with <see cref="DeviceList"/>.</summary>
    public static NetlinkMessage Status(ushort family, uint sequence, uint index) =>
        new NetlinkMessage(family, CommandStatus, Version, sequence).U32(Index, index);

    private static NetlinkMessage WithSockets(NetlinkMessage message, ReadOnlyMemory<int> sockets) => message.Nested(Sockets, list =>
    {
        foreach (var socket in sockets.Span) list.Nested(SocketItem, item => item.U32(SocketFd, (uint)socket));
    });
}
