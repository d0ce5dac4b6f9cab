using System.Globalization;
using Xunit.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>
/// R21 and the cleaner: who writes uses only what it was promised, as an owner does, and idle volumes keep promises that they never use. The segments are larger than what the cleaner reads at a time,
/// so that it has to wait for its pace, and what it moves is in segments beside the log for long. Whatever waits for whom: as long as there is something to be freed, the promise comes.
/// </summary>
public sealed class PromisedFullStoreSpecs(ITestOutputHelper output)
{
    [Theory(DisplayName = "Nearly full and overwritten within what is promised, records of one block and of 64, with idle promises: room comes again and again, and after each loss of power all is there")]
    [InlineData(0, 1, 1)]
    [InlineData(0, 64, 2)]
    [InlineData(1, 1, 3)]
    [InlineData(1, 64, 4)]
    [InlineData(30, 1, 5)]
    [InlineData(30, 64, 6)]
    [InlineData(60, 1, 7)]
    [InlineData(60, 64, 8)]
    public void Overwritten(int idle, int blocksOfRecord, int seed)
    {
        var life = new PromisedLife(idle, blocksOfRecord, seed);
        var extents = life.ExtentsWithRoom;
        for (var extent = 0; extent < extents; extent++) life.Write(extent);
        var lifetimes = 1;
        for (var count = 0; count < extents * 2; count++)
        {
            life.Write(life.Random.Next(extents));
            if (life.Random.Next(extents) > 1) continue;
            lifetimes++;
            life.LosePower();
        }
        output.WriteLine($"{extents} extents, {lifetimes} lifetimes, {life.IdleBytes} idle, {life.Waits} waits, at most {life.WaitsMost}; {life.Rig.Store.Activity}, {life.Rig.Store.Usage}");
        life.LosePower();
        Assert.True(life.ColdSegments > 0, "nothing was moved beside the log");
    }

    [Theory(DisplayName = "Full to the last promise, and then a part is trimmed: room comes, again and again, with idle promises too")]
    [InlineData(0, 1, 11)]
    [InlineData(0, 64, 12)]
    [InlineData(1, 1, 13)]
    [InlineData(30, 64, 14)]
    [InlineData(60, 1, 15)]
    public void Filled_and_trimmed(int idle, int blocksOfRecord, int seed)
    {
        var life = new PromisedLife(idle, blocksOfRecord, seed);
        var written = new List<int>();
        var next = 0;
        for (var round = 0; round < 5; round++)
        {
            var filled = 0;
            for (; life.TryWrite(next, 40); filled++) written.Add(next++);
            output.WriteLine($"round {round}: {filled} written, {life.Rig.Store.Usage}");
            // Of each segment's worth a part, so that nothing is free before the cleaner has moved the rest.
            var trimmed = written.Where(_ => life.Random.Next(3) == 0).ToList();
            foreach (var extent in trimmed) life.Trim(extent);
            written.RemoveAll(trimmed.Contains);
            Assert.True(round == 0 || filled > 0, $"round {round}: what was trimmed gave no room: {life.Rig.Store.Usage}");
            for (var count = 0; count < trimmed.Count / 2; count++) life.Write(written[life.Random.Next(written.Count)]);
            if (round % 2 == 1) life.LosePower();
        }
        life.LosePower();
    }

    [Theory(DisplayName = "Volumes that were idle use what they were promised just when room is wanted, and all that is left of it at the end: each write of that is taken (R21)")]
    [InlineData(1, 1, 21)]
    [InlineData(7, 64, 22)]
    [InlineData(30, 1, 23)]
    [InlineData(30, 64, 24)]
    [InlineData(60, 64, 25)]
    public void Promises_are_used(int idle, int blocksOfRecord, int seed)
    {
        var life = new PromisedLife(idle, blocksOfRecord, seed) { UsesIdle = true };
        var written = new List<int>();
        for (var round = 0; round < 4; round++)
        {
            for (var next = round * 100_000; life.TryWrite(next, 40); next++) written.Add(next);
            var trimmed = written.Where(_ => life.Random.Next(3) == 0).ToList();
            foreach (var extent in trimmed) life.Trim(extent);
            written.RemoveAll(trimmed.Contains);
            for (var count = 0; count < trimmed.Count / 2; count++)
            {
                // As it is in the midst of all that waits for something.
                if (!life.TryWrite(written[life.Random.Next(written.Count)], 40)) break;
            }
            life.UseAllPromises();
            life.LosePower();
        }
        output.WriteLine($"{life.IdleRecords} records of idle volumes, {life.Waits} waits, {life.ColdSegments} segments kept apart");
        Assert.True(life is { IdleRecords: > 100, Waits: > 40 }, $"hardly anything was promised and used: {life.IdleRecords} records, {life.Waits} waits");
    }

    /// <summary>SIM_FULL_SEEDS=N: so many; SIM_FIRST=N begins there.</summary>
    [Fact(DisplayName = "Over many seeds a store of 4 MiB segments that is filled to the last byte within what is promised, overwritten, trimmed and cut off its power lets its writer go on, whatever idle volumes hold")]
    public void Random_runs()
    {
        int Asked(string name, int otherwise) => int.Parse(Environment.GetEnvironmentVariable(name) ?? $"{otherwise}", CultureInfo.InvariantCulture);
        var (kept, cuts, fills) = (0L, 0, 0);
        var (first, seeds) = (Asked("SIM_FIRST", 1), Asked("SIM_FULL_SEEDS", 12));
        for (var seed = first; seed < first + seeds; seed++)
        {
            var did = PromisedFullRun.Run(seed);
            (kept, cuts, fills) = (kept + did.ColdSegments, cuts + did.Cuts, fills + did.Fills);
        }
        output.WriteLine($"{seeds} seeds: {kept} segments kept apart, {cuts} times without power or killed, {fills} times full");
        Assert.True(kept > seeds && cuts > seeds && fills > seeds, $"the runs are too tame: {kept} segments kept apart, {cuts} cuts, {fills} fills");
    }
}
