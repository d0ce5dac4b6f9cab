using System.Buffers.Binary;
using System.Globalization;
using Cluster.Csi.Client;
using Cluster.Messages.Model;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Unit.Client;

/// <summary>
/// One session against an owner that dies at any point: frames and answers are lost, duplicated and late, un-committed records vanish
/// or survive. Each
/// sector has at most one I/O in flight, so that what it must hold is known.
/// </summary>
public class SessionFailoverSpecs
{
    private const int SeedsOfARun = 150;

    public static TheoryData<ulong> Seeds
    {
        get
        {
            var data = new TheoryData<ulong>();
            var replay = Environment.GetEnvironmentVariable("CHAOS_SEED");
            if (replay is not null) data.Add(ulong.Parse(replay, CultureInfo.InvariantCulture));
            else for (var seed = 1; seed <= SeedsOfARun; seed++) data.Add((ulong)seed);
            return data;
        }
    }

    [Theory(DisplayName = "Every acknowledged write is applied exactly once and read back, wherever the owner dies")]
    [MemberData(nameof(Seeds))]
    public void Exactly_once(ulong seed) => new Run(seed).Go();

    [Fact(DisplayName = "The runs meet what they are about, and repeat exactly")]
    public void Not_vacuous()
    {
        var runs = Enumerable.Range(1, 20).Select(seed => new Run((ulong)seed)).ToList();
        foreach (var run in runs) run.Go();
        var (kills, replays, conflicts, completed) =
            (runs.Sum(run => run.Kills), runs.Sum(run => run.Replays), runs.Sum(run => run.Conflicts), runs.Sum(run => run.Completed));
        Assert.True(kills > 50 && replays > 20 && conflicts > 0 && completed > 2000,
            $"{kills} kills, {replays} replays, {conflicts} conflicts, {completed} I/Os");
        var again = new Run(1);
        again.Go();
        Assert.Equal(runs[0].Digest, again.Digest);
    }

    private sealed class Run
    {
        private const int Sectors = 32 * 8;

        /// <summary>
        /// Below, writes are of whole blocks, each with a stamp that must be committed at most once; above, of any sectors.
        /// </summary>
        private const int WholeSectors = 16 * 8;
        private const int Steps = 3000;
        private readonly ulong _seed;
        private readonly SeededRandom _random;
        private readonly FakeLoop _loop = new();
        private readonly FakeGateway _gateway;
        private readonly VolumeSession _session;
        private readonly ulong[] _expected = new ulong[Sectors];
        private readonly bool[] _taken = new bool[Sectors];
        private ulong _lastStamp;

        public Run(ulong seed)
        {
            _seed = seed;
            _random = new SeededRandom(seed);
            _gateway = new FakeGateway(_loop, Sectors * 512UL);
            var open = new VolumeSessions(_gateway, NullLoggerFactory.Instance).OpenAsync("vol");
            _loop.RunUntil(() =>
            {
                _gateway.Owner.Settle();
                return open.IsCompleted;
            });
            _session = open.Result.Session!;
        }

        public int Kills { get; private set; }

        public int Completed { get; private set; }

        public ulong Digest { get; private set; }

        public int Replays => _gateway.Owner.Replays;

        public int Conflicts => _gateway.Owner.Conflicts;

        public void Go()
        {
            for (var step = 0; step < Steps; step++) Step();
            (_gateway.Absent, _gateway.Owner.Refusal, _gateway.Owner.OpenStatus) = (null, null, IoStatus.Ok);
            for (var round = 0; round < 1000 && _session.Pending > 0; round++)
            {
                _gateway.Owner.Settle();
                _loop.Advance(5);
            }
            Assert.True(_session.Pending == 0, $"stuck; replay with CHAOS_SEED={_seed}");
            for (var sector = 0; sector < Sectors; sector++)
                CheckSector(sector, _gateway.Owner.Content((ulong)sector / 8).AsSpan(sector % 8 * 512, 512));
            Assert.All(_gateway.Owner.CommitsOfStamp, pair =>
                Assert.True(pair.Value == 1 || IsOfParts(pair.Key), $"applied {pair.Value} times; CHAOS_SEED={_seed}"));
        }

        private static bool IsOfParts(ulong stamp) => (stamp & 1) == 1;

