using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Hosting.Serialization;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Raft;
using Cluster.Node.Owner;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>Who reads a volume's stream without being its actor: events before an image may be gone.</summary>
public sealed class JournalFoldsSpecs
{
    private static readonly VolumeId Volume = new(7);
    private readonly StreamLog _log = new();

    [Fact(DisplayName = "A reader that knows nothing, and one that knew what came before, both find the state through an image when the events behind it were let go")]
    public async Task Through_an_image()
    {
        var old = new JournalFolds(_log);
        Add(10);
        Assert.Equal(10UL, (await old.ReadAsync(Volume, default)).Version);
        Add(20);
        _log.Keep(20, 15);
        Assert.Equal(30UL, (await old.ReadAsync(Volume, default)).Version);
        Assert.Equal(30UL, (await new JournalFolds(_log).ReadAsync(Volume, default)).Version);
        Assert.Equal(30UL, old.LastOf(Volume)!.Version);
        Add(1);
        Assert.Equal(31UL, (await old.ReadAsync(Volume, default)).Version);
    }

    [Fact(DisplayName = "An image that is overtaken while it is read leads to the newer one")]
    public async Task Overtaken()
    {
        Add(30);
        _log.Keep(20, 15);
        _log.OnImageRead = () =>
        {
            Add(30);
            _log.Keep(50, 45);
        };
        Assert.Equal(60UL, (await new JournalFolds(_log).ReadAsync(Volume, default)).Version);
    }

    [Fact(DisplayName = "A stream that lacks events which no image has is a fault, and never read as if they had not been")]
    public async Task Lost_events()
    {
        Add(30);
        _log.Keep(10, 15);
        await Assert.ThrowsAsync<InvariantException>(() => new JournalFolds(_log).ReadAsync(Volume, default));
    }

    [Fact(DisplayName = "The node that a volume is attached to comes first where its owner is to be, unless the label locality is off")]
    public async Task Attached()
    {
        var (node, other) = (new NodeId(new Guid(1, 0, 0, new byte[8])), new NodeId(new Guid(2, 0, 0, new byte[8])));
        ReplicaPlacement[] copies = [new(new ReplicaId(1), other, "a", other.Value), new(new ReplicaId(2), node, "b", node.Value)];
        var labels = ImmutableSortedDictionary<string, string>.Empty;
        var spec = new VolumeSpec(Volume, VolumeSpec.DefaultNamespace, "pg", 1 << 20, 2, FailureModeKind.Soft, 1, 1000, false, labels);
        var view = new JournalPlacementView(_log, new VolumeMoves(_log), NullLogger<JournalPlacementView>.Instance);
        _log.Add(new VolumeCreated(Volume, spec, [.. copies]));
        _log.Add(new AttachmentChanged(Volume, new Attachment(1, AttachmentMode.Exclusive, node, "b")));
        Assert.Equal("b", (await view.LookAsync(Volume)).Attached);
        _log.Add(new SpecChanged(Volume, spec with { Labels = labels.Add(VolumeSpec.LocalityLabel, VolumeSpec.LocalityOff) }, 1));
        Assert.Equal("", (await view.LookAsync(Volume)).Attached);
    }

