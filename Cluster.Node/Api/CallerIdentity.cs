using System.Buffers.Binary;
using System.Globalization;
using System.Net;

namespace Cluster.Node.Api;

/// <summary>
/// Whose connection this is, from the kernel's table of TCP sockets (/proc/net/tcp, /proc/net/tcp6): it lists the user of both ends of a connection
/// within this host. Without a login this is what tells root apart from other users of the host, and both from the network.
/// </summary>
internal static class CallerIdentity
{
    private const int UserField = 7;
    private const string Established = "01";
    private static readonly string[] Tables = ["/proc/net/tcp", "/proc/net/tcp6"];

    /// <summary>The user of the client's end; null if that is not on this host (or in another network namespace of it).</summary>
    public static uint? UserOf(IPEndPoint client, IPEndPoint server)
    {
        foreach (var table in Tables)
        {
            if (File.Exists(table) && Find(File.ReadLines(table), client, server) is { } user) return user;
        }
        return null;
    }

    /// <summary>Lines: number, local address, remote address, state, queues, timer, retransmits, user, ... Addresses are hexadecimal, in words of the host's order.</summary>
    internal static uint? Find(IEnumerable<string> lines, IPEndPoint client, IPEndPoint server)
    {
        foreach (var line in lines)
        {
            var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (fields.Length <= UserField || fields[3] != Established) continue;
            if (!Is(fields[1], client) || !Is(fields[2], server)) continue;
            if (uint.TryParse(fields[UserField], NumberStyles.None, CultureInfo.InvariantCulture, out var user)) return user;
        }
        return null;
    }

    private static bool Is(string text, IPEndPoint endPoint)
    {
        var colon = text.IndexOf(':', StringComparison.Ordinal);
        if (colon is not (8 or 32) || !ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var port)) return false;
        if (port != endPoint.Port) return false;
        var bytes = new byte[colon / 2];
        for (var at = 0; at < bytes.Length; at += 4)
        {
            if (!uint.TryParse(text.AsSpan(at * 2, 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out var word)) return false;
            if (BitConverter.IsLittleEndian) BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(at), word);
            else BinaryPrimitives.WriteUInt32BigEndian(bytes.AsSpan(at), word);
        }
        return new IPAddress(bytes).MapToIPv6().Equals(new IPAddress(endPoint.Address.GetAddressBytes()).MapToIPv6());
    }
}
