using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>Takes what operators want of the disks of this node's store, from any node, to the loop. One per node.</summary>
public sealed class DiskActor : ReceiveActor
{
    public const string Name = "disks";

    public DiskActor(ILoop loop, BlockStore store)
    {
        Receive<DiskProtocol.Drain>(command =>
        {
            var (sender, self) = (Sender, Self);
            // The report asks the disk's file system, which may take long.
            loop.Post(() => store.Drain(command.Disk, command.Drains, answer => Task.Run(() => Of(answer)).PipeTo(sender, self)));
        });
    }

    /// <summary>That of the node with this address.</summary>
    public static ICanTell At(ActorSystem system, string akkaAddress) => system.ActorSelection(new RootActorPath(Address.Parse(akkaAddress)) / "user" / Name);

    private static IControlMessage Of(DrainAnswer answer) => answer.Status switch
    {
        IoStatus.Ok => new DiskProtocol.Disk(StoreHealth.Report(answer.Disk!)),
        IoStatus.Missing => new PlacementProtocol.Refused(RefusalKind.NotFound, $"{Sentence(answer)}."),
        IoStatus.Conflict => new PlacementProtocol.Refused(RefusalKind.Conflict, $"{Sentence(answer)}."),
        _ => new PlacementProtocol.Refused(RefusalKind.Unavailable, $"{Sentence(answer)}."),
    };

    private static string Sentence(DrainAnswer answer) => string.Concat(answer.Reason[..1].ToUpperInvariant(), answer.Reason.AsSpan(1));
}
