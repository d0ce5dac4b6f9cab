using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Owner;

namespace Cluster.Node.Hosting.WarmUp;

/// <summary>
/// The way of a command to a volume's owner, with actors of its own beside the node's: home, keeper and volume actor. The last one reads the journal, as at each start, finds that there
/// is no such volume, and says so: nothing is written, and sharding knows nothing of it.
/// </summary>
internal static class ActorWarmUp
{
    private const string KeeperName = "warm-up";
    private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(10);

    /// <summary>What each of the questions was answered: that there is no such volume.</summary>
    public static async Task<IReadOnlyList<IoStatus>> RunAsync(ActorSystem system, CancellationToken cancellation)
    {
        Func<VolumeId, ulong?, Props> propsOf = (volume, onlyAt) => VolumeActor.Props(volume, new NoHost(), default, "", onlyAt);
        Action<VolumeId> askHome = _ => { };
        var keeper = system.ActorOf(Props.Create(() => new VolumeKeeper(propsOf, askHome, null)), KeeperName);
        Func<VolumeId, NodeId?> nowhere = _ => null;
        var home = system.ActorOf(Props.Create(() => new VolumeHome(VolumeWarmUp.Volume, keeper, nowhere)));
        try
        {
            var answers = new List<IoStatus>();
            foreach (var command in Questions())
            {
                var answer = await home.Ask<VolumeProtocol.Refused>(command, AnswerWithin, cancellation).ConfigureAwait(false);
                answers.Add(answer.Status);
            }
            return answers;
        }
        finally
        {
            system.Stop(home);
            system.Stop(keeper);
        }
    }

    private static IEnumerable<IVolumeCommand> Questions() =>
    [
        new VolumeProtocol.Locate(VolumeWarmUp.Volume), new VolumeProtocol.Describe(VolumeWarmUp.Volume), new VolumeProtocol.Attach(VolumeWarmUp.Volume, default, ""),
        new VolumeProtocol.Detach(VolumeWarmUp.Volume),
    ];

    /// <summary>A volume that is not there has no machine.</summary>
    private sealed class NoHost : IOwnerHost
    {
        public IOwnerHandle Start(VolumeState state, IActorRef actor, TimeSpan recovery) => throw new NotSupportedException();
    }
}
