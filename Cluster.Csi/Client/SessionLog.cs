using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Client;

internal static partial class SessionLog
{
    [LoggerMessage(EventId = 2001, Level = LogLevel.Information,
        Message = "Volume {Volume}: node {Node} opened session {Session} at {Owner} in epoch {Epoch} ({SizeBytes} B)")]
    public static partial void Opened(ILogger logger, string volume, string node, string session, string owner, ulong epoch,
        ulong sizeBytes);

    [LoggerMessage(EventId = 2002, Level = LogLevel.Warning,
        Message = "Volume {Volume}: node {Node} lost the owner ({Reason}); holds {Pending} I/Os and looks for it again")]
    public static partial void Lost(ILogger logger, string volume, string node, string reason, int pending);

    [LoggerMessage(EventId = 2003, Level = LogLevel.Information,
        Message = "failover: volume {Volume} is reached again by node {Node}: held {HeldMs} ms, replay {ReplayMs} ms; owner {Owner}, epoch {Epoch}, "
            + "{Replayed} I/Os sent again")]
    public static partial void Found(
        ILogger logger, string volume, string node, long heldMs, long replayMs, string owner, ulong epoch, int replayed);

    [LoggerMessage(EventId = 2004, Level = LogLevel.Error,
        Message = "Volume {Volume}: the session {Session} of node {Node} ended with {Status}: {Reason}; {Pending} I/Os fail")]
    public static partial void Ended(ILogger logger, string volume, string node, string session, string status, string reason, int pending);

    [LoggerMessage(EventId = 2005, Level = LogLevel.Error,
        Message = "Volume {Volume}: {Operation} of {LengthBytes} B at byte {OffsetBytes} failed on node {Node} with {Status}")]
    public static partial void Failed(ILogger logger, string volume, string node, string operation, ulong offsetBytes,
        ulong lengthBytes, string status);

    [LoggerMessage(EventId = 2006, Level = LogLevel.Warning,
        Message = "Volume {Volume}: node {Node} read block {Block} and got {Status}; attempt {Attempt}")]
    public static partial void BadBlock(ILogger logger, string volume, string node, ulong block, string status, int attempt);

    [LoggerMessage(EventId = 2007, Level = LogLevel.Information,
        Message = "Volume {Volume}: size seen by node {Node} is now {SizeBytes} B")]
    public static partial void Resized(ILogger logger, string volume, string node, ulong sizeBytes);

    [LoggerMessage(EventId = 2008, Level = LogLevel.Error,
        Message = "Volume {Volume}: node {Node} got a {Kind} that does not decode from {Owner}; looks for the owner again")]
    public static partial void Malformed(ILogger logger, string volume, string node, string kind, string owner);

    [LoggerMessage(EventId = 2009, Level = LogLevel.Warning,
        Message = "Volume {Volume}: every copy lost its power; the session {Session} of node {Node} presents {Writes} writes that it was answered, from above "
            + "sequence {Left} up to {Seen}")]
    public static partial void Presented(ILogger logger, string volume, string node, string session, int writes, ulong left, ulong seen);

    [LoggerMessage(EventId = 2010, Level = LogLevel.Information,
        Message = "Volume {Volume}: node {Node} {What} what it reads (label cache), and asks the owner {Owner} whether it is the same")]
    public static partial void Caches(ILogger logger, string volume, string node, string what, string owner);
}