    [Fact(DisplayName = "A clone with more copies than its origin is to be owned where the origin's are, and moved there, until it was served: a copy elsewhere has nothing to serve from")]
    public async Task Clone()
    {
        VolumeId clone = new(8);
        ImmutableArray<ReplicaPlacement> copies = [.. "abc".Select((name, at) => Copy((ushort)(at + 1), name.ToString()))];
        var spec = new VolumeSpec(Volume, VolumeSpec.DefaultNamespace, "pg", 1 << 20, 2, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);
        var view = new JournalPlacementView(_log, new VolumeMoves(_log), NullLogger<JournalPlacementView>.Instance);
        _log.Clone = (VolumeActor.PersistenceIdOf(clone), new StreamLog());
        _log.Clone.Log.Add(new VolumeCreated(clone, spec with { Id = clone, Name = "pg2", Replicas = 3, Source = new VolumeSource(Volume, 5, "pg", "s") }, copies));
        // Nothing is known of the origin: any copy may have begun.
        Assert.Equal("a, b, c", string.Join(", ", (await view.LookAsync(clone)).Replicas));

        _log.Add(new VolumeCreated(Volume, spec, copies[1..]));
        _log.Add(new EpochStarted(Volume, new Epoch(1), copies[1].Node, "b"));
        _log.Add(new EpochOpened(Volume, new Epoch(1), 1, 1, [.. copies[1..].Select(copy => new InSyncMember(copy.Id, Guid.Empty, 1))]));
        Assert.Equal("b, c", string.Join(", ", (await view.LookAsync(clone)).Replicas));
        Assert.Equal("b, c", string.Join(", ", view.Last(clone).Replicas));
        Assert.Contains(OwnerChoice.Better(clone, view.Last(clone), null, null, "a", ["a", "b", "c"]), (string[])["b", "c"]);
        Assert.Null(OwnerChoice.Better(clone, view.Last(clone), null, null, "b", ["a", "b", "c"]));

        _log.Clone.Log.Add(new EpochStarted(clone, new Epoch(1), copies[1].Node, "b"));
        _log.Clone.Log.Add(new EpochOpened(clone, new Epoch(1), 1, 1, [new InSyncMember(copies[1].Id, Guid.Empty, 1)]));
        Assert.Equal("a, b, c", string.Join(", ", (await view.LookAsync(clone)).Replicas));
        Assert.Equal("a, b, c", string.Join(", ", view.Last(clone).Replicas));
    }

    private static ReplicaPlacement Copy(ushort number, string node)
    {
        var id = new Guid(number, 0, 0, new byte[8]);
        return new ReplicaPlacement(new ReplicaId(number), new NodeId(id), node, id);
    }

    [Fact(DisplayName = "Copies on two nodes of one name, the one made anew after the other was lost: an early claim has facts, with the node whose copy is in sync")]
    public async Task Two_nodes_of_a_name()
    {
        var (lost, anew, other) = (new NodeId(new Guid(1, 0, 0, new byte[8])), new NodeId(new Guid(2, 0, 0, new byte[8])), new NodeId(new Guid(3, 0, 0, new byte[8])));
        ReplicaPlacement[] copies = [new(new ReplicaId(1), lost, "a", lost.Value), new(new ReplicaId(2), other, "b", other.Value), new(new ReplicaId(3), anew, "a", anew.Value)];
        var spec = new VolumeSpec(Volume, VolumeSpec.DefaultNamespace, "pg", 1 << 20, 3, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);
        var view = new JournalPlacementView(_log, new VolumeMoves(_log), NullLogger<JournalPlacementView>.Instance);
        _log.Add(new VolumeCreated(Volume, spec, [.. copies]));
        _log.Add(new EpochStarted(Volume, new Epoch(1), other, "b"));
        _log.Add(new EpochOpened(Volume, new Epoch(1), 1, 1, [.. copies[1..].Select(copy => new InSyncMember(copy.Id, Guid.Empty, 1))]));
        Assert.Equal([anew, other], (await view.FactsAsync(Volume))!.InSync.OrderBy(node => node));
    }

    [Fact(DisplayName = "A volume that is deleted is found deleted by who knew it before and by who knows nothing, with one event left of it and, as earlier versions left it, with none")]
    public async Task Deleted()
    {
        foreach (var kept in new[] { 1, 0 })
        {
            var log = new StreamLog();
            var old = new JournalFolds(log);
            log.Add(new InSyncChanged(Volume, new Epoch(1), 1, [], "added"));
            Assert.False((await old.ReadAsync(Volume, default)).Deleted);
            for (ulong version = 2; version <= 5; version++) log.Add(new InSyncChanged(Volume, new Epoch(1), version, [], "added"));
            log.Add(new VolumeDeleted(Volume));
            log.Keep(6, 6 - kept);
            Assert.True((await old.ReadAsync(Volume, default)).Deleted);
            Assert.True((await old.ReadAsync(Volume, default)).Deleted);
            Assert.True((await new JournalFolds(log).ReadAsync(Volume, default)).Deleted);
        }
    }

    [Fact(DisplayName = "Volumes that nobody asks for any more, such as deleted ones, are forgotten once there are many others, and found again by who asks; one that is asked for is kept")]
    public async Task Bounded()
    {
        var folds = new JournalFolds(_log, keptMax: 16);
        Add(1);
        var used = new VolumeId(1000);
        await folds.ReadAsync(used, default);
        for (ulong id = 1; id <= 100; id++)
        {
            await folds.ReadAsync(new VolumeId(id), default);
            Assert.NotNull(folds.LastOf(new VolumeId(id)));
            Assert.NotNull(folds.LastOf(used));
            Assert.InRange(folds.KeptCount, 2, 16);
        }
        Assert.Null(folds.LastOf(new VolumeId(1)));
        Assert.Equal(1UL, (await folds.ReadAsync(new VolumeId(1), default)).Version);
        Assert.NotNull(folds.LastOf(used));
    }

