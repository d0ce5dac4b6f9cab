using Cluster.Messages.Model;
using Cluster.Node.Repair;
using Cluster.Node.Replica;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// C12: at any moment all journals may be lost, and with them any of the stores. Whatever stores are left, the recovery's decision must keep all that was
/// promised, or refuse: looked at for every subset of the stores, as their processes leave them, and as their hosts' power would.
/// </summary>
internal sealed class SimRecovery(SimWorld world)
{
    private readonly List<RecoveryCopy> _copies = [];

    /// <summary>Decisions looked at, and how many of them recovered the volume.</summary>
    public int Decisions { get; private set; }

    public int Recovered { get; private set; }

    /// <summary>Null, or how the recovery would lose a write above <paramref name="promised"/>; with media: what a loss of power would leave.</summary>
    public string? Look(ulong promised, bool onMedia)
    {
        Gather(onMedia);
        for (var subset = 1; subset < 1 << _copies.Count; subset++)
        {
            var found = new List<RecoveryCopy>();
            for (var index = 0; index < _copies.Count; index++)
            {
                if ((subset & (1 << index)) != 0) found.Add(_copies[index]);
            }
            var decided = VolumeRecovery.Decide(found, force: false);
            Decisions++;
            if (!decided.IsRecovered) continue;
            Recovered++;
            foreach (var chosen in decided.Chosen)
            {
                var kept = world.Journal.State.Fork(chosen.LastRecordEpoch, chosen.LastSequence) ?? 0;
                if (kept >= promised) continue;
                return $"a recovery from {string.Join(", ", found.Select(Text))} {(onMedia ? "after a loss of power " : "")}takes the copy of {chosen.NodeName}, which has "
                    + $"{kept} of the order, but {promised} is promised";
            }
        }
        return null;
    }

    /// <summary>A disk from another time is left out until its copy is in sync again: where its header names it alone, nothing that is found tells.</summary>
    private void Gather(bool onMedia)
    {
        _copies.Clear();
        foreach (var node in world.Replicas)
        {
            if (node.Storage.ReplacedAtUs >= 0 && !node.IsVouchedFor) continue;
            if ((onMedia ? node.Storage.OnMedia() : node.Storage.Appended()) is not { Header: { } bytes } at) continue;
            if (ReplicaHeader.TryDecode(bytes) is not { } header) throw new InvariantException($"{node.Name} holds a header that is none");
            _copies.Add(new RecoveryCopy(node.Id, node.Name, node.StoreId, node.StoreOpens, header, at.LastRecordEpoch, at.Sequence, null));
        }
    }

    private static string Text(RecoveryCopy copy) => $"{copy.NodeName} ({copy.Stamp.Epoch}/{copy.Stamp.Version} "
        + $"{string.Join("", copy.Header.Members.Select(member => member.IsJoining ? $"+{member.Id}" : $" {member.Id}"))}, last {copy.LastSequence} of {copy.LastRecordEpoch})";
}

/// <summary>Where a store's log ends: its newest header, and its last record.</summary>
internal readonly record struct SimLogEnd(ulong Sequence, ulong LastRecordEpoch, byte[]? Header);
