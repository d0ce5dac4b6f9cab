using System.Collections.Concurrent;
using System.Diagnostics;
using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>
/// Whoever waits for a node in vain says so here: all nodes then look whether they hear its I/O loop (<c>MeshNode.Doubt</c>), and where none of those that hear each other hears it, they act as if it had been silent
/// for longer: they take its volumes over (<c>ClaimMachine</c>), or take its copies out (R7). Only when that begins is decided here, never who may write. Any thread.
/// </summary>
/// <param name="self">Never doubted.</param>
/// <param name="look">Has this node look.</param>
/// <param name="others">The other nodes that the cluster reaches, each as a way to its <see cref="DoubtActor"/>.</param>
/// <param name="nameOf">For people.</param>
internal sealed partial class NodeDoubts(NodeId self, Action<NodeId> look, Func<IEnumerable<(NodeId Node, ICanTell Way)>> others, Func<NodeId, string> nameOf, ILogger<NodeDoubts> logger)
{
    /// <summary>Without an answer for so long a node is doubted.</summary>
    public static readonly TimeSpan After = TimeSpan.FromMilliseconds(300);

    /// <summary>Of one node at most one doubt is told in this time, whoever waits for it.</summary>
    private static readonly TimeSpan Every = TimeSpan.FromMilliseconds(300);

    private readonly ConcurrentDictionary<NodeId, long> _told = new();
    private long _count;

    /// <summary>Doubts that were told.</summary>
    public long Told => Interlocked.Read(ref _count);

    /// <summary>Who waits for long doubts this many times at most: it is asked at <see cref="After"/>, twice that, and so on.</summary>
    public const int OfOneMax = 3;

    /// <summary>Whether who has waited for so long, and has doubted so many times, doubts again.</summary>
    public static bool IsDue(TimeSpan waited, int doubts) => doubts < OfOneMax && waited >= After * (1 << doubts);

    /// <summary>This node's loop does not hear a doubted one: the others are told.</summary>
    public void TellUnheard(NodeId node)
    {
        foreach (var (other, way) in others())
        {
            if (other != node) way.Tell(new NodeProtocol.Unheard(node, self), ActorRefs.NoSender);
        }
    }

    public void Tell(NodeId node)
    {
        if (node == self) return;
        var now = Stopwatch.GetTimestamp();
        var last = _told.GetOrAdd(node, long.MinValue);
        if (last != long.MinValue && Stopwatch.GetElapsedTime(last, now) < Every) return;
        if (!_told.TryUpdate(node, now, last)) return;
        Interlocked.Increment(ref _count);
        LogDoubts(nameOf(node));
        look(node);
        foreach (var (other, way) in others())
        {
            if (other != node) way.Tell(new NodeProtocol.Doubted(node), ActorRefs.NoSender);
        }
    }

    [LoggerMessage(Level = LogLevel.Debug, Message = "node {Node} is waited for: all look whether they hear it")]
    private partial void LogDoubts(string node);
}

/// <summary>Takes the doubts of other nodes, and what they found, to this one's loop, and what that found to them. One per node.</summary>
public sealed class DoubtActor : ReceiveActor
{
    public const string Name = "doubts";

    public DoubtActor(Action<NodeId> look, Action<NodeId, NodeId> unheard)
    {
        Receive<NodeProtocol.Doubted>(doubted => look(doubted.Node));
        Receive<NodeProtocol.Unheard>(said => unheard(said.Node, said.By));
    }
}
