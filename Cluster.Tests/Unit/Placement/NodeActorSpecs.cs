using System.Collections.Immutable;
using Akka.Actor;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;
using Cluster.Tests.Unit.Hosting;

namespace Cluster.Tests.Unit.Placement;

public sealed class NodeActorSpecs : TestKit
{
    [Fact(DisplayName = "A node is ready once placement has its word that its restart is over: a cordon that comes then is not taken back by it")]
    public void Ready_once_the_restart_is_over()
    {
        var known = new TaskCompletionSource();
        Start(known);
        ExpectMsg<PlacementProtocol.RegisterNode>();
        LastSender.Tell(new PlacementProtocol.Registered(ContractSamples.Description.Id));
        var said = ExpectMsg<PlacementProtocol.CordonForRestart>();
        Assert.Equal((ContractSamples.Description.Name, false), (said.NodeName, said.Begins));
        Assert.False(known.Task.IsCompleted);
        LastSender.Tell(new PlacementProtocol.NodeList([]));
        AwaitCondition(() => known.Task.IsCompleted);
        // From here on it only reports.
        ExpectMsg<PlacementProtocol.ReportNode>(TimeSpan.FromSeconds(30));
    }

    [Fact(DisplayName = "A node that placement goes on refusing, since another one that is up has its name, gives up with placement's sentence")]
    public void Refused_for_good()
    {
        var known = new TaskCompletionSource();
        Start(known);
        ExpectMsg<PlacementProtocol.RegisterNode>();
        for (var time = 1; time < NodeActor.RefusalsMax; time++) LastSender.Tell(new PlacementProtocol.Refused(RefusalKind.Conflict, "The name is another's."));
        ExpectMsg<PlacementProtocol.RegisterNode>(TimeSpan.FromSeconds(30));
        Assert.False(known.Task.IsCompleted);
        LastSender.Tell(new PlacementProtocol.Refused(RefusalKind.Conflict, "The name is another's."));
        AwaitCondition(() => known.Task.IsFaulted);
        Assert.Equal("The name is another's.", Assert.IsType<PlacementRefusedException>(known.Task.Exception!.InnerException).Message);
    }

    private void Start(TaskCompletionSource known)
    {
        Action<ulong> onProvisioned = _ => { };
        Func<ImmutableArray<AwayVolume>> away = () => [];
        Sys.ActorOf(Props.Create(() => new NodeActor(TestActor, ContractSamples.Description, () => ContractSamples.Report, known, onProvisioned, away)));
    }

    [Fact(DisplayName = "Where placement is of a version that does not know that word, the node is ready all the same")]
    public void Ready_without_an_answer()
    {
        var known = new TaskCompletionSource();
        Start(known);
        ExpectMsg<PlacementProtocol.RegisterNode>();
        LastSender.Tell(new PlacementProtocol.Registered(ContractSamples.Description.Id));
        Assert.False(known.Task.IsCompleted);
        FishForMessage(_ => known.Task.IsCompleted, TimeSpan.FromSeconds(30));
    }
}
