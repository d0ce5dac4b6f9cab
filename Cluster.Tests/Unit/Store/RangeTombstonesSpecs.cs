using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Unit.Store;

public sealed class RangeTombstonesSpecs
{
    [Fact(DisplayName = "Tombstones in any order are the newest sequence per block, sorted and disjoint")]
    public void Against_an_array()
    {
        for (var seed = 0; seed < 300; seed++)
        {
            var random = new Random(seed);
            var tombstones = new RangeTombstones();
            var expected = new ulong[80];
            for (var step = 0; step < 40; step++)
            {
                var first = random.Next(70);
                var range = new BlockRange((ulong)first, (uint)random.Next(1, 80 - first));
                var sequence = (ulong)random.Next(1, 30);
                tombstones.Add(range, sequence);
                for (var block = range.First; block < range.End; block++) expected[block] = Math.Max(expected[block], sequence);
            }
            for (var block = 0UL; block < 80; block++) Assert.Equal(expected[block], tombstones.SequenceOf(block));
            for (var index = 1; index < tombstones.Count; index++)
            {
                var (left, right) = (tombstones[index - 1], tombstones[index]);
                Assert.True(left.First < left.End && left.End <= right.First);
            }
        }
    }
}
