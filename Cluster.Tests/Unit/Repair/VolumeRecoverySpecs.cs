using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Cli.Recover;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Owner;
using Cluster.Node.Repair;
using Cluster.Node.Replica;
using Cluster.Tests.Unit.Hosting;

namespace Cluster.Tests.Unit.Repair;

public sealed class VolumeRecoverySpecs
{
    private static readonly VolumeSpec Spec = ContractSamples.Spec with { Replicas = 3 };

    private static Guid Of(int number) => new(number, 0, 0, new byte[8]);

    private static StampedMember Member(int number, bool joining = false, ulong opened = 1) =>
        new(new ReplicaPlacement(new ReplicaId((ushort)number), new NodeId(Of(number)), $"n{number}", Of(100 + number)), Of(200 + number), opened, joining, 10 + opened);

    private static StoreOpens Opened(ulong count) => new(count, [.. Enumerable.Range(0, (int)count).Select(back => 10 + count - (ulong)back)]);

    private static RecoveryCopy Copy(int number, ulong epoch, ulong version, ulong last, ulong lastEpoch, params StampedMember[] members)
    {
        var header = new ReplicaHeader(default, default, Spec.Id, new ReplicaId((ushort)number), Of(100 + number), epoch, default, epoch, version, 0, false, 0, 0,
            VolumeSpecCodec.Encode(Spec))
        { Members = [.. members] };
        return new RecoveryCopy(new NodeId(Of(number)), $"n{number}", Of(200 + number), Opened(1), header, lastEpoch, last, null);
    }

    private static VolumeRecovery Decide(params RecoveryCopy[] copies) => VolumeRecovery.Decide(copies, force: false);

    private static IEnumerable<int> Chosen(VolumeRecovery recovery) => recovery.Chosen.Select(copy => (int)copy.Id.Number);

    [Fact(DisplayName = "With all members of the newest set the longest copies are chosen; a stale one with a longer log of its own is not")]
    public void The_longest_of_the_members()
    {
        var decided = Decide(Copy(1, 5, 9, 40, 5, Member(1), Member(2)), Copy(2, 5, 9, 42, 5, Member(1), Member(2)), Copy(3, 4, 8, 60, 4, Member(1), Member(2), Member(3)));
        Assert.Equal([2], Chosen(decided));
        Assert.Equal("", decided.Reason);
        Assert.Equal([1, 2], Chosen(Decide(Copy(1, 5, 9, 42, 5, Member(1), Member(2)), Copy(2, 5, 8, 42, 5, Member(1), Member(2), Member(3)))));
    }

    [Fact(DisplayName = "A member that is missing, on another store, of an older backup or damaged refuses the volume by name; force takes what is there")]
    public void A_missing_member()
    {
        var first = Copy(1, 5, 9, 40, 5, Member(1), Member(2, opened: 2));
        var second = Copy(2, 5, 9, 42, 5, Member(1), Member(2, opened: 2));
        // From before its second open, and opened since by itself.
        var backup = Copy(2, 5, 8, 30, 5, Member(1), Member(2)) with { StoreOpens = new StoreOpens(2, [77, 11]) };
        foreach (var others in (RecoveryCopy[][])[[], [second], [second with { StoreOpens = Opened(2), StoreId = Of(7) }], [second with { StoreOpens = Opened(2), Damage = "torn" }],
            [backup]])
        {
            RecoveryCopy[] copies = [first, .. others];
            var decided = Decide(copies);
            Assert.False(decided.IsRecovered);
            Assert.Contains("copy r2 of node n2", decided.Reason, StringComparison.Ordinal);
            Assert.Contains($"--force {Spec.FullName}", decided.Reason, StringComparison.Ordinal);
            Assert.Equal("n2", decided.Missing.Single().Copy.NodeName);
            var forced = VolumeRecovery.Decide(copies, force: true);
            Assert.True(forced is { IsRecovered: true, Forced: true });
        }
        Assert.True(Decide(first, second with { StoreOpens = Opened(2) }).IsRecovered);
        Assert.True(Decide(first, second with { StoreOpens = new StoreOpens(99, [66]) }).IsRecovered);
    }

