using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Owner;
using Cluster.Tests.Unit.Fakes;

namespace Cluster.Tests.Unit.Owner;

/// <summary>C22: what an owner does for a snapshot of several volumes. Each scenario names the line whose removal breaks it.</summary>
[Collection("Cluster simulation")]
public sealed class GroupSnapshotSpecs
{
    private static readonly Guid Attempt = new("00112233-4455-6677-8899-aabbccddeeff");

    private readonly List<PreparedSnapshot> _answers = [];

    private static void OnMedia(OwnerRig rig, ulong sequence)
    {
        for (var index = 0; index < 2; index++) rig.Appended(index, sequence, durable: sequence);
    }

    private void Prepare(OwnerRig rig, Guid? attempt = null, string name = "g") => rig.Machine.PrepareSnapshot(attempt ?? Attempt, name, _answers.Add);

    /// <summary>The marker of the group is on media, at 1.</summary>
    private OwnerRig Prepared()
    {
        var rig = OwnerRig.Serving(2);
        Prepare(rig);
        OnMedia(rig, 1);
        Assert.Equal(new PreparedSnapshot(IoStatus.Ok, "", 1, rig.NowUnixMs), Assert.Single(_answers));
        rig.Snapshots = [1];
        return rig;
    }

    [Fact(DisplayName = "C22: a volume says that it has its marker when that is on media on every copy, and journals nothing yet")]
    public void Prepared_from_media()
    {
        // Guards PumpMarker: DurableEverywhere, and OnPrepared.
        using var rig = OwnerRig.Serving(2);
        Prepare(rig);
        rig.Appended(0, 1, durable: 1);
        rig.Appended(1, 1);
        rig.Tick();
        Assert.Empty(_answers);
        rig.Appended(1, 1, durable: 1);
        Assert.Equal((IoStatus.Ok, 1UL), (Assert.Single(_answers).Status, _answers[0].Sequence));
        rig.Tick();
        Assert.Empty(rig.Proposals);
        Assert.Single(_answers);
    }