        private void Step()
        {
            var owner = _gateway.Owner;
            switch (_random.Next(100))
            {
                case < 25:
                    Submit();
                    break;
                case < 50:
                    owner.Link?.StepIn();
                    break;
                case < 70:
                    owner.CommitNext();
                    break;
                case < 95:
                    owner.Link?.StepOut();
                    break;
                default:
                    Disturb(owner);
                    break;
            }
            _loop.Run();
        }

        private void Disturb(FakeOwner owner)
        {
            switch (_random.Next(10))
            {
                case 0:
                    Kills++;
                    owner.Kill(_random.Next(owner.PendingCount + 1));
                    break;
                case 1:
                    owner.Link?.Duplicate();
                    break;
                case 2:
                    _gateway.Absent = _gateway.Absent is null ? IoStatus.Offline : null;
                    break;
                case 3:
                    owner.Refusal = owner.Refusal is null ? (_random.PerMille(500) ? IoStatus.Busy : IoStatus.NotOwner) : null;
                    break;
                case 4:
                    owner.OpenStatus = owner.OpenStatus == IoStatus.Ok ? IoStatus.Offline : IoStatus.Ok;
                    break;
                default:
                    owner.Refusal = null;
                    owner.OpenStatus = IoStatus.Ok;
                    _loop.Advance(_random.Next(20));
                    break;
            }
        }

        private void Submit()
        {
            var (from, count) = Choose();
            if (count == 0) return;
            for (var sector = from; sector < from + count; sector++)
            {
                if (_taken[sector]) return;
            }
            var operation = _random.Next(10) switch
            {
                < 5 => BlockOperation.Write,
                < 8 => BlockOperation.Read,
                8 => BlockOperation.WriteZeroes,
                _ => BlockOperation.Trim,
            };
            var request = ProbeRequest.Of(operation, (ulong)from * 512, (ulong)count * 512, forced: _random.PerMille(100));
            var stamps = new ulong[count];
            if (operation == BlockOperation.Write) Fill(request, from, stamps);
            _taken.AsSpan(from, count).Fill(true);
            request.Then = done => OnDone(done, from, stamps);
            _session.Submit(request);
        }

        private (int From, int Count) Choose()
        {
            if (_random.PerMille(400))
            {
                var block = _random.Next(WholeSectors / 8);
                return (block * 8, Math.Min(1 + _random.Next(4), (WholeSectors / 8) - block) * 8);
            }
            var from = WholeSectors + _random.Next(Sectors - WholeSectors);
            return (from, Math.Min(1 + _random.Next(20), Sectors - from));
        }

        private void Fill(ProbeRequest request, int from, ulong[] stamps)
        {
            for (var index = 0; index < stamps.Length; index++)
            {
                stamps[index] = (++_lastStamp << 1) | (from >= WholeSectors ? 1UL : 0);
                var sector = request.Data.Span.Slice(index * 512, 512);
                for (var at = 0; at < 512; at += 8) BinaryPrimitives.WriteUInt64LittleEndian(sector[at..], stamps[index]);
            }
        }

        private void OnDone(ProbeRequest request, int from, ulong[] stamps)
        {
            Assert.True(request.Status == IoStatus.Ok, $"{request.Operation} ended with {request.Status}; CHAOS_SEED={_seed}");
            Completed++;
            for (var index = 0; index < stamps.Length; index++)
            {
                _taken[from + index] = false;
                if (request.Operation == BlockOperation.Read) CheckSector(from + index, request.Data.Span.Slice(index * 512, 512));
                else _expected[from + index] = stamps[index];
            }
            Digest = (Digest * 31) + ((ulong)from * 7) + (ulong)request.Operation;
        }

        private void CheckSector(int sector, ReadOnlySpan<byte> content)
        {
            if (_taken[sector] && _session.Pending == 0) Assert.Fail("a sector is taken and nothing is pending");
            for (var at = 0; at < 512; at += 8)
            {
                var found = BinaryPrimitives.ReadUInt64LittleEndian(content[at..]);
                Assert.True(found == _expected[sector],
                    $"sector {sector} holds {found}, acknowledged was {_expected[sector]}; CHAOS_SEED={_seed}");
            }
        }
    }
}
