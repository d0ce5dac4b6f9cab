using System.Collections.Concurrent;
using Akka.Configuration;
using Akka.Event;
using Akka.Remote;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// Akka's failure detector, which also believes the mesh: a peer whose port refuses connections is dead now, not after some missed
/// heartbeats. Named in hocon/akka.conf. A wrong belief costs availability only (R18).
/// </summary>
public sealed class PeerFailureDetector(Config config, EventStream events) : PhiAccrualFailureDetector(config, events)
{
    public override bool IsAvailable => !DeadPeers.Contains(Address) && base.IsAvailable;
}

/// <summary>
/// Peers that the mesh found dead, by address as Akka writes it. Held for the process, because Akka makes its detectors without saying
/// for which actor system. Any thread.
/// </summary>
public static class DeadPeers
{
    /// <summary>After this the missing heartbeats speak for themselves; a new process at the address is then judged by its own.</summary>
    private static readonly TimeSpan HeldFor = TimeSpan.FromSeconds(3);

    private static readonly ConcurrentDictionary<string, long> SinceByAddress = new(StringComparer.Ordinal);

    public static void Note(string address) => SinceByAddress[address] = TimeProvider.System.GetTimestamp();

    public static bool Contains(string? address)
    {
        if (address is null || !SinceByAddress.TryGetValue(address, out var since)) return false;
        if (TimeProvider.System.GetElapsedTime(since) < HeldFor) return true;
        SinceByAddress.TryRemove(KeyValuePair.Create(address, since));
        return false;
    }
}
