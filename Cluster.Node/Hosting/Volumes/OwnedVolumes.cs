using Cluster.Node.Api;
using Cluster.Node.Owner;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>How the volumes that this node owns are, as counted at each of its ticks. Written on the node's loop, read at scrapes by any thread.</summary>
public sealed class OwnedVolumes
{
    private readonly int[] _counted = new int[VolumeMachine.States.Length];
    private readonly int[] _counting = new int[VolumeMachine.States.Length];

    public void Expose(Metrics metrics)
    {
        for (var index = 0; index < _counted.Length; index++)
        {
            var at = index;
            metrics.AddGauge("myrmidon_volumes", "Volumes that this node owns, by state; degraded: a copy is missing or not in sync, held: writes wait.",
                () => Volatile.Read(ref _counted[at]), ("state", VolumeMachine.States[at]));
        }
    }

    public void Begin() => Array.Clear(_counting);

    public void Add(VolumeMachine machine) => _counting[Array.IndexOf(VolumeMachine.States, machine.StateName)]++;

    public void End()
    {
        for (var index = 0; index < _counted.Length; index++) Volatile.Write(ref _counted[index], _counting[index]);
    }
}
