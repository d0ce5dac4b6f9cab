using Cluster.Messages.Events;
using Cluster.Messages.Model;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>Plays users who make the volume smaller and larger while it is written to. Before it shrinks, somebody trims what is beyond. At the end it is what it was created as.</summary>
internal sealed class SimResizes(SimWorld world)
{
    private const int LookUs = 100_000;
    private const int TriesMax = 20;

    private readonly SimRandom _random = new(world.Seed ^ 0x51BE5);
    private ulong _revisions;
    private bool _isOver;

    public void Start() => PostNext();

    /// <summary>From here on the volume only grows back.</summary>
    public void End() => _isOver = true;

    public bool IsDone => !world.Profile.Resizes || world.Director.Owner?.Machine.State.Spec!.SizeBytes == world.Spec.SizeBytes;

    private void PostNext() => world.At(_isOver ? LookUs : _random.Between(100_000, 1_500_000), () =>
    {
        if (Owner() is not { } owner) PostNext();
        else if (owner.Machine.State.Spec!.SizeBlocks is var blocks && (_isOver ? blocks < world.Spec.SizeBlocks : blocks <= world.Spec.SizeBlocks / 2 || _random.Percent(40)))
        {
            Grow(owner, _isOver ? world.Spec.SizeBlocks : (ulong)_random.Between((long)blocks, (long)world.Spec.SizeBlocks));
            PostNext();
        }
        else if (_isOver) PostNext();
        else
        {
            var to = (ulong)_random.Between((long)(world.Spec.SizeBlocks / 2), (long)blocks - 1);
            if (_random.Percent(80) && world.Clients.FirstOrDefault(client => client.IsReady && client.Node.IsWorking && !client.WasFenced) is { } client) client.Ask(SimKind.Trim, new BlockRange(to, (uint)(blocks - to)));
            world.At(_random.Between(1_000, 200_000), () => TryShrink(to, TriesMax));
        }
    });

    private SimOwner? Owner() => world.Director is { IsServing: true, Owner: { Host.IsWorking: true } owner } ? owner : null;

    private SpecChanged ChangeOf(SimOwner owner, ulong blocks)
    {
        var state = owner.Machine.State;
        _revisions = Math.Max(_revisions, state.SpecRevision) + 1;
        return new SpecChanged(SimWorld.Volume, state.Spec! with { SizeBytes = blocks * Limits.BlockBytes }, _revisions);
    }

    private void Grow(SimOwner owner, ulong blocks)
    {
        if (owner.IsProposing || blocks <= owner.Machine.State.Spec!.SizeBlocks) return;
        var change = ChangeOf(owner, blocks);
        owner.Host.Post(0, () => owner.Machine.Propose(change));
    }

    private void TryShrink(ulong blocks, int left)
    {
        if (_isOver || left == 0 || Owner() is not { } owner || owner.Machine.State.Spec!.SizeBlocks <= blocks)
        {
            PostNext();
            return;
        }
        var change = ChangeOf(owner, blocks);
        var isAnswered = false;
        owner.Host.Post(0, () => owner.Machine.Shrink(change, (status, sentence) =>
        {
            if (isAnswered) return;
            isAnswered = true;
            world.Say("resizes", $"to {blocks} blocks: {status} {sentence}");
            world.History.Sizes.Add(status.ToString());
            if (status == IoStatus.Busy) world.At(LookUs, () => TryShrink(blocks, left - 1));
            else PostNext();
        }));
        // A host that dies answers nothing.
        world.At(10_000_000, () =>
        {
            if (isAnswered) return;
            isAnswered = true;
            PostNext();
        });
    }
}
