using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Attach;

internal static partial class AttachLog
{
    [LoggerMessage(Level = LogLevel.Information, Message = "volume {Volume} ({Identity}) is attached as {Device}")]
    public static partial void Attached(ILogger logger, string volume, string identity, string device);

    [LoggerMessage(Level = LogLevel.Information, Message = "volume {Volume} ({Identity}) is detached")]
    public static partial void Detached(ILogger logger, string volume, string identity);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Device} of volume {Volume} ({Identity}) has {SizeBytes} B now")]
    public static partial void Resized(ILogger logger, string device, string volume, string identity, ulong sizeBytes);

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume} ({Identity}) has something left of a dead attachment, which is not taken away: {Reason}")]
    public static partial void NotCleaned(ILogger logger, string volume, string identity, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "{Device} of volume {Volume} ({Identity}) has a connection to this node again")]
    public static partial void Reconnected(ILogger logger, string device, string volume, string identity);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Device} of volume {Volume} ({Identity}) has no connection to this node, its I/O waits, and a new one is tried again: {Reason}")]
    public static partial void NotReconnected(ILogger logger, string device, string volume, string identity, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Device} of volume {Volume} ({Identity}) is cut off, which can't be noted: {Reason}")]
    public static partial void NotMarked(ILogger logger, string device, string volume, string identity, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Device} of volume {Volume} ({Identity}) had data that could not be written any more (error {Error}); it is detached all the same")]
    public static partial void DetachedUnwritten(ILogger logger, string device, string volume, string identity, string error);

    [LoggerMessage(Level = LogLevel.Warning, Message = "devices could not be looked after now, which is tried again: {Reason}")]
    public static partial void NotWatched(ILogger logger, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Device} of volume {Volume} ({Identity}) is cut off, its I/O fails: {Reason}")]
    public static partial void CutOff(ILogger logger, string device, string volume, string identity, string reason);
}