    [Fact(DisplayName = "What is journaled just after nothing new was found is read, and is no gap")]
    public async Task Journaled_meanwhile()
    {
        _log.OnHighestRead = () => Add(3);
        Assert.Equal(3UL, (await new JournalFolds(_log).ReadAsync(Volume, default)).Version);
    }

    [Fact(DisplayName = "A round in which nothing was journaled reads no stream again; what is journaled is found in the next one, also when it could not be read at first")]
    public async Task Rounds()
    {
        var view = new JournalPlacementView(_log, new VolumeMoves(_log), NullLogger<JournalPlacementView>.Instance);
        var copies = ImmutableArray.Create(new ReplicaPlacement(new ReplicaId(1), new NodeId(new Guid(1, 0, 0, new byte[8])), "a", Guid.Empty));
        var spec = new VolumeSpec(Volume, VolumeSpec.DefaultNamespace, "pg", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);
        _log.Add(new VolumeCreated(Volume, spec, copies));
        await RoundAsync(view);
        Assert.Equal("a", Assert.Single(view.Last(Volume).Replicas));
        var read = _log.Reads;
        await RoundAsync(view);
        Assert.Equal(read, _log.Reads);

        _log.Add(new EpochStarted(Volume, new Epoch(1), copies[0].Node, "a"));
        _log.IsSilent = true;
        await view.LookAsync(Volume, _log.Last);
        await view.MovesAsync(_log.Last);
        Assert.Equal(0UL, view.Last(Volume).Epoch);
        Assert.Null(await view.NowAsync());
        _log.IsSilent = false;
        await RoundAsync(view);
        Assert.Equal(1UL, view.Last(Volume).Epoch);
        Assert.Equal(2, _log.KeyReads);
        await view.LookAsync(Volume);
        Assert.True(_log.Reads > read);
        Assert.Equal(1, view.KnownCount);
    }

    [Fact(DisplayName = "A volume that is deleted, and so in no round any more, is forgotten once the journal has gone on")]
    public async Task Deleted_is_forgotten()
    {
        var view = new JournalPlacementView(_log, new VolumeMoves(_log), NullLogger<JournalPlacementView>.Instance);
        var copies = ImmutableArray.Create(new ReplicaPlacement(new ReplicaId(1), new NodeId(new Guid(1, 0, 0, new byte[8])), "a", Guid.Empty));
        _log.Add(new VolumeCreated(Volume, new VolumeSpec(Volume, VolumeSpec.DefaultNamespace, "pg", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty), copies));
        for (var round = 1; round <= 3; round++)
        {
            // Each round has another volume, and the one before is gone.
            await view.LookAsync(new VolumeId((ulong)(100 + round)), _log.Last);
            Assert.Equal(1, view.KnownCount);
            Add(1);
        }
    }

    [Fact(DisplayName = "A volume whose journal has an event that this program does not know is to be owned where placement put it; neither its shard's allocation nor a round of all volumes fails over it, and it is not claimed early")]
    public async Task Unknown_event()
    {
        var view = new JournalPlacementView(_log, new VolumeMoves(_log), NullLogger<JournalPlacementView>.Instance);
        _log.AddUnknown();
        _log.Clone = (PlacementActor.StreamId, new StreamLog());
        Assert.Equal(VolumeWhereabouts.Unknown, await view.LookAsync(Volume));
        await view.LookAsync(Volume, _log.Last);
        Assert.Null(await view.FactsAsync(Volume));
        _log.Clone.Log.Add(new VolumePlaced(Spec with { Id = new VolumeId(1) }, [Copy(1, "b")]));
        Assert.Equal("b", Assert.Single((await view.LookAsync(new VolumeId(1))).Replicas));
    }

    private static readonly VolumeSpec Spec = new(Volume, VolumeSpec.DefaultNamespace, "pg", 1 << 20, 1, FailureModeKind.Soft, 1, 1000, false, ImmutableSortedDictionary<string, string>.Empty);

