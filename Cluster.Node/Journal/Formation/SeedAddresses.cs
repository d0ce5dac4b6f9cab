using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Formation;

/// <summary>
/// The addresses behind the seeds. A seed may be a name with several: a headless service of Kubernetes has one for each of its pods, and others tomorrow. Names are asked for
/// again, within bounds, as long as somebody wants to know; what was known of a name stays while nobody answers for it. One caller at a time.
/// </summary>
/// <param name="listenHost">What this node listens on. Of a name that has addresses of both families only those of this one count, so that no node counts twice.</param>
/// <param name="lookUp">Throws <see cref="SocketException"/> if the name has no address.</param>
internal sealed partial class SeedAddresses(
    IReadOnlyList<JournalAddress> seeds, string listenHost, Func<string, CancellationToken, Task<IPAddress[]>> lookUp, TimeProvider time, ILogger logger)
{
    /// <summary>A name is asked for again after this at the earliest.</summary>
    public static readonly TimeSpan LookUpEvery = TimeSpan.FromSeconds(1);

    /// <summary>One question; then what was known before counts.</summary>
    private static readonly TimeSpan LookUpMax = TimeSpan.FromSeconds(1);

    private readonly Dictionary<string, Known> _names = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>Every address of every seed, each once, at most <see cref="JournalLimits.KnownNodesMax"/> of a name. A name without any is there as itself: it counts as one seed that is silent.</summary>
    public async Task<IReadOnlyList<JournalAddress>> GetAsync(CancellationToken cancellation)
    {
        var found = await Task.WhenAll(seeds.Select(seed => seed.Host).Where(IsName).Distinct(StringComparer.OrdinalIgnoreCase).Select(name => LookUpAsync(name, cancellation)))
            .ConfigureAwait(false);
        foreach (var (name, known) in found) Note(name, known);
        return [.. seeds.SelectMany(Expand).Distinct()];
    }

    private IEnumerable<JournalAddress> Expand(JournalAddress seed) =>
        _names.TryGetValue(seed.Host, out var known) && known.Addresses.Count > 0 ? known.Addresses.Select(address => seed with { Host = address.ToString() }) : [seed];

    private async Task<(string Name, Known Known)> LookUpAsync(string name, CancellationToken cancellation)
    {
        var before = _names.GetValueOrDefault(name);
        if (before is not null && time.GetElapsedTime(before.AskedAt) < LookUpEvery) return (name, before);
        var now = time.GetTimestamp();
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        limit.CancelAfter(LookUpMax);
        try
        {
            var addresses = await lookUp(name, limit.Token).ConfigureAwait(false);
            return (name, new Known(now, OfOneFamily(addresses), ""));
        }
        catch (SocketException e)
        {
            return (name, new Known(now, before?.Addresses ?? [], e.Message));
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return (name, new Known(now, before?.Addresses ?? [], $"nobody answered within {LookUpMax.TotalSeconds:0} s"));
        }
    }

    /// <summary>Logs what is new, not each round.</summary>
    private void Note(string name, Known known)
    {
        var before = _names.GetValueOrDefault(name);
        _names[name] = known;
        if (ReferenceEquals(before, known)) return;
        if (known.Failure.Length > 0)
        {
            if (before?.Failure != known.Failure) LogUnknown(logger, name, known.Failure, known.Addresses.Count);
        }
        else if (before is null || before.Failure.Length > 0 || !before.Addresses.SequenceEqual(known.Addresses))
        {
            LogFound(logger, name, known.Addresses.Count, string.Join(", ", known.Addresses));
        }
    }

    private IReadOnlyList<IPAddress> OfOneFamily(IPAddress[] addresses)
    {
        var wanted = IPAddress.TryParse(listenHost, out var listen) ? listen.AddressFamily : AddressFamily.InterNetwork;
        var family = addresses.Any(address => address.AddressFamily == wanted) ? addresses.Where(address => address.AddressFamily == wanted) : addresses;
        return [.. family.Distinct().OrderBy(address => address.ToString(), StringComparer.Ordinal).Take(JournalLimits.KnownNodesMax)];
    }

    private static bool IsName(string host) => !IPAddress.TryParse(host, out _);

    /// <summary>What is known of a name. Failure: why the last question was not answered; empty: it was.</summary>
    private sealed record Known(long AskedAt, IReadOnlyList<IPAddress> Addresses, string Failure);

    [LoggerMessage(Level = LogLevel.Information, Message = "The seed {Name} has {Count} addresses: {Addresses}")]
    private static partial void LogFound(ILogger logger, string name, int count, string addresses);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The seed {Name} can't be resolved: {Why}; {Count} addresses are known from before, and it is asked for again every second")]
    private static partial void LogUnknown(ILogger logger, string name, string why, int count);
}
