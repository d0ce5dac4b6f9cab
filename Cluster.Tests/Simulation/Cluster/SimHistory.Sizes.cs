using Cluster.Messages.Wire;
using Cluster.Node.Owner;

namespace Cluster.Tests.Simulation.Volumes;

// The volume's size (C20): it shrinks over nothing, and nothing is written beyond its end afterwards.
internal sealed partial class SimHistory
{
    /// <summary>An owner learns that much later at most that the journal has taken what it proposed.</summary>
    private const int ReadBackUs = 20_000_000;

    private readonly List<(long SinceUs, ulong Blocks)> _sizes = [(0, world.Spec.SizeBlocks)];

    /// <summary>The blocks that there are, and the last record that was sequenced before they were so few.</summary>
    private (ulong Blocks, ulong UpTo) _smaller = (ulong.MaxValue, 0);

    /// <summary>What became of wishes for another size, and how often.</summary>
    public SimTally Sizes { get; } = new();

    /// <summary>The journal has another size.</summary>
    public void OnResized(VolumeState before, VolumeState after)
    {
        var (old, blocks) = (before.Spec!.SizeBlocks, after.Spec!.SizeBlocks);
        if (old == blocks) return;
        Sizes.Add(blocks < old ? "Shrunk" : "Grown");
        _sizes.Add((world.NowUs, blocks));
        _smaller = (ulong.MaxValue, 0);
        var owner = world.Replicas.FirstOrDefault(node => node.Owner?.Machine is { Phase: VolumePhase.Serving } machine && machine.EpochNumber == after.Epoch.Value);
        if (blocks > old || owner?.Store is not { } store) return;
        foreach (var (block, _, value) in owner.Storage.Committed())
        {
            if (block >= blocks && value != 0) throw Broken($"the volume shrank to {blocks} blocks, and block {block} holds {value}");
        }
        ulong newest = 0;
        for (var block = blocks; block < old; block++) newest = Math.Max(newest, store.SequenceOf(block, withTail: true));
        if (newest > owner.Owner!.Machine.Committed) throw Broken($"the volume shrank to {blocks} blocks, and record {newest} beyond is not committed");
        _smaller = (blocks, owner.Owner.Machine.Sequence);
        if (world.Profile.LosesDisks) return;
        foreach (var member in world.Replicas.Where(node => after.Member(node.Replica) is not null))
        {
            if (member.Storage.Media is { } media && media.Sequence < newest)
                throw Broken($"the volume shrank to {blocks} blocks; record {newest} reached beyond, and {member.Name} has {media.Sequence} on media");
        }
    }

    private void CheckSize(SimNode node, in RecordHeader record)
    {
        if (record.Range.End > _smaller.Blocks && record.Sequence > _smaller.UpTo)
            throw Broken($"{node.Name} committed {record.Sequence} of {record.Range}, and the volume had shrunk to {_smaller.Blocks} blocks");
    }

    /// <summary>A request was refused as beyond the end. Whether it had been applied before the volume shrank nobody knows.</summary>
    public void OnBeyond(SimRequest request)
    {
        Sizes.Add("Beyond");
        for (var index = _sizes.Count - 1; index >= 0; index--)
        {
            if (_sizes[index].Blocks < request.Range.End) return;
            if (_sizes[index].SinceUs <= request.StartedUs - ReadBackUs) break;
        }
        throw Broken($"{request.Client.Name}'s request {request.Id} of {request.Range} was refused as beyond the end, which it was at no time since it was asked");
    }
}
