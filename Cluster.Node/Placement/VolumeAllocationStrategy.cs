using System.Collections.Concurrent;
using System.Collections.Immutable;
using Akka.Actor;
using Akka.Cluster.Sharding;
using Akka.Event;
using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

/// <summary>
/// Puts each volume's shard on a node that holds one of its copies (<see cref="OwnerChoice"/>). Runs on the shard coordinator's node,
/// several allocations at one time. It places; it does not fence (R18): a volume that was claimed early lives where the journal says, and
/// its shard follows.
/// </summary>
/// <param name="nameOf">A member's node name by its address, or null for a stranger. Any thread.</param>
/// <param name="isUp">Whether the member at this address is up and answers. Any thread.</param>
/// <param name="sightOf">The volume's newest owner that this node has heard of, or null. Any thread.</param>
public sealed class VolumeAllocationStrategy(
    ActorSystem system, IVolumePlacementView view, Func<Address, string?> nameOf, Func<Address, bool> isUp, Func<VolumeId, OwnerSight?> sightOf)
    : IShardAllocationStrategy
{
    /// <summary>Volumes looked at anew in one round of rebalancing, so that a round costs the same however many there are.</summary>
    private const int LooksPerRound = 16;

    /// <summary>Shards moved at one time.</summary>
    private const int MovesPerRound = 16;

    private readonly ILoggingAdapter _log = Logging.GetLogger(system, typeof(VolumeAllocationStrategy));
    private readonly Akka.Cluster.Cluster _cluster = Akka.Cluster.Cluster.Get(system);
    private readonly Queue<VolumeId> _round = new();

    /// <summary>
    /// Where shards go that were taken from their node: both decisions of one move must agree, or it never ends. A new coordinator knows
    /// none, and then a shard takes one more turn. No more than there are volumes.
    /// </summary>
    private readonly ConcurrentDictionary<VolumeId, string> _handedTo = new();

    public async Task<IActorRef> AllocateShard(
        IActorRef requester, string shardId, IImmutableDictionary<IActorRef, IImmutableList<string>> currentShardAllocations)
    {
        if (!VolumeId.TryParse(shardId, out var volume)) return requester;
        var regions = Regions(currentShardAllocations);
        // Both go through the journal, and neither waits for the other.
        var looking = view.LookAsync(volume);
        var moves = await view.MovesAsync();
        var where = await looking;
        var early = OwnerChoice.EarlyClaimer(where, sightOf(volume));
        _handedTo.TryRemove(volume, out var handedTo);
        var wanted = OwnerChoice.Wanted(volume, where, handedTo, early, moves.GetValueOrDefault(volume), regions.Keys);
        if (wanted is not null) return regions[wanted];
        // A throw would leave the shard without a home; on the requester the takeover waits for copies to come back.
        return regions.Values.Contains(requester) ? requester : regions.Values.FirstOrDefault(requester);
    }

    public async Task<IImmutableSet<string>> Rebalance(
        IImmutableDictionary<IActorRef, IImmutableList<string>> currentShardAllocations, IImmutableSet<string> rebalanceInProgress)
    {
        var regions = Regions(currentShardAllocations);
        var owners = Owners(currentShardAllocations);
        // One question in place of 33 where nothing is journaled: each of them asks a quorum.
        var now = await view.NowAsync();
        var moves = await view.MovesAsync(now);
        await LookAtSome(owners, now);
        // A node that is gone or does not answer can't hand over; waiting for it would only keep its shards from where they go once it is out.
        var answering = regions.Where(region => isUp(AddressOf(region.Value))).Select(region => region.Key).ToHashSet(StringComparer.Ordinal);
        var misplaced = ImmutableHashSet.CreateBuilder<string>();
        foreach (var (volume, owner) in owners)
        {
            var move = moves.GetValueOrDefault(volume);
            var servedBy = OwnerChoice.ServedBy(view.Last(volume), sightOf(volume));
            // A wish is fulfilled when the volume is served there, not when its shard is.
            if (move == owner && (servedBy is null || servedBy == owner)) await view.ForgetMoveAsync(volume, owner);
            // Nor is one that can't be fulfilled any more, the copy there having been replaced: it would stand in the way of every later one.
            else if (move is not null && view.Last(volume).Replicas is { Length: > 0 } replicas && !replicas.Contains(move)) await view.ForgetMoveAsync(volume, move);
            if (rebalanceInProgress.Contains(volume.ToString())) continue;
            // It is at home: whatever it was taken away for is over.
            _handedTo.TryRemove(volume, out _);
            if (misplaced.Count + rebalanceInProgress.Count >= MovesPerRound) continue;
            var where = move is null ? view.Last(volume) : await view.LookAsync(volume);
            if (!answering.Contains(owner)) continue;
            if (OwnerChoice.Better(volume, where, move, servedBy, owner, regions.Keys) is not { } better) continue;
            _log.Info("Volume {0} moves from {1} to {2}", volume, owner, better);
            _handedTo[volume] = better;
            misplaced.Add(volume.ToString());
        }
        return misplaced.ToImmutable();
    }

    private async Task LookAtSome(Dictionary<VolumeId, string> owners, long? now)
    {
        if (_round.Count == 0) foreach (var volume in owners.Keys) _round.Enqueue(volume);
        for (var count = 0; count < LooksPerRound && _round.TryDequeue(out var volume); count++) await view.LookAsync(volume, now);
    }

    private Dictionary<string, IActorRef> Regions(IImmutableDictionary<IActorRef, IImmutableList<string>> allocations)
    {
        var regions = new Dictionary<string, IActorRef>(StringComparer.Ordinal);
        foreach (var region in allocations.Keys)
        {
            if (NameOf(region) is { } name) regions[name] = region;
        }
        return regions;
    }

    private Dictionary<VolumeId, string> Owners(IImmutableDictionary<IActorRef, IImmutableList<string>> allocations)
    {
        var owners = new Dictionary<VolumeId, string>();
        foreach (var (region, shards) in allocations)
        {
            if (NameOf(region) is not { } name) continue;
            foreach (var shard in shards)
            {
                if (VolumeId.TryParse(shard, out var volume)) owners[volume] = name;
            }
        }
        return owners;
    }

    private string? NameOf(IActorRef region) => nameOf(AddressOf(region));

    /// <summary>The local region's path carries no host.</summary>
    private Address AddressOf(IActorRef region) => region.Path.Address.HasLocalScope ? _cluster.SelfAddress : region.Path.Address;
}
