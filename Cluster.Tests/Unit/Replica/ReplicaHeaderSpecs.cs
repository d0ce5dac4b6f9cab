using System.IO.Hashing;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Replica;

namespace Cluster.Tests.Unit.Replica;

public sealed class ReplicaHeaderSpecs
{
    /// <summary>Version 1, as it was written before the cursor and the scrub's mark were added.</summary>
    private const string First = "01"
        + "03020100050407060809101112131415" + "13121110151417161819202122232425" + "0700000000000000" + "02000300"
        + "23222120252427262829303132333435" + "1100000000000000" + "33323130353437363839404142434445" + "1200000000000000" + "1300000000000000"
        + "1400000000000000" + "01" + "1500000000000000" + "1600000000000000" + "02000000" + "AABB";

    private static readonly ReplicaHeader Sample = new(
        new Guid("00010203-0405-0607-0809-101112131415"), new Guid("10111213-1415-1617-1819-202122232425"), new VolumeId(7), new ReplicaId(2, 3),
        new Guid("20212223-2425-2627-2829-303132333435"), 0x11, new NodeId(new Guid("30313233-3435-3637-3839-404142434445")), 0x12, 0x13, 0x14, true, 0x15, 0x16,
        [0xAA, 0xBB]);

    private static byte[] Hashed(string hex)
    {
        var bytes = Convert.FromHexString(hex);
        return [.. bytes, .. BitConverter.GetBytes(XxHash3.HashToUInt64(bytes))];
    }

    [Fact(DisplayName = "A header of version 1 is read; what it did not know is empty")]
    public void Version_1_is_read()
    {
        var read = ReplicaHeader.TryDecode(Hashed(First));
        Assert.NotNull(read);
        Assert.Equal(Sample with { Spec = read.Spec, Members = read.Members }, read);
        Assert.Equal(Sample.Spec, read.Spec);
    }

    [Fact(DisplayName = "Headers of version 2, which name no members, and 3, which name no marks, are read. The bytes of version 4")]
    public void Version_4()
    {
        var header = Sample with { CatchUpCursor = 0x21, Scrub = new ScrubMark(new ScrubTally(1, 2, 3, 4, 5), 6, new ScrubTally(7, 8, 9, 10, 11), 12) };
        var added = string.Concat(new ulong[] { 0x21, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12 }.Select(word => Convert.ToHexString(BitConverter.GetBytes(word))));
        var read = ReplicaHeader.TryDecode(Hashed("02" + First[2..] + added));
        Assert.Equal(header with { Spec = read!.Spec, Members = read.Members }, read);
        Assert.Empty(read.Members);

        var copy = new ReplicaPlacement(new ReplicaId(2, 3), header.PromisedTo, "n1", header.Identity);
        header = header with { Members = [new StampedMember(copy, header.Era, 0x31, true, 0x32)] };
        const string member = "0100" + "02000300" + "33323130353437363839404142434445" + "02000000" + "6E31" + "23222120252427262829303132333435"
            + "13121110151417161819202122232425" + "3100000000000000" + "01";
        var bytes = header.Encode();
        Assert.Equal(Hashed("04" + First[2..] + added + member + "3200000000000000"), bytes);
        read = ReplicaHeader.TryDecode(Hashed("03" + First[2..] + added + member));
        Assert.Equal(header.Members[0] with { StoreOpenMark = 0 }, read!.Members.Single());
        Assert.Equal(default, read.StampedOpen(header.Identity));
        read = ReplicaHeader.TryDecode(bytes);
        Assert.Equal(header.Members.AsEnumerable(), read!.Members);
        Assert.Equal(new StoreOpenStamp(0x31, 0x32), read.StampedOpen(header.Era));
        Assert.Equal(header with { Spec = read.Spec, Members = read.Members }, read);
    }

    [Fact(DisplayName = "Anything else is no header: another version, another length, another bit")]
    public void Anything_else_is_none()
    {
        var bytes = Sample.Encode();
        for (var length = 0; length < bytes.Length; length++) Assert.Null(ReplicaHeader.TryDecode(bytes.AsSpan(0, length)));
        Assert.Null(ReplicaHeader.TryDecode([.. bytes, 0]));
        Assert.Null(ReplicaHeader.TryDecode(Hashed("05" + First[2..])));
        for (var index = 0; index < bytes.Length; index++)
        {
            bytes[index] ^= 4;
            Assert.Null(ReplicaHeader.TryDecode(bytes));
            bytes[index] ^= 4;
        }
    }
}
