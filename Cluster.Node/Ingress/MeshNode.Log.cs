using System.Net;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Ingress;

public sealed partial class MeshNode
{
    /// <summary>A lasting reason is logged when it begins, not at each attempt.</summary>
    private void LogOnce(MeshPeer peer, string reason)
    {
        if (peer.LoggedReason == reason) return;
        peer.LoggedReason = reason;
        LogNotReached(_log, peer.Info.Name, peer.Info.Node, $"{peer.Info.Host}:{peer.Info.Port}", reason);
    }

    /// <summary>Anyone can connect, as often as he likes; the log stays bounded.</summary>
    private void LogRefusal(string reason)
    {
        if (Loop.NowMs - _refusalsSinceMs > MeshLimits.RefusalIntervalMs)
        {
            if (_refusalsUnsaid > 0) LogRefused(_log, $"{_refusalsUnsaid} more connections were closed or refused");
            (_refusalsSinceMs, _refusalLines, _refusalsUnsaid) = (Loop.NowMs, 0, 0);
        }
        if (_refusalLines++ < MeshLimits.RefusalLinesMax) LogRefused(_log, reason);
        else _refusalsUnsaid++;
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "mesh: link to {Name} ({Node}) at {Remote} is up, generation {Generation}")]
    private static partial void LogUp(ILogger log, string name, NodeId node, EndPoint? remote, ulong generation);

    [LoggerMessage(Level = LogLevel.Warning,
        Message = "mesh: link to {Name} ({Node}), generation {Generation}, is down: {Reason}, {Detail}")]
    private static partial void LogDown(ILogger log, string name, NodeId node, ulong generation, CloseReason reason, string detail);

    [LoggerMessage(Level = LogLevel.Warning, Message = "mesh: process of {Name} ({Node}) is dead: {Remote} refuses connections")]
    private static partial void LogDead(ILogger log, string name, NodeId node, EndPoint? remote);

    [LoggerMessage(Level = LogLevel.Warning, Message = "mesh: {Name} ({Node}) at {Address} is not reached, trying on: {Reason}")]
    private static partial void LogNotReached(ILogger log, string name, NodeId node, string address, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "mesh: {Reason}")]
    private static partial void LogRefused(ILogger log, string reason);
}
