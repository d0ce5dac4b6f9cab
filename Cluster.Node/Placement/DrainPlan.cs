using System.Collections.Immutable;
using System.Globalization;
using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

/// <summary>A volume as a drain sees it.</summary>
/// <param name="Owner">Name of the node that serves it, or "" when none does.</param>
/// <param name="Copies">Every copy: its node's name and its state as users see it.</param>
public sealed record DrainVolume(VolumeId Id, string FullName, string Owner, ImmutableArray<(string Node, string State)> Copies);

/// <summary>A node that may take over owners.</summary>
public sealed record DrainTarget(string Node, bool Up, bool Cordoned);

public sealed record DrainMove(DrainVolume Volume, string Target);

/// <summary>
/// What a drain does next: which owners leave the node for where, what it waits for, and what makes it impossible. Pure.
/// </summary>
/// <param name="Owned">Volumes that the node owns now.</param>
/// <param name="Waits">One sentence for each volume that can't move at this moment, though it may later.</param>
/// <param name="Refusal">One sentence, or "": a volume that has no other copy to be served from, however long one waits.</param>
/// <param name="Stays">Before a restart such a volume refuses nothing, as it is back with its node: one sentence for each. It is not among those that are owned.</param>
public sealed record DrainPlan(int Owned, ImmutableArray<DrainMove> Moves, ImmutableArray<string> Waits, string Refusal, ImmutableArray<string> Stays)
{
    /// <summary>Names in one refusal; of the rest the number is told.</summary>
    private const int NamesMax = 5;

    private const string InSync = "in-sync";

    public static DrainPlan Of(string node, IReadOnlyCollection<DrainVolume> volumes, IReadOnlyCollection<DrainTarget> targets, bool forRestart)
    {
        var owned = volumes.Where(volume => volume.Owner == node).OrderBy(volume => volume.FullName, StringComparer.Ordinal).ToArray();
        var stuck = owned.Where(volume => IsOnlyOn(node, volume)).ToArray();
        if (stuck.Length > 0 && !forRestart) return new DrainPlan(owned.Length, [], [], Refuse(node, stuck), []);
        owned = [.. owned.Except(stuck)];
        var fit = targets.Where(target => target is { Up: true, Cordoned: false } && target.Node != node)
            .Select(target => target.Node).ToImmutableHashSet(StringComparer.Ordinal);
        var (moves, waits) = (ImmutableArray.CreateBuilder<DrainMove>(), ImmutableArray.CreateBuilder<string>());
        foreach (var volume in owned)
        {
            if (OwnerChoice.Wanted(volume.Id, Whereabouts(volume), null, null, null, fit) is { } target && StateOn(volume, target) == InSync)
                moves.Add(new DrainMove(volume, target));
            else waits.Add(Wait(node, volume, targets));
        }
        // Who owns a volume that nobody serves just now will be known in a moment, and it may be this node.
        foreach (var volume in volumes.Where(volume => volume.Owner.Length == 0 && volume.Copies.Any(copy => copy.Node == node) && !(forRestart && IsOnlyOn(node, volume))))
            waits.Add($"volume {volume.FullName} is served by no node just now");
        return new DrainPlan(owned.Length, moves.ToImmutable(), waits.ToImmutable(), "",
            [.. stuck.Select(volume => $"volume {volume.FullName} has its only copy on {node}, and waits until that is back")]);
    }

    /// <summary>Nothing is left to do and nothing to wait for.</summary>
    public bool IsDone => Owned == 0 && Waits.IsEmpty;

    private static bool IsOnlyOn(string node, DrainVolume volume) => volume.Copies.All(copy => copy.Node == node);

    private static VolumeWhereabouts Whereabouts(DrainVolume volume) => new(
        [.. volume.Copies.Select(copy => copy.Node)], [.. volume.Copies.Where(copy => copy.State == InSync).Select(copy => copy.Node)]);

    private static string StateOn(DrainVolume volume, string node) => volume.Copies.First(copy => copy.Node == node).State;

    private static string Wait(string node, DrainVolume volume, IReadOnlyCollection<DrainTarget> targets)
    {
        var others = volume.Copies.Where(copy => copy.Node != node).Select(copy =>
        {
            var target = targets.FirstOrDefault(known => known.Node == copy.Node);
            return target is { Up: true, Cordoned: true } && copy.State == InSync ? $"{copy.Node} is cordoned"
                : target is not { Up: true } ? $"{copy.Node} is down" : $"{copy.Node} is {copy.State}";
        });
        return $"volume {volume.FullName} can move nowhere yet: its copy on {string.Join(", on ", others)}";
    }

    private static string Refuse(string node, DrainVolume[] stuck)
    {
        var names = string.Join(", ", stuck.Take(NamesMax).Select(volume => volume.FullName));
        var more = stuck.Length > NamesMax ? string.Create(CultureInfo.InvariantCulture, $" and {stuck.Length - NamesMax} more") : "";
        return $"Node {node} can't be drained: it holds the only copy of {names}{more}; delete them, or stop the node and do without them.";
    }
}