    [Fact(DisplayName = "A copy that was about to join is needed too, also if only one of the members names it")]
    public void A_joiner_is_needed()
    {
        var (first, second) = (Copy(1, 5, 9, 40, 5, Member(1), Member(2), Member(3, joining: true)), Copy(2, 5, 9, 40, 5, Member(1), Member(2)));
        Assert.Contains("copy r3", Decide(first, second).Reason, StringComparison.Ordinal);
        Assert.Equal([3], Chosen(Decide(first, second, Copy(3, 0, 0, 41, 5))));
    }

    [Fact(DisplayName = "Without names in the headers every copy of the volume must carry the same stamp")]
    public void Old_headers()
    {
        Assert.Contains("named no members", Decide(Copy(1, 5, 9, 40, 5), Copy(2, 5, 9, 40, 5), Copy(3, 5, 8, 40, 5)).Reason, StringComparison.Ordinal);
        Assert.Equal([1, 2, 3], Chosen(Decide(Copy(1, 5, 9, 40, 5), Copy(2, 5, 9, 40, 5), Copy(3, 5, 9, 40, 5))));
    }

    [Fact(DisplayName = "A copy in mid catch-up is never chosen, by force either; one that was never in sync proves nothing")]
    public void Not_whole()
    {
        var half = Copy(1, 5, 9, 40, 5, Member(1));
        half = half with { Header = half.Header with { CatchingUp = true } };
        Assert.False(Decide(half).IsRecovered);
        Assert.Contains("no whole copy is left to force", VolumeRecovery.Decide([half], force: true).Reason, StringComparison.Ordinal);
        Assert.Equal("no copy that was found has ever been in sync", VolumeRecovery.Decide([Copy(1, 0, 0, 0, 0)], force: true).Reason);
    }

    [Fact(DisplayName = "The recovered volume goes on above all epochs and versions; copies that end in the same epoch are prefixes, all others are copied in full")]
    public void The_first_event()
    {
        var third = Copy(3, 4, 8, 60, 4, Member(1), Member(2), Member(3));
        var recovered = Decide(Copy(1, 5, 9, 42, 5, Member(1), Member(2)), Copy(2, 5, 9, 40, 5, Member(1), Member(2)), third).ToEvent();
        Assert.Equal((1UL << 32, 5UL, 42UL, 1UL << 32), (recovered.Epoch.Value, recovered.RecordEpoch, recovered.StartSequence, recovered.Version));
        Assert.Equal([new InSyncMember(new ReplicaId(1), Of(201), 1, 11)], recovered.Members.AsEnumerable());
        Assert.Equal(["r1", "r2", "r3"], recovered.Replicas.Select(copy => copy.Id.ToString()));
        var state = VolumeState.Empty.Apply(recovered);
        Assert.Equal(42UL, state.Fork(5, 42));
        Assert.Equal(40UL, state.Fork(5, 40));
        Assert.Equal(42UL, state.Fork(5, 50));
        Assert.Null(state.Fork(4, 60));
        Assert.Null(state.Fork(6, 43));
        Assert.Equal(44UL, state.Fork(1UL << 32, 44));
    }

