namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// One seed of a store whose writer uses only what it was promised, beside idle volumes that keep their promises: filled to the last byte, trimmed, overwritten, and cut off at any call. Throws where
/// the writer does not get on though there is something to be freed, or a block is not what was written.
/// </summary>
internal static class PromisedFullRun
{
    private const int Rounds = 4;

    /// <summary>Before a store counts as full.</summary>
    private const int FullWaits = 40;

    private static readonly int[] IdleVolumes = [0, 1, 1, 7, 30, 60];
    private static readonly int[] BlocksOfRecord = [1, 8, 64, 64];
    private static readonly int[] CleanBelowPercent = [1, 20, 34];

    /// <summary>How many segments were kept apart, how often a life was cut off, and how often the store was full.</summary>
    public static (long ColdSegments, int Cuts, int Fills) Run(int seed)
    {
        var random = new Random(-seed);
        var run = new Seed(seed, random, new PromisedLife(IdleVolumes[random.Next(IdleVolumes.Length)], BlocksOfRecord[random.Next(BlocksOfRecord.Length)], seed, random.Next(16, 29),
            CleanBelowPercent[random.Next(CleanBelowPercent.Length)]));
        try
        {
            for (var round = 0; round < Rounds; round++)
            {
                run.Fill();
                run.TrimSome();
                run.Overwrite();
            }
            run.Cut();
        }
        catch (Exception error)
        {
            throw new InvalidOperationException($"seed {seed}: {error.Message}", error);
        }
        return (run.Life.ColdSegments, run.Cuts, run.Fills);
    }

    private sealed class Seed(int seed, Random random, PromisedLife life)
    {
        private readonly List<int> _written = [];
        private readonly List<int> _trimmed = [];
        private int _next;

        public PromisedLife Life => life;

        public int Cuts { get; private set; }

        public int Fills { get; private set; }

        public void Fill()
        {
            MayLosePower();
            // There is room for one, whatever came before.
            if (_written.Count < life.ExtentsWithRoom)
            {
                _written.Add(_next);
                WriteOne(_next++);
            }
            while (life.TryWrite(_next, FullWaits))
            {
                _written.Add(_next++);
                if (life.IsOff) Cut();
            }
            Fills++;
        }

        /// <summary>Here and there, so that nothing is free before the cleaner has moved the rest, and as many as it takes for the writer to get on.</summary>
        public void TrimSome()
        {
            MayLosePower();
            var oneIn = random.Next(2, 5);
            foreach (var extent in _written.ToArray())
            {
                if (random.Next(oneIn) == 0) TrimOne(extent);
            }
            TrimToRoom();
        }

        public void Overwrite()
        {
            MayLosePower();
            for (var left = random.Next(_written.Count * 2); left > 0; left--) WriteOne(_written[random.Next(_written.Count)]);
        }

        /// <summary>What was lost of the trims is trimmed again: the store may be fuller than it was.</summary>
        public void Cut()
        {
            Cuts++;
            life.LosePower((PowerLoss)random.Next(3));
            foreach (var extent in _trimmed) life.Trim(extent);
            life.Rig.Sync(life.Rig.Find());
            _trimmed.Clear();
            Assert.True(life.Rig.Store.FailureReason is null, $"seed {seed}: {life.Rig.Store.FailureReason}");
        }

        private void TrimToRoom()
        {
            while (_written.Count > life.ExtentsWithRoom) TrimOne(_written[random.Next(_written.Count)]);
        }

        private void TrimOne(int extent)
        {
            life.Trim(extent);
            _written.Remove(extent);
            _trimmed.Add(extent);
            if (life.IsOff) Cut();
        }

        private void WriteOne(int extent)
        {
            life.Write(extent);
            if (!life.IsOff) return;
            Cut();
            // Others may have more promises than before.
            TrimToRoom();
        }

        private void MayLosePower()
        {
            if (random.Next(2) == 0) life.Rig.Disk.PowerOffAt = life.Rig.Disk.Operations + random.Next(1, 3000);
        }
    }
}
