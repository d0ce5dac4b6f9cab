using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Csi;

/// <summary>One line per call. Of a request only ids are logged, and the one field that is wrong: secrets never are, nor contexts and mount options.</summary>
internal static partial class CsiLog
{
    [LoggerMessage(EventId = 2301, Level = LogLevel.Information, Message = "CSI listens on {Path}")]
    public static partial void Listening(ILogger logger, string path);

    [LoggerMessage(EventId = 2302, Level = LogLevel.Information, Message = "CSI {Method} volume {Volume} node {Node}: done in {Ms} ms")]
    public static partial void Done(ILogger logger, string method, string volume, string node, long ms);

    [LoggerMessage(EventId = 2303, Level = LogLevel.Debug, Message = "CSI {Method}: done in {Ms} ms")]
    public static partial void Looked(ILogger logger, string method, long ms);

    [LoggerMessage(EventId = 2304, Level = LogLevel.Warning, Message = "CSI {Method} volume {Volume} node {Node}: {Code} after {Ms} ms: {Reason}")]
    public static partial void Failed(ILogger logger, string method, string volume, string node, StatusCode code, long ms, string reason);

    [LoggerMessage(EventId = 2305, Level = LogLevel.Error, Message = "CSI {Method} volume {Volume} node {Node} broke after {Ms} ms")]
    public static partial void Broken(ILogger logger, Exception e, string method, string volume, string node, long ms);

    [LoggerMessage(EventId = 2306, Level = LogLevel.Information, Message = "CSI replaces {Path}, which no process serves")]
    public static partial void Stale(ILogger logger, string path);

    [LoggerMessage(EventId = 2307, Level = LogLevel.Information, Message = "CSI {Method} volume {Volume}: noted, now that the catalogue answers")]
    public static partial void NotedLate(ILogger logger, string method, string volume);

    [LoggerMessage(EventId = 2308, Level = LogLevel.Warning,
        Message = "CSI {Method} volume {Volume}: done, and the catalogue that hung has no note of how ({Code}: {Reason}); the same call made again notes it")]
    public static partial void NotNoted(ILogger logger, string method, string volume, StatusCode code, string reason);

    [LoggerMessage(EventId = 2309, Level = LogLevel.Error, Message = "CSI {Method} volume {Volume}: noting it broke")]
    public static partial void NoteBroken(ILogger logger, Exception e, string method, string volume);
}
