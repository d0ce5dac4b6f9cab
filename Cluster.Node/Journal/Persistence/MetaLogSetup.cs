using Akka.Actor;
using Akka.Actor.Setup;
using Akka.Configuration;

namespace Cluster.Node.Journal.Persistence;

/// <summary>
/// Gives the journal and snapshot plug-ins of an actor system their log: <c>BootstrapSetup.And(new MetaLogSetup(log))</c>.
/// </summary>
public sealed class MetaLogSetup(IMetaLog log) : Setup
{
    public IMetaLog Log { get; } = log;

    internal static IMetaLog Of(ActorSystem system)
    {
        var setup = system.Settings.Setup.Get<MetaLogSetup>();
        return setup.HasValue
            ? setup.Value.Log
            : throw new ConfigurationException("the metadata journal's plug-in needs a MetaLogSetup when the actor system is made");
    }
}

/// <summary>
/// Another writer has this persistence id: the actor that sees it was deposed and must stop, and does, because this is thrown.
/// </summary>
public sealed class JournalFencedException(string message) : Exception(message);

/// <summary>The journal can't take the write: its size limit, or a payload that no event serializer is bound to.</summary>
public sealed class JournalRejectedException(string message) : Exception(message);
