using Cluster.Messages.Model;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>R19 over whole copies: what a copy that was away has of snapshots when it is back.</summary>
[Collection("Cluster simulation")]
public sealed class SnapshotScenarioSpecs
{
    private const int Seeds = 20;
    private const int LimitMs = 60_000;

    [Fact(DisplayName = "R19, R8: a copy that missed a snapshot, an overwrite and a trim has all three after its catch-up, and goes back to the snapshot like the others")]
    public void A_copy_that_missed_them()
    {
        for (ulong seed = 1; seed <= Seeds; seed++)
        {
            var world = new SimWorld(seed, new SimProfile { OperationsPerClient = 0, TakesSnapshots = true, Directed = false });
            try
            {
                Play(world);
            }
            finally
            {
                world.End();
            }
        }
    }

    private static void Play(SimWorld world)
    {
        var client = world.Clients.First();
        world.Director.Start();
        Await(world, () => IsWhole(world), "the volume was not served");
        Do(world, client, SimKind.Write, 1, 2, 3, 4);
        var away = world.Replicas.First(node => node != world.Director.OwnerNode);
        away.Kill();
        Do(world, client, SimKind.Trim, 2);
        Do(world, client, SimKind.Write, 3);
        var first = Make(world, "first");
        Do(world, client, SimKind.Write, 1, 2);
        Do(world, client, SimKind.Trim, 4);
        var second = Make(world, "second");
        Do(world, client, SimKind.Write, 4, 5);
        Do(world, client, SimKind.Trim, 1);
        away.Start();
        Await(world, () => IsWhole(world) && IsEqual(world), "the copy was not caught up");
        world.History.CompareReplicas();
        Assert.Equal([1UL, 3UL, 4UL], Blocks(away, first));
        Assert.Equal([1UL, 2UL, 3UL], Blocks(away, second));
        Assert.Equal([2UL, 3UL, 4UL, 5UL], [.. away.Storage.Committed().Where(block => block.Value != 0).Select(block => block.Block)]);

        foreach (var each in world.Clients) each.Rest();
        Restore(world, first);
        foreach (var each in world.Clients) each.Wake();
        Do(world, client, SimKind.Write, 6);
        Await(world, () => IsEqual(world), "the copies did not settle");
        world.History.CompareReplicas();
        Assert.Equal([1UL, 3UL, 4UL, 6UL], [.. away.Storage.Committed().Where(block => block.Value != 0).Select(block => block.Block)]);
    }

    private static ulong[] Blocks(SimNode node, ulong snapshot) => [.. node.Storage.CommittedIn(snapshot)!.Select(block => block.Block)];

    private static bool IsWhole(SimWorld world) => world.Director.IsServing && world.Journal.State.InSync.Length == world.Profile.Replicas;

    private static bool IsEqual(SimWorld world) =>
        world.Replicas.All(node => node.Store!.CommitWatermark == world.Director.Owner!.Machine.Sequence && SimHistory.HasJournaled(node, world.Journal.State));

    private static void Await(SimWorld world, Func<bool> condition, string what) => world.History.Check(world.RunUntil(condition, LimitMs), () => $"seed {world.Seed}: {what}");

    private static void Do(SimWorld world, SimClient client, SimKind kind, params ulong[] blocks)
    {
        foreach (var block in blocks) client.Ask(kind, new BlockRange(block, 1));
        Await(world, () => client.IsDone, "not all was answered");
    }

    private static ulong Make(SimWorld world, string name)
    {
        IoStatus? answer = null;
        Await(world, () =>
        {
            if (answer is null or IoStatus.Busy or IoStatus.Offline && world.Director.Owner is { } owner)
            {
                answer = IoStatus.Unset;
                owner.Host.Post(0, () => answer = owner.Machine.CreateSnapshot(name).Status);
            }
            return world.Journal.State.Snapshots.Any(snapshot => snapshot.Name == name);
        }, $"the snapshot '{name}' was not made");
        return world.Journal.State.Snapshots.Single(snapshot => snapshot.Name == name).Sequence;
    }

    private static void Restore(SimWorld world, ulong snapshot)
    {
        IoStatus? answer = null;
        Await(world, () =>
        {
            if (answer is null or IoStatus.Busy or IoStatus.Offline && world.Director.Owner is { } owner)
            {
                answer = IoStatus.Unset;
                owner.Host.Post(0, () => owner.Machine.RestoreSnapshot(snapshot, (status, _) => answer = status));
            }
            return answer == IoStatus.Ok;
        }, "the volume was not put back");
        world.History.OnRestored(snapshot);
    }
}
