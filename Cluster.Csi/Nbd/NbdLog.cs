using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Nbd;

internal static partial class NbdLog
{
    [LoggerMessage(EventId = 2101, Level = LogLevel.Information, Message = "NBD listens on {EndPoint}")]
    public static partial void Listening(ILogger logger, string endPoint);

    [LoggerMessage(EventId = 2102, Level = LogLevel.Information, Message = "NBD client {Client} uses volume {Volume}")]
    public static partial void Using(ILogger logger, string client, string volume);

    [LoggerMessage(EventId = 2103, Level = LogLevel.Information,
        Message = "NBD client {Client} of volume {Volume} is gone ({Reason}); {Pending} commands were not answered")]
    public static partial void Gone(ILogger logger, string client, string volume, string reason, int pending);

    [LoggerMessage(EventId = 2104, Level = LogLevel.Warning, Message = "NBD client {Client} broke the protocol: {Reason}; disconnected")]
    public static partial void Broken(ILogger logger, string client, string reason);

    [LoggerMessage(EventId = 2105, Level = LogLevel.Warning, Message = "NBD client {Client} can't use export '{Export}': {Reason}")]
    public static partial void Refused(ILogger logger, string client, string export, string reason);

    [LoggerMessage(EventId = 2106, Level = LogLevel.Warning, Message = "NBD refused a client: {ConnectionsMax} are connected already")]
    public static partial void Full(ILogger logger, int connectionsMax);
}
