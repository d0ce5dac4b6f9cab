using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;

namespace Cluster.Tests.Unit.Journal;

public sealed class FormationMachineSpecs
{
    private static readonly FormationMember[] Nodes =
        [.. Enumerable.Range(0, 5).Select(i => new FormationMember($"node-{i}", Guid.NewGuid(), new JournalAddress("127.0.0.1", 100 + i)))];

    [Fact(DisplayName = "A view from before a promise does not end it; one from after it does")]
    public void Old_views_end_no_promise()
    {
        var machine = Machine(1);
        var before = View(0, FormationState.None, machine.Serial);
        var promise = Promise(0, [0, 1, 2]);
        Assert.True(machine.Answer(new FormationRequest.Prepare(promise)).Agreed);
        Assert.IsType<FormationStep.Wait>(machine.Next([before]));
        Assert.NotNull(machine.State.Promise);
        Assert.IsType<FormationStep.Wait>(machine.Next([View(0, new FormationState(promise, null), machine.Serial)]));
        Assert.IsType<FormationStep.Save>(machine.Next([View(0, FormationState.None, machine.Serial)]));
        Assert.Null(machine.State.Promise);
    }

    [Fact(DisplayName = "One promise at a time, and none for a formation that this node is not part of")]
    public void One_promise()
    {
        var machine = Machine(2);
        var (first, second) = (Promise(0, [0, 1, 2]), Promise(1, [1, 2, 3]));
        Assert.False(machine.Answer(new FormationRequest.Prepare(Promise(0, [0, 1, 3]))).Agreed);
        Assert.True(machine.Answer(new FormationRequest.Prepare(first)).Agreed);
        Assert.True(machine.Answer(new FormationRequest.Prepare(first)).Agreed);
        Assert.False(machine.Answer(new FormationRequest.Prepare(second)).Agreed);
        Assert.False(machine.Answer(new FormationRequest.Commit(second.Record)).Agreed);
        Assert.True(machine.Answer(new FormationRequest.Commit(first.Record)).Agreed);
        Assert.Equal(first.Record, machine.State.Record);
        Assert.False(machine.Answer(new FormationRequest.Prepare(second)).Agreed);
    }

    [Fact(DisplayName = "A promise is dropped when the coordinator's name came back with another id: its directory is gone")]
    public void Coordinator_gone_for_good()
    {
        var machine = Machine(1);
        machine.Answer(new FormationRequest.Prepare(Promise(0, [0, 1, 2])));
        var reborn = new FormationView(Nodes[0] with { NodeId = Guid.NewGuid() }, FormationState.None, 3, 0, machine.Serial);
        Assert.IsType<FormationStep.Save>(machine.Next([reborn]));
        Assert.Null(machine.State.Promise);
    }

    [Fact(DisplayName = "The first by name coordinates, five nodes get five control members, and nodes that expect another count do not take part")]
    public void Who_forms()
    {
        var views = Enumerable.Range(0, 5).Select(i => View(i, FormationState.None, 1, expected: 5)).ToArray();
        Assert.IsType<FormationStep.Wait>(Machine(1, expected: 5).Next(views));
        var ask = Assert.IsType<FormationStep.Ask>(Machine(0, expected: 5).Next(views));
        Assert.Equal(Nodes, ask.Promise.Record.Members);
        Assert.IsType<FormationStep.Wait>(Machine(0, expected: 3).Next(views));
        Assert.IsType<FormationStep.Wait>(Machine(0, expected: 5).Next(views[..4]));
    }

    [Fact(DisplayName = "A node whose store belongs to a cluster forms none, promises none and joins no other: it joins that one, or waits to be told that it goes on")]
    public void The_store_names_its_cluster()
    {
        var (own, other) = (Promise(0, [0, 1, 2]).Record, Promise(0, [0, 1, 2]).Record);
        FormationMachine Waiting(params Guid[] aside) => new(Nodes[0], 3, 3, FormationState.None, Guid.NewGuid, own.ClusterId, aside.ToHashSet());
        var lost = Enumerable.Range(0, 3).Select(i => View(i, FormationState.None, 1)).ToArray();
        Assert.IsType<FormationStep.Ask>(Machine(0).Next(lost));
        Assert.IsType<FormationStep.Wait>(Waiting().Next(lost));
        Assert.False(Waiting().Answer(new FormationRequest.Prepare(Promise(1, [0, 1, 2]))).Agreed);
        Assert.IsType<FormationStep.Wait>(Waiting().Next([View(1, new FormationState(null, other), 1)]));
        var joins = Waiting();
        joins.Next([View(2, new FormationState(null, other), 1), View(1, new FormationState(null, own), 1)]);
        Assert.Equal(own, joins.State.Record);
        Assert.False(joins.Recover(own with { Era = Guid.NewGuid() }));

        Assert.IsType<FormationStep.Wait>(Waiting(own.Era).Next([View(1, new FormationState(null, own), 1)]));
        Assert.False(Waiting().Recover(other));
        var recovered = Waiting(own.Era);
        Assert.True(recovered.Recover(own with { Era = Guid.NewGuid() }));
        Assert.NotEqual(own.Era, recovered.State.Record!.Era);
    }

    [Fact(DisplayName = "A seed that is a name counts as so many seeds as it has addresses: more than half of them must take part")]
    public void A_name_with_many_addresses()
    {
        FormationView[] views = [.. Enumerable.Range(0, 3).Select(i => View(i, FormationState.None, 1))];
        var one = new FormationMachine(Nodes[0], 3, seeds: 1, FormationState.None, Guid.NewGuid);
        Assert.IsType<FormationStep.Wait>(one.Next(views, seeds: 6));
        Assert.IsType<FormationStep.Ask>(one.Next(views, seeds: 5));
    }

    private static FormationMachine Machine(int node, int expected = 3) => new(Nodes[node], expected, 3, FormationState.None, Guid.NewGuid);

    private static FormationPromise Promise(int coordinator, int[] participants)
    {
        var members = participants.Select(i => Nodes[i]).ToArray();
        return new FormationPromise(Nodes[coordinator], members, new FormationRecord(Guid.NewGuid(), Guid.NewGuid(), members));
    }

    private static FormationView View(int node, FormationState state, long serial, int expected = 3) =>
        new(Nodes[node], state, expected, node < 3 ? node : -1, serial);
}
