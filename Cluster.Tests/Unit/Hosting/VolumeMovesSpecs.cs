using Cluster.Messages.Model;
using Cluster.Node.Hosting.Control;
using Cluster.Node.Journal;
using Cluster.Node.Journal.State;
using Cluster.Node.Placement;

namespace Cluster.Tests.Unit.Hosting;

/// <summary>Moves that nobody asked for, and those of operators, which come first.</summary>
public sealed class VolumeMovesSpecs
{
    private static readonly VolumeId Volume = new(7);
    private static readonly CancellationToken None = CancellationToken.None;
    private readonly KeyLog _log = new();
    private readonly HandTime _time = new();
    private readonly VolumeMoves _moves;

    public VolumeMovesSpecs() => _moves = new VolumeMoves(_log, _time);

    [Fact(DisplayName = "A move by itself is asked for like an operator's, never in place of one, and may be taken back")]
    public async Task Asked()
    {
        Assert.Equal(FollowAnswer.Asked, await _moves.AskAsync(Volume, 0, "a", "b"));
        Assert.Equal("b", (await _moves.ListAsync(None))[Volume]);
        await _moves.WithdrawAsync(Volume, "c");
        Assert.Single(await _moves.ListAsync(None));
        await _moves.WithdrawAsync(Volume, "b");
        Assert.Empty(await _moves.ListAsync(None));
        await _moves.RequestAsync(Volume, "c", None);
        Assert.Equal(FollowAnswer.Taken, await _moves.AskAsync(Volume, 0, "a", "b"));
        Assert.Equal("c", (await _moves.ListAsync(None))[Volume]);
    }

    [Fact(DisplayName = "Where an operator has put an owner it stays, for an hour or until the volume is attached or detached, while it is there")]
    public async Task Pinned()
    {
        await _moves.PinAsync(Volume, "a", 3, None);
        Assert.Equal(FollowAnswer.Pinned, await _moves.AskAsync(Volume, 3, "a", "b"));
        _time.Now += VolumeMoves.PinnedFor - TimeSpan.FromSeconds(1);
        Assert.Equal(FollowAnswer.Pinned, await _moves.AskAsync(Volume, 3, "a", "b"));
        _time.Now += TimeSpan.FromSeconds(1);
        Assert.Equal(FollowAnswer.Asked, await _moves.AskAsync(Volume, 3, "a", "b"));
        await _moves.WithdrawAsync(Volume, "b");
        await _moves.PinAsync(Volume, "a", 3, None);
        Assert.Equal(FollowAnswer.Asked, await _moves.AskAsync(Volume, 4, "a", "b"));
        await _moves.WithdrawAsync(Volume, "b");
        await _moves.PinAsync(Volume, "a", 3, None);
        await _moves.PinAsync(Volume, "c", 3, None);
        Assert.Equal(FollowAnswer.Asked, await _moves.AskAsync(Volume, 3, "a", "b"));
    }

    [Fact(DisplayName = "Where a node with a clock of tomorrow has put an owner it does not stay until tomorrow")]
    public async Task Pinned_by_a_clock_of_tomorrow()
    {
        _time.Now += TimeSpan.FromDays(1);
        await _moves.PinAsync(Volume, "a", 3, None);
        Assert.Equal(FollowAnswer.Pinned, await _moves.AskAsync(Volume, 3, "a", "b"));
        _time.Now -= TimeSpan.FromDays(1);
        Assert.Equal(FollowAnswer.Asked, await _moves.AskAsync(Volume, 3, "a", "b"));
    }

    [Fact(DisplayName = "An operator who comes in between wins: the move by itself is not asked for")]
    public async Task In_between()
    {
        _log.BeforePropose = async () =>
        {
            _log.BeforePropose = null;
            await _moves.PinAsync(Volume, "a", 0, None);
            await _moves.RequestAsync(Volume, "a", None);
        };
        Assert.Equal(FollowAnswer.Taken, await _moves.AskAsync(Volume, 0, "a", "b"));
        Assert.Equal("a", (await _moves.ListAsync(None))[Volume]);
    }

    [Fact(DisplayName = "Of a volume that is gone nothing is kept")]
    public async Task Gone()
    {
        await _moves.PinAsync(Volume, "a", 3, None);
        await _moves.RequestAsync(Volume, "a", None);
        await _moves.ForgetVolumeAsync(Volume);
        Assert.Empty(await _log.ReadKeysAsync("", None));
    }

    [Fact(DisplayName = "A journal that does not answer is an answer")]
    public async Task Unavailable()
    {
        _log.BeforePropose = () => throw new MetaLogUnavailableException("no leader");
        Assert.Equal(FollowAnswer.Unavailable, await _moves.AskAsync(Volume, 0, "a", "b"));
    }

    private sealed class HandTime : TimeProvider
    {
        public DateTimeOffset Now { get; set; } = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

        public override DateTimeOffset GetUtcNow() => Now;
    }

    /// <summary>The journal's keys.</summary>
    private sealed class KeyLog : IMetaLog
    {
        private readonly MetaState _state = new();

        public Func<Task>? BeforePropose { get; set; }

        public MetaLogStatus Status => throw new NotSupportedException();

        public event Action<MetaLogStatus>? LeaderChanged
        {
            add { }
            remove { }
        }

        public async Task<MetaAnswer> ProposeAsync(MetaCommand command, CancellationToken ct)
        {
            if (BeforePropose is { } before) await before();
            return _state.Apply(command);
        }

        public Task<MetaKeyValue?> ReadKeyAsync(string key, CancellationToken ct) => Task.FromResult(_state.Key(key));

        public Task<IReadOnlyList<MetaKeyValue>> ReadKeysAsync(string prefix, CancellationToken ct) => Task.FromResult(_state.Keys(prefix));

        public Task ReadBarrierAsync(CancellationToken ct) => throw new NotSupportedException();

        public IAsyncEnumerable<MetaEvent> ReadEventsAsync(string persistenceId, long from, long to, long max, CancellationToken ct) => throw new NotSupportedException();

        public Task<long> HighestSequenceNrAsync(string persistenceId, CancellationToken ct) => throw new NotSupportedException();

        public Task<MetaSnapshot?> LoadSnapshotAsync(string persistenceId, MetaSnapshotRange range, CancellationToken ct) => throw new NotSupportedException();

        public Task<GroupView> ReadMembersAsync(CancellationToken ct) => throw new NotSupportedException();

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
