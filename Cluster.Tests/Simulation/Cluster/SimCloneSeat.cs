using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Replica;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>What a node has of a clone: a copy, and at times its owner. As the node itself is for the volume (<see cref="SimNode"/>).</summary>
internal sealed class SimCloneSeat(SimClone clone, SimNode node)
{
    public SimClone Clone => clone;

    public SimNode Node => node;

    public ReplicaMachine? Machine { get; private set; }

    public LocalReplica? Local { get; private set; }

    public SimOwner? Owner { get; set; }

    public void OnStarted()
    {
        if (node.Storage.Clone(clone.Volume) is not null) Adopt();
    }

    public void OnDied()
    {
        Owner?.Forget();
        (Owner, Machine, Local) = (null, null, null);
    }

    public void OnLinkUp(SimLink link)
    {
        Owner?.Machine.OnLinkUp(link);
        clone.Client.OnLinkUp(node, link);
    }

    public void OnLinkDown(SimLink link)
    {
        Machine?.OnLinkDown(link);
        Owner?.Machine.OnLinkDown(link);
        clone.Client.OnLinkDown(link);
    }

    /// <summary>R22: the journal says that the clone is deleted. True: nothing of it is here any more.</summary>
    public bool Reap()
    {
        if (Machine is null) return true;
        if (node.IsPaused) return false;
        Owner?.Machine.Stop();
        Machine.LeaveCatchUp();
        node.Storage.DeleteClone(clone.Volume);
        if (node.Storage.Clone(clone.Volume) is not null) return false;
        (Owner, Machine, Local) = (null, null, null);
        return true;
    }

    public void Dispatch(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        switch (header.Kind)
        {
            case FrameKind.SessionOpen or FrameKind.SessionClose or FrameKind.ClientWrite or FrameKind.ClientRead or FrameKind.ClientFlush:
                if (Owner is { IsStopped: false } owner) owner.Machine.OnClientFrame(from, in header, body, buffer);
                else SimNode.Refuse(from, in header);
                break;
            case FrameKind.SessionOpened or FrameKind.SessionNotice or FrameKind.ClientAck or FrameKind.ClientReadReply or FrameKind.ClientCommitted or FrameKind.Present:
                clone.Client.OnFrame(from, in header, body);
                break;
            case FrameKind.Promised or FrameKind.AppendAck or FrameKind.TailRecord or FrameKind.TailEnd or FrameKind.Truncated or FrameKind.Stamped
                or FrameKind.CatchUpAck or FrameKind.Deposed or FrameKind.ReplicaBlocks or FrameKind.RepairAck
                or FrameKind.ScrubReport or FrameKind.EpochConfirmed:
                Owner?.Machine.OnReplicaFrame(from, in header, body, buffer);
                break;
            default:
                ToReplica(from, in header, body, buffer);
                break;
        }
    }

    private void ToReplica(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (header.Kind == FrameKind.Promise && !Prepare(from, in header, body)) return;
        if (Machine is not null) Machine.OnFrame(from, in header, body, buffer);
        else from.Send(FrameHeader.Of(FrameKind.AppendAck, header.Volume, header.Epoch, status: IoStatus.Missing), new byte[32]);
    }

    private bool Prepare(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!PromiseBody.TryDecode(body, out var promise)) return false;
        var status = ReplicaAdmission.Decide(Machine?.Header, in promise) switch
        {
            AdmissionStep.Answer => IoStatus.Ok,
            AdmissionStep.Make => Make(in promise),
            AdmissionStep.Held => IoStatus.Conflict,
            _ => IoStatus.Missing,
        };
        if (status == IoStatus.Ok) return true;
        // What it is cloned from is here and not committed yet: the owner asks again.
        if (status == IoStatus.Busy) return false;
        Span<byte> answer = stackalloc byte[PromisedBody.SizeBytesMax];
        var missing = new PromisedBody(promise.Identity, node.StoreId, node.StoreOpens, 0, 0, 0, 0, 0, 0, 0, false, 0, 0, 0, 0);
        from.Send(FrameHeader.Of(FrameKind.Promised, header.Volume, header.Epoch, status: status), missing.Encode(answer));
        return false;
    }

    /// <summary>As the program's nodes do: from the snapshot if it is here, else empty, and filled by a catch-up.</summary>
    private IoStatus Make(in PromiseBody promise)
    {
        var fresh = new ReplicaHeader(default, default, clone.Volume, promise.Replica, promise.Identity, 0, default, 0, 0, 0, false, 0, 0, promise.Spec).Encode();
        var status = ReplicaAdmission.BeginFrom(node.Machine?.Header, node.Machine is { IsFailed: true });
        if (status == IoStatus.Ok) status = node.Storage.CreateClone(clone.Volume, fresh, clone.Source.Sequence);
        var isEmpty = status == IoStatus.Missing;
        if (status != IoStatus.Ok) node.World.Say($"{node.Name}/{clone.Name}", $"can't begin at {clone.Source.Sequence}: {status}, with origin {node.Machine?.Header}, failed {node.Machine?.IsFailed}");
        if (isEmpty) status = node.Storage.CreateClone(clone.Volume, fresh, 0);
        node.World.Clones.Tally.Add(status == IoStatus.Ok ? isEmpty ? "MadeEmpty" : "MadeFromSnapshot" : $"Not{status}");
        if (status == IoStatus.Ok) Adopt();
        return status;
    }

    private void Adopt()
    {
        Machine = new ReplicaMachine(node.Storage.Clone(clone.Volume)!, node);
        Local = new LocalReplica(Machine, LoopStages.Off);
    }
}
