using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Cluster.Tests.Simulation.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class BlockStoreSpecs
{
    [Fact(DisplayName = "An appended and committed block is read back, and again after a reopen")]
    public void Append_commit_read_reopen()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        var bytes = StoreRig.Bytes(1);
        Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, 5, bytes));
        Assert.Equal(0UL, volume.AppendedSequence);
        rig.Loop.Settle();
        Assert.Equal(1UL, volume.AppendedSequence);
        Assert.Equal([1UL], rig.Events.Appended);
        Assert.Equal(0UL, rig.Read(volume, 5).Blocks[0].Sequence);
        volume.Commit(1);
        var read = rig.Read(volume, 5).Blocks[0];
        Assert.Equal(1UL, read.Sequence);
        Assert.Equal(bytes, read.Bytes);
        rig.Sync(volume);
        Assert.Equal((1UL, 1UL), rig.Events.Durable[^1]);

        rig.Restart(PowerLoss.LoseAll);
        volume = rig.Find();
        Assert.Equal((1UL, 1UL, 0UL), (volume.LastSequence, volume.DurableSequence, volume.CommitWatermark));
        Assert.Equal(new byte[] { 1, 2, 3 }, volume.Header.ToArray());
        volume.Commit(1);
        Assert.Equal(bytes, rig.Read(volume, 5).Blocks[0].Bytes);
        Assert.True(volume.Windows.Contains(StoreRig.Session, 1));
    }

    [Fact(DisplayName = "Of blocks that the reader has in the sequence of the committed map nothing is read; of all others everything, whatever sequence it has")]
    public void Known()
    {
        var rig = new StoreRig().Open();
        var volume = rig.Create();
        for (ulong block = 0; block < 3; block++) StoreRig.AppendBlock(volume, block, StoreRig.Bytes(block + 1));
        rig.Loop.Settle();
        volume.Commit(3);
        var before = rig.Store.ReadBytes;
        var (status, blocks) = rig.Read(volume, 0, 4, [1, 9, 3, 5]);
        Assert.Equal(IoStatus.Ok, status);
        Assert.Equal([(1UL, true), (2UL, false), (3UL, true), (0UL, false)], blocks.Select(block => (block.Sequence, block.IsSame)));
        Assert.Equal(StoreRig.Bytes(2), blocks[1].Bytes);
        Assert.Equal(blocks[1].Bytes.Length, rig.Store.ReadBytes - before);
        // Written, but not committed: what the reader has is still the volume's. Committed: it is not.
        StoreRig.AppendBlock(volume, 0, StoreRig.Bytes(7));
        rig.Loop.Settle();
        Assert.Equal((false, true), (rig.Read(volume, 0, 1, [4]).Blocks[0].IsSame, rig.Read(volume, 0, 1, [1]).Blocks[0].IsSame));
        volume.Commit(4);
        Assert.Equal((true, false), (rig.Read(volume, 0, 1, [4]).Blocks[0].IsSame, rig.Read(volume, 0, 1, [1]).Blocks[0].IsSame));
    }

    [Fact(DisplayName = "What was not flushed is gone after a power cut, what was written survives a kill")]
    public void Lost_and_kept()
    {
        foreach (var (loss, last) in new[] { (PowerLoss.LoseAll, 1UL), (PowerLoss.ProcessOnly, 3UL) })
        {
            var rig = new StoreRig().Open();
            var volume = rig.Create();
            StoreRig.AppendBlock(volume, 1, StoreRig.Bytes(1));
            rig.Sync(volume);
            StoreRig.AppendBlock(volume, 2, StoreRig.Bytes(2));
            StoreRig.AppendBlock(volume, 3, StoreRig.Bytes(3));
            rig.Loop.Settle();
            Assert.Equal(last, rig.Restart(loss).Find().LastSequence);
        }
    }

    [Fact(DisplayName = "The real disk: appends, flushes, a second opener is refused, a reopen reads all back")]
    public async Task Real_disk()
    {
        var directory = Directory.CreateTempSubdirectory("myrmidon-store-");
        try
        {
            var loop = new SimulatedLoop();
            var options = new StoreOptions { SegmentBytes = 1 << 20, CapacityBytes = 64 << 20 };
            BlockStore Open()
            {
                loop.Clear();
                var result = BlockStore.Open(options, loop, new FileDisk(directory.FullName), new LoopDiskScheduler(loop),
                    Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
                Assert.True(result.Store is not null, result.Reason);
                loop.AddPhase(TurnPhase.Store, result.Store);
                return result.Store;
            }
            var store = Open();
            var volume = store.Create(StoreRig.Volume, new byte[] { 1 }).Volume!;
            for (var index = 0UL; index < 600; index++)
                Assert.Equal(IoStatus.Ok, StoreRig.AppendBlock(volume, index, StoreRig.Bytes(index)));
            volume.RequestSync();
            loop.Settle();
            Assert.Equal(600UL, volume.DurableSequence);
            var second = BlockStore.Open(options, loop, new FileDisk(directory.FullName), new LoopDiskScheduler(loop),
                Microsoft.Extensions.Logging.Abstractions.NullLogger.Instance);
            Assert.Equal(IoStatus.Busy, second.Status);
            Assert.Contains("in use by another process", second.Reason, StringComparison.Ordinal);
            var disposing = store.DisposeAsync();
            loop.Settle();
            await disposing;

            store = Open();
            Assert.Equal((2UL, false), (store.OpenCount, store.Suspect));
            volume = (VolumeStore)store.Find(StoreRig.Volume)!;
            volume.Commit(600);
            for (var index = 0UL; index < 600; index++)
            {
                var completion = new Completion();
                volume.Read(new BlockRange(index, 1), completion, 0);
                loop.Settle();
                Assert.Equal(StoreRig.Bytes(index), completion.Bytes);
            }
            store.Stop(() => { });
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private sealed class Completion : IReadCompletion
    {
        public byte[]? Bytes { get; private set; }

        public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
        {
            Assert.Equal(IoStatus.Ok, status);
            Bytes = reply!.Span[ReadDescriptor.SizeBytes..].ToArray();
            reply.Release();
        }
    }
}