    [Fact(DisplayName = "C22: behind a group's marker nothing is sequenced before the group is committed; then writes go on, and the snapshot is journaled")]
    public void Writes_are_held()
    {
        // Guards MustHold and MayGiveHeld: IsHeldForGroup.
        using var rig = Prepared();
        rig.Write(1, 3);
        rig.Write(2, 4);
        rig.Tick();
        Assert.Equal((1UL, 2), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        rig.NowMs += 70;
        Assert.Equal(IoStatus.Ok, rig.Machine.CommitSnapshot(Attempt).Status);
        Assert.Equal((3UL, 0), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        Assert.Equal(IoStatus.Ok, rig.Machine.CommitSnapshot(Attempt).Status);
        var created = (SnapshotCreated)Assert.Single(rig.Proposals);
        Assert.Equal((1UL, "g", _answers[0].UnixMs), (created.Sequence, created.Name, created.UnixMs));
        rig.Journal();
        Assert.Equal([(170L, true)], rig.GroupHolds);
        Assert.Equal(IoStatus.Missing, rig.Machine.CommitSnapshot(Attempt).Status);
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("other").Status);
    }

    [Fact(DisplayName = "C22: a volume whose group nobody commits goes on by itself; the snapshot never was, and a commit comes too late")]
    public void A_hold_ends_by_itself()
    {
        // Guards TickGroup, and CommitSnapshot: UntilMs.
        using var rig = Prepared();
        rig.Write(1, 3);
        const int HoldMs = OwnerRig.HoldMs / 2;
        rig.Tick(HoldMs - 1);
        Assert.Equal(1UL, rig.Machine.Sequence);
        rig.NowMs++;
        Assert.Equal(IoStatus.Missing, rig.Machine.CommitSnapshot(Attempt).Status);
        rig.Machine.OnTick();
        Assert.Empty(rig.Proposals);
        // The write, and a marker that leaves out what was never journaled.
        Assert.Equal((3UL, 0), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        Assert.Equal([((long)HoldMs, false)], rig.GroupHolds);
        rig.Snapshots = [];
        OnMedia(rig, 3);
        Assert.Equal((IoStatus.Ok, IoStatus.Missing), (rig.AnswerTo(1), rig.Machine.CommitSnapshot(Attempt).Status));
        Assert.Equal(IoStatus.Ok, rig.Machine.CreateSnapshot("g").Status);
    }

    [Fact(DisplayName = "C22, R13: a hold that ends before its marker is on media leaves writes held until it is")]
    public void A_hold_ends_before_media()
    {
        // Guards GiveUpGroup: IsOnMedia.
        using var rig = OwnerRig.Serving(2);
        Prepare(rig);
        rig.Write(1, 3);
        rig.Machine.AbortSnapshot(Attempt);
        Assert.Equal(IoStatus.Offline, Assert.Single(_answers).Status);
        rig.Tick();
        Assert.Equal((1UL, 1), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        OnMedia(rig, 1);
        Assert.Equal((2UL, 0), (rig.Machine.Sequence, rig.Machine.HeldWrites));
        Assert.Empty(rig.Proposals);
    }

    [Fact(DisplayName = "C22: an attempt is ended by its own abort only, and not once it is committed")]
    public void Aborts()
    {
        // Guards AbortSnapshot: Attempt, IsReleased.
        using var rig = Prepared();
        rig.Write(1, 3);
        rig.Machine.AbortSnapshot(Guid.Empty);
        Assert.Equal((IoStatus.Missing, 1UL), (rig.Machine.CommitSnapshot(Guid.Empty).Status, rig.Machine.Sequence));
        rig.Machine.CommitSnapshot(Attempt);
        rig.Machine.AbortSnapshot(Attempt);
        Assert.Single(rig.Proposals);
        rig.Journal();
        Assert.Equal("g", Assert.Single(rig.State.Snapshots).Name);

        using var other = Prepared2();
        other.Write(1, 3);
        other.Machine.AbortSnapshot(Attempt);
        Assert.Equal(0, other.Machine.HeldWrites);
        Assert.Empty(other.Proposals);
    }

    private OwnerRig Prepared2()
    {
        _answers.Clear();
        return Prepared();
    }

    [Fact(DisplayName = "C22: while a group is made no other snapshot is, and a name that is taken is refused at once")]
    public void One_at_a_time()
    {
        using var rig = Prepared();
        Assert.Equal(IoStatus.Busy, rig.Machine.CreateSnapshot("other").Status);
        Prepare(rig, Guid.Empty, "other");
        Assert.Equal(IoStatus.Busy, _answers[^1].Status);
        rig.Machine.CommitSnapshot(Attempt);
        rig.Journal();
        Prepare(rig, Guid.Empty);
        Assert.Equal(IoStatus.Conflict, _answers[^1].Status);
        Assert.Equal(1UL, rig.Machine.Sequence);
    }

    [Fact(DisplayName = "C22: an owner that is moved, or ends, gives the group up at once; a move waits only for what is on its way to the journal")]
    public void An_owner_ends()
    {
        // Guards Drain: GiveUpGroup; EndMarker: EndHold.
        using (var rig = OwnerRig.Serving(2))
        {
            Prepare(rig);
            rig.Machine.Drain();
            Assert.Equal(IoStatus.Offline, Assert.Single(_answers).Status);
            OnMedia(rig, 1);
            Assert.True(rig.Machine.IsDrained);
        }
        using (var rig = Prepared2())
        {
            rig.Machine.Drain();
            Assert.True(rig.Machine.IsDrained);
            Assert.Equal(IoStatus.Missing, rig.Machine.CommitSnapshot(Attempt).Status);
        }
        using (var rig = Prepared2())
        {
            rig.Machine.CommitSnapshot(Attempt);
            rig.Machine.Drain();
            Assert.False(rig.Machine.IsDrained);
            rig.Journal();
            Assert.True(rig.Machine.IsDrained);
        }
        _answers.Clear();
        var ended = OwnerRig.Serving(2);
        Prepare(ended);
        ended.Machine.Stop();
        Assert.Equal((IoStatus.Offline, false), (Assert.Single(_answers).Status, Assert.Single(ended.GroupHolds).IsCommitted));
    }

    /// <summary>
    /// One client writes to volumes in turn, each write after the answer to the one before, while the group is made; acks come when they like. What the snapshots hold must be a beginning of that.
    /// </summary>
    [Fact(DisplayName = "C22: no snapshot of a group holds a write that was sent after the answer to one that another snapshot of the group lacks")]
    public void At_one_point()
    {
        var (made, cutWithin, held) = (0, 0, 0);
        for (var seed = 1UL; seed <= 300; seed++)
        {
            using var run = new GroupRun(seed);
            run.Play();
            if (run.Kept is not { } kept) continue;
            made++;
            held += run.Held;
            if (kept.Any(isKept => isKept) && !kept.All(isKept => isKept)) cutWithin++;
            var first = Array.IndexOf(kept, false);
            Assert.True(first < 0 || !kept[first..].Any(isKept => isKept), $"seed {seed}: write {first + 1} is in no snapshot, and one that followed it is: {string.Join(' ', kept)}");
        }
        Assert.True(made > 250 && cutWithin > 150 && held > 100, $"{made} groups were made, {cutWithin} of them cut the writes, and {held} writes were held");
    }

    private sealed class GroupRun(ulong seed) : IDisposable
    {
        private const int Volumes = 3;
        private const ulong Writes = 12;

        private readonly SeededRandom _random = new(seed);
        private readonly OwnerRig[] _rigs = [.. Enumerable.Range(0, Volumes).Select(_ => OwnerRig.Serving(2))];
        private readonly PreparedSnapshot?[] _prepared = new PreparedSnapshot?[Volumes];
        private readonly bool[] _asked = new bool[Volumes];
        private readonly bool[] _committed = new bool[Volumes];
        private readonly List<int> _wroteTo = [];

        /// <summary>Of each write whether its volume's snapshot holds it; null: no group was made.</summary>
        public bool[]? Kept { get; private set; }

        public int Held { get; private set; }

        public void Dispose()
        {
            foreach (var rig in _rigs) rig.Dispose();
        }

        public void Play()
        {
            for (var step = 0; step < 4000 && ((ulong)_wroteTo.Count < Writes || _committed.Contains(false)); step++)
            {
                var volume = _random.Next(Volumes);
                switch (_random.Next(8))
                {
                    case 0 or 1 or 2: Acknowledge(_rigs[volume]); break;
                    case 3 or 4: WriteNext(volume); break;
                    case 5 when _wroteTo.Count > 2: Ask(volume); break;
                    case 6: Commit(volume); break;
                    default: _rigs[volume].Tick(1); break;
                }
            }
            foreach (var rig in _rigs)
            {
                for (var round = 0; round < 4; round++) Acknowledge(rig);
            }
            if (_rigs.All(rig => rig.State.Snapshots.Length == 1)) Kept = [.. _wroteTo.Select((volume, index) => PlaceOf(volume, (ulong)index + 1) < _prepared[volume]!.Value.Sequence)];
        }

        private static void Acknowledge(OwnerRig rig)
        {
            OnMedia(rig, rig.Machine.Sequence);
            while (rig.Proposals.Count > 0) rig.Journal();
        }

        private void WriteNext(int volume)
        {
            if ((ulong)_wroteTo.Count == Writes) return;
            var last = (ulong)_wroteTo.Count;
            if (last > 0 && _rigs[_wroteTo[^1]].AnswerTo(last) != IoStatus.Ok) return;
            _wroteTo.Add(volume);
            _rigs[volume].Write(last + 1, last % 5);
            Held += _rigs[volume].Machine.HeldWrites;
        }

        private void Ask(int volume)
        {
            if (_asked[volume]) return;
            _asked[volume] = true;
            _rigs[volume].Machine.PrepareSnapshot(Attempt, "g", prepared => _prepared[volume] = prepared);
        }

        private void Commit(int volume)
        {
            if (_prepared.Any(prepared => prepared is not { Status: IoStatus.Ok }) || _committed[volume]) return;
            _committed[volume] = true;
            Assert.Equal(IoStatus.Ok, _rigs[volume].Machine.CommitSnapshot(Attempt).Status);
        }

        private ulong PlaceOf(int volume, ulong requestId)
        {
            foreach (var (_, body) in _rigs[volume].Links[0].Of(FrameKind.Append))
            {
                if (RecordHeader.TryDecode(body, out var record) == IoStatus.Ok && record.Kind == RecordKind.Write && record.RequestId == requestId) return record.Sequence;
            }
            return ulong.MaxValue;
        }
    }
}
