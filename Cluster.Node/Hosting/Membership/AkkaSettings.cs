using System.Globalization;
using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;
using Cluster.Node.Hosting.Logging;
using Cluster.Node.Hosting.Options;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Persistence;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Membership;

/// <summary>
/// An actor system as a node runs it: hocon/akka.conf and hocon/journal.conf, under what the operator's file says, under the node's
/// addresses.
/// </summary>
public static class AkkaSettings
{
    public const string SystemName = "myrmidon";

    public static ActorSystemSetup Setup(NodeOptions options, Config operatorFile, IMetaLog log, ILoggerFactory loggers) =>
        ActorSystemSetup.Create(
            BootstrapSetup.Create().WithConfig(Config(options, operatorFile)), new MetaLogSetup(log), new LoggingSetup(loggers));

    public static Config Config(NodeOptions options, Config operatorFile) =>
        Addresses(options).WithFallback(operatorFile).WithFallback(Shipped("akka.conf")).WithFallback(Shipped("journal.conf"))
            .WithFallback(Akka.Cluster.Sharding.ClusterSharding.DefaultConfig())
            .WithFallback(Akka.Cluster.Tools.Singleton.ClusterSingleton.DefaultConfig())
            .WithFallback(Akka.DistributedData.DistributedData.DefaultConfig());

    private static Config Shipped(string file) =>
        ConfigurationFactory.ParseString(File.ReadAllText(Path.Combine(NodeSettings.ShippedDirectory, file)));

    /// <summary>The only HOCON that is made by the program: three values of its own settings.</summary>
    private static Config Addresses(NodeOptions options)
    {
        var port = options.RemotePort.ToString(CultureInfo.InvariantCulture);
        return ConfigurationFactory.ParseString(
            $"akka.remote.dot-netty.tcp {{ hostname = \"{options.Host}\"\n "
            + $"public-hostname = \"{options.AdvertisedHost}\"\n port = {port} }}");
    }
}
