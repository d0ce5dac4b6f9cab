using Akka.Actor;
using Akka.Persistence;

namespace Cluster.Tests.Integration.Journal;

/// <summary>Persists what it is told and answers with its sequence number; a list of texts is one atomic write.</summary>
internal sealed class WriterActor : ReceivePersistentActor
{
    private readonly List<string> _texts = [];

    public WriterActor(string id, SnapshotSelectionCriteria? from = null)
    {
        PersistenceId = id;
        _from = from;
        Recover<SnapshotOffer>(o => _texts.Add("snapshot:" + ((TextEvent)o.Snapshot).Text));
        Recover<TextEvent>(e => _texts.Add(e.Text));
        Command<string>(text => Persist(new TextEvent(text), _ => Sender.Tell(LastSequenceNr)));
        Command<string[]>(texts =>
        {
            var left = texts.Length;
            PersistAll(texts.Select(t => new TextEvent(t)), _ => { if (--left == 0) Sender.Tell(LastSequenceNr); });
        });
        Command<GetTexts>(_ => Sender.Tell(_texts.ToArray()));
        Command<Unserializable>(u => Persist(u, _ => Sender.Tell("written")));
        Command<Forget>(f => DeleteMessages(f.To));
        Command<DeleteMessagesSuccess>(_ => { });
        Command<Snap>(s =>
        {
            _asked = Sender;
            SaveSnapshot(new TextEvent(s.Text));
        });
        Command<SaveSnapshotSuccess>(s => _asked.Tell(s.Metadata.SequenceNr));
    }

    private readonly SnapshotSelectionCriteria? _from;
    private IActorRef _asked = ActorRefs.Nobody;

    public override string PersistenceId { get; }

    public override Recovery Recovery => _from is null ? Recovery.Default : new Recovery(_from);

    internal sealed record GetTexts;

    internal sealed record Unserializable(object What);

    internal sealed record Forget(long To);

    internal sealed record Snap(string Text);
}
