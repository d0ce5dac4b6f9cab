using System.Collections.Immutable;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Unit.Owner;

/// <summary>Label cache at the owner: who is told that it may keep what it reads, and what such reads are.</summary>
public sealed class CachedReadSpecs
{
    private const string IopsMax = "myrmidon.dev/iops-max";

    [Fact(DisplayName = "Only a front end whose link has the feature is told of the label, when it opens and when the label comes or goes")]
    public void Told()
    {
        using var rig = OwnerRig.Serving(1);
        Assert.False(Last(rig.Front, FrameKind.SessionOpened));
        rig.Front.CompatFeatures = MeshFeatures.CachedReads;
        rig.Open(rig.Session);
        Assert.False(Last(rig.Front, FrameKind.SessionOpened));
        Label(rig, (VolumeSpec.CacheLabel, "on"));
        Assert.True(Last(rig.Front, FrameKind.SessionNotice));
        rig.Open(rig.Session);
        Assert.True(Last(rig.Front, FrameKind.SessionOpened));
        rig.Front.CompatFeatures = ~MeshFeatures.CachedReads;
        rig.Open(rig.Session);
        Assert.False(Last(rig.Front, FrameKind.SessionOpened));
        rig.Front.CompatFeatures = MeshFeatures.CachedReads;
        Label(rig, (VolumeSpec.CacheLabel, "off"));
        Assert.False(Last(rig.Front, FrameKind.SessionNotice));
    }

    [Fact(DisplayName = "What the front end has counts in this owner's epoch only; the read is answered under its own kind, with the label or without")]
    public void Known()
    {
        using var rig = OwnerRig.Serving(1);
        Read(rig, 1, rig.Machine.EpochNumber, 5, 0, 7);
        Assert.Equal([5UL, 0, 7], rig.LastKnown);
        rig.AnswerRead();
        Assert.Equal((IoStatus.Ok, 1UL), (rig.Front.LastOf(FrameKind.ClientReadCachedReply).Status, rig.Front.LastOf(FrameKind.ClientReadCachedReply).RequestId));
        foreach (var epoch in new ulong[] { 0, rig.Machine.EpochNumber - 1, rig.Machine.EpochNumber + 1 })
        {
            Read(rig, 2, epoch, 5);
            Assert.Empty(rig.LastKnown);
            rig.AnswerRead();
        }
        Assert.Empty(rig.Front.Of(FrameKind.ClientReadReply));
    }

    [Fact(DisplayName = "A session that was fenced, one that is not open, and a body that does not decode are refused as in any read")]
    public void Refused()
    {
        using var rig = OwnerRig.Serving(1);
        rig.Client(null, FrameKind.ClientReadCached, 1, new byte[40], rig.Machine.EpochNumber);
        Assert.Equal(IoStatus.Malformed, rig.Front.LastOf(FrameKind.ClientReadCachedReply).Status);
        Read(rig, 2, rig.Machine.EpochNumber, new SessionId(rig.Session.Generation, 99), 5);
        Assert.Equal(IoStatus.Offline, rig.Front.LastOf(FrameKind.ClientReadCachedReply).Status);
        // Its data is on its way when the attachment moves on: R11.
        Read(rig, 3, rig.Machine.EpochNumber, 5);
        rig.Machine.Propose(new AttachmentChanged(rig.Machine.Volume, new Attachment(rig.Session.Generation + 1, AttachmentMode.Exclusive, rig.Nodes[0], "n0")));
        rig.Journal();
        rig.AnswerRead();
        Assert.Equal((2, 0), (rig.Front.Of(FrameKind.ClientReadCachedReply).Count(), rig.ReadsWaiting));
    }

    [Fact(DisplayName = "A read that waits for the volume's limit is asked with what the front end has when its turn comes, and sent back while memory is short")]
    public void Limited()
    {
        using var rig = OwnerRig.Serving(1);
        Label(rig, (IopsMax, "10"));
        ulong sent = 0;
        while (rig.Machine.ThrottledNow < 2)
        {
            Read(rig, ++sent, rig.Machine.EpochNumber, 100 + sent);
            while (rig.ReadsWaiting > 0) rig.AnswerRead();
        }
        while (rig.Machine.ThrottledNow > 0)
        {
            rig.NowMs += 100;
            rig.Machine.OnWake();
        }
        Assert.Equal([100 + sent], rig.LastKnown);
        while (rig.ReadsWaiting > 0) rig.AnswerRead();
        Assert.Equal((int)sent, rig.Front.Of(FrameKind.ClientReadCachedReply).Count(reply => reply.Header.Status == IoStatus.Ok));
        Label(rig);
        rig.IsMemoryTight = true;
        Read(rig, 1000, rig.Machine.EpochNumber, 1);
        Read(rig, 1001, rig.Machine.EpochNumber, 1);
        Assert.Equal((IoStatus.Busy, 1001UL), (rig.Front.LastOf(FrameKind.ClientReadCachedReply).Status, rig.Front.LastOf(FrameKind.ClientReadCachedReply).RequestId));
    }

    private static bool Last(RecordingLink link, FrameKind kind)
    {
        Assert.True(SessionOpenedBody.TryDecode(link.Of(kind).Last().Body, out var opened));
        return opened.Caches;
    }

    private static void Label(OwnerRig rig, params (string Key, string Value)[] labels)
    {
        var all = labels.ToImmutableSortedDictionary(label => label.Key, label => label.Value);
        rig.Machine.Propose(new SpecChanged(rig.Machine.Volume, rig.State.Spec! with { Labels = all }, rig.State.SpecRevision + 1));
        rig.Journal();
        rig.Stamped(0);
    }

    private static void Read(OwnerRig rig, ulong id, ulong epoch, params ulong[] known) => Read(rig, id, epoch, rig.Session, known);

    private static void Read(OwnerRig rig, ulong id, ulong epoch, SessionId session, params ulong[] known)
    {
        var body = new byte[CachedReadBody.EncodedBytes((uint)known.Length)];
        rig.Client(null, FrameKind.ClientReadCached, id, new CachedReadBody(new ClientReadBody(session, new BlockRange(0, (uint)known.Length))).Encode(body, known), epoch);
    }
}