    [Fact(DisplayName = "Nothing is done while a leader is heard, while a majority of the logs is there, and across clusters; one log of three stands down")]
    public void Refusals()
    {
        var era = Guid.NewGuid();
        RecoveryNode Node(string name, bool log, string leader = "", Guid? of = null) => new(
            new FormationMember(name, Guid.NewGuid(), new JournalAddress("h", 1)), Of(1), of, leader, log, ["a", "b", "c"], Guid.NewGuid(), []);
        RecoveryPlan Make(params RecoveryNode[] nodes) => RecoveryPlan.Make(nodes, new HashSet<string>());
        Assert.Contains("hears its leader b", Make(Node("a", true, "b", era), Node("b", false)).Refusal, StringComparison.Ordinal);
        Assert.Contains("2 of the journal's 3 logs", Make(Node("a", true, of: era), Node("b", true, of: era), Node("c", false)).Refusal, StringComparison.Ordinal);
        Assert.Contains("one cluster at a time", Make(Node("a", false), Node("b", false) with { Cluster = Of(2) }).Refusal, StringComparison.Ordinal);
        var plan = Make(Node("c", true, of: era), Node("b", false), Node("a", false));
        Assert.Equal("", plan.Refusal);
        Assert.Equal(["c"], plan.StandDown.Select(node => node.Name));
        Assert.Equal(["a", "b", "c"], plan.ControlMembers.Select(member => member.Name));
    }

    [Fact(DisplayName = "Of two volumes of one name the newer one is recovered; ids of all are given out; a node that is away is known, so that its copies are made anew")]
    public void The_catalogue()
    {
        RecoveryCopy Named(ulong id, RecoveryCopy copy) =>
            copy with { Header = copy.Header with { Volume = new VolumeId(id), Spec = VolumeSpecCodec.Encode(Spec with { Id = new VolumeId(id) }) } };
        var node = new RecoveryNode(new FormationMember("n1", Of(1), new JournalAddress("h", 1)), Of(9), null, "", false, [], Of(201),
            [Named(3, Copy(1, 5, 9, 40, 5, Member(1))), Named(8, Copy(1, 5, 9, 40, 5, Member(1), Member(2)))]);
        var plan = RecoveryPlan.Make([node], new HashSet<string>());
        Assert.Equal([true, false], plan.Volumes.Select(volume => volume.IsRecovered));
        plan = RecoveryPlan.Make([node], new HashSet<string> { Spec.FullName });
        Assert.Equal([false, true], plan.Volumes.Select(volume => volume.IsRecovered));
        Assert.Contains("the newer volume v8", plan.Volumes[0].Reason, StringComparison.Ordinal);
        var events = plan.Catalogue();
        Assert.Equal(new CatalogueRecovered(8), events[0]);
        Assert.Equal("n2", Assert.IsType<NodeRegistered>(events[1]).Node.Name);
        Assert.Equal(["r1", "r2"], Assert.IsType<RecoveredPlaced>(events[2]).Replicas.Select(copy => copy.Id.ToString()));
    }

    [Fact(DisplayName = "A volume that a log of the journal knows, and of which no node has a copy, is told by name with the nodes that had its copies; its id is never given out again")]
    public void Without_a_copy()
    {
        RecoveryNode Node(string name, params KnownVolume[] known) =>
            new(new FormationMember(name, Of(1), new JournalAddress("h", 1)), Of(9), null, "", false, [], Of(201), [Copy(1, 5, 9, 40, 5, Member(1))]) { Catalogue = [.. known] };
        var found = new KnownVolume(Spec.Id, Spec.FullName, ["n1"]);
        var plan = RecoveryPlan.Make([Node("n1", found, new KnownVolume(new VolumeId(70), "orders", ["n3"])), Node("n0", new KnownVolume(new VolumeId(70), "orders", ["n2", "n3"]))], new HashSet<string>());
        var without = Assert.Single(plan.WithoutCopy);
        Assert.Equal((new VolumeId(70), "orders", "n2 n3"), (without.Volume, without.Name, string.Join(" ", without.Nodes)));
        Assert.Equal(new CatalogueRecovered(70), plan.Catalogue()[0]);
        using var text = new StringWriter();
        RecoverText.Print(text, plan);
        Assert.Contains($"Volume orders ({new VolumeId(70)}){Environment.NewLine}  NO COPY on the nodes above; its copies were on n2 and n3.", text.ToString(), StringComparison.Ordinal);
        Assert.Equal("orders", (string?)RecoverText.ToJson(plan)["withoutCopy"]![0]!["name"]);
    }
}
