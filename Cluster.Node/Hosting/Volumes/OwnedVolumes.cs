using Cluster.Node.Api;
using Cluster.Node.Owner;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>How the volumes that this node owns are, as counted at each of its ticks. Written on the node's loop, read at scrapes by any thread.</summary>
public sealed class OwnedVolumes
{
    /// <summary>Of volumes that are not healthy so many are named; all are counted.</summary>
    public const int NamedMax = 256;

    private readonly int[] _counted = new int[VolumeMachine.States.Length];
    private readonly int[] _counting = new int[VolumeMachine.States.Length];
    private readonly List<(string Volume, string State)> _naming = [];

    /// <summary>-1: placement does not run here.</summary>
    private int _placed = -1;

    private volatile (string Volume, string State)[] _named = [];

    public void Expose(Metrics metrics)
    {
        for (var index = 0; index < _counted.Length; index++)
        {
            var at = index;
            metrics.AddGauge("myrmidon_volumes", "Volumes that this node owns, by state; degraded: a copy is missing or not in sync, held: writes wait, starting: not served yet, or about to move.",
                () => Volatile.Read(ref _counted[at]), ("state", VolumeMachine.States[at]));
        }
        metrics.AddGauges("myrmidon_volume_state", $"1 for each volume that this node owns and that is not healthy, with its state; {NamedMax} of them at most.",
            () => _named.Select(each => new GaugeSample(1, ("volume", each.Volume), ("state", each.State))));
        metrics.AddGauges("myrmidon_placement_volumes", "Volumes of the cluster, told by the node on which placement runs; less the sum of myrmidon_volumes: those that no node owns.",
            () => Volatile.Read(ref _placed) is >= 0 and var placed ? [new GaugeSample(placed)] : []);
    }

    /// <summary>All of the cluster's; null: placement does not run here any more. Any thread.</summary>
    public void CountPlaced(int? volumes) => Volatile.Write(ref _placed, volumes ?? -1);

    public void Begin()
    {
        Array.Clear(_counting);
        _naming.Clear();
    }

    /// <summary>One that has stopped, since the volume was deleted or has another owner, is this node's no more.</summary>
    public void Add(VolumeMachine machine)
    {
        if (machine.Phase != VolumePhase.Stopped) Add(machine.StateName, machine, static machine => machine.FullName);
    }

    /// <param name="nameOf">Asked only for one that is not healthy.</param>
    internal void Add<T>(string state, T volume, Func<T, string> nameOf)
    {
        _counting[Array.IndexOf(VolumeMachine.States, state)]++;
        if (state != VolumeMachine.States[0] && _naming.Count < NamedMax) _naming.Add((nameOf(volume), state));
    }

    public void End()
    {
        for (var index = 0; index < _counted.Length; index++) Volatile.Write(ref _counted[index], _counting[index]);
        // Most ticks find what the one before them found.
        if (!_named.AsSpan().SequenceEqual(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(_naming))) _named = [.. _naming];
    }
}