    private static async Task RoundAsync(JournalPlacementView view)
    {
        var now = await view.NowAsync();
        await view.MovesAsync(now);
        await view.LookAsync(Volume, now);
    }

    private void Add(int count)
    {
        for (var index = 0; index < count; index++) _log.Add(new InSyncChanged(Volume, new Epoch(1), (ulong)_log.Last + 1, [], "added"));
    }

    /// <summary>One stream.</summary>
    private sealed class StreamLog : IMetaLog
    {
        private readonly List<MetaEvent> _events = [];
        private readonly List<VolumeEvent> _all = [];
        private MetaSnapshot? _image;

        /// <summary>A second stream, by its name.</summary>
        public (string Id, StreamLog Log) Clone { get; set; }

        public Action? OnImageRead { get; set; }

        public Action? OnHighestRead { get; set; }

        public long Last { get; private set; }

        /// <summary>No quorum answers.</summary>
        public bool IsSilent { get; set; }

        public int Reads { get; private set; }

        public int KeyReads { get; private set; }

        public MetaLogStatus Status => throw new NotSupportedException();

        public event Action<MetaLogStatus>? LeaderChanged
        {
            add => throw new NotSupportedException();
            remove => throw new NotSupportedException();
        }

        public void Add(VolumeEvent e)
        {
            _all.Add(e);
            Add(PayloadOf(e));
        }

        public void Add(PlacementEvent e) => Add(PayloadOf(e));

        /// <summary>Of a later version.</summary>
        public void AddUnknown() => Add(new MetaPayload(SerializerIds.Event, "volume-folded/1", []));

        private void Add(MetaPayload payload) => _events.Add(new MetaEvent(++Last, "w", 0, payload));

        /// <summary>Makes an image of the first events, and lets some go.</summary>
        public void Keep(int imaged, int letGo)
        {
            var state = _all.Take(imaged).Aggregate(VolumeState.Empty, (folded, e) => folded.Apply(e));
            _image = new MetaSnapshot(imaged, 0, PayloadOf(state.ImageOf(Volume)));
            _events.RemoveAll(e => e.SequenceNr <= letGo);
        }

        public async IAsyncEnumerable<MetaEvent> ReadEventsAsync(string persistenceId, long from, long to, long max, [EnumeratorCancellation] CancellationToken ct)
        {
            await Task.Yield();
            if (IsSilent) throw new MetaLogUnavailableException("no leader");
            Reads++;
            var events = Clone.Id == persistenceId ? Clone.Log._events : _events;
            foreach (var e in events.Where(e => e.SequenceNr >= from && e.SequenceNr <= to).ToArray()) yield return e;
        }

        public Task<MetaSnapshot?> LoadSnapshotAsync(string persistenceId, MetaSnapshotRange range, CancellationToken ct)
        {
            var found = _image;
            var onRead = OnImageRead;
            OnImageRead = null;
            onRead?.Invoke();
            return Task.FromResult(found);
        }

        public Task<MetaAnswer> ProposeAsync(MetaCommand command, CancellationToken ct) => throw new NotSupportedException();

        public Task ReadBarrierAsync(CancellationToken ct) => throw new NotSupportedException();

        public Task<long> HighestSequenceNrAsync(string persistenceId, CancellationToken ct)
        {
            var onRead = OnHighestRead;
            OnHighestRead = null;
            onRead?.Invoke();
            return Task.FromResult(Clone.Id == persistenceId ? Clone.Log.Last : Last);
        }

        public Task<MetaKeyValue?> ReadKeyAsync(string key, CancellationToken ct) => throw new NotSupportedException();

        public Task<IReadOnlyList<MetaKeyValue>> ReadKeysAsync(string prefix, CancellationToken ct)
        {
            if (IsSilent) throw new MetaLogUnavailableException("no leader");
            KeyReads++;
            return Task.FromResult<IReadOnlyList<MetaKeyValue>>([]);
        }

        public Task<GroupView> ReadMembersAsync(CancellationToken ct) => IsSilent
            ? throw new MetaLogUnavailableException("no leader")
            : Task.FromResult(new GroupView(RaftMembers.Formed([]), 0, Last, []));

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;

        private static MetaPayload PayloadOf(object e) => new(SerializerIds.Event, EventCodec.ManifestOf(e), EventCodec.Encode(e));
    }
}
