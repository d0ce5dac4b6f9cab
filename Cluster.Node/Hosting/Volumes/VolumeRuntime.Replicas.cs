using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Replica;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Volumes;

// Replicas of this node: made on an owner's word, dropped on a tombstone.
public sealed partial class VolumeRuntime
{
    private sealed class AcknowledgePhase(VolumeRuntime runtime) : ITurnPhase
    {
        public bool Run()
        {
            if (runtime._acknowledging.Count == 0) return false;
            var before = runtime._loop.Stages.Enter(LoopStage.Replica);
            for (var index = 0; index < runtime._acknowledging.Count; index++) runtime._acknowledging[index].Acknowledge();
            runtime._loop.Stages.Leave(before);
            runtime._acknowledging.Clear();
            return true;
        }
    }

    /// <summary>Finds the replica anew at each use: it may be made after the owner's machine was.</summary>
    internal readonly struct LocalReplicaSource(VolumeRuntime runtime, VolumeId volume)
    {
        public ILocalReplica? Current => runtime._replicas.TryGetValue(volume, out var entry) && !entry.Machine.IsFailed ? entry.Local : null;
    }

    public void WantsAcknowledge(ReplicaMachine machine) => _acknowledging.Add(machine);

    long IReplicaEffects.NowMs => _loop.FreshNowMs();

    public uint LeaseLeftMs(NodeId owner)
    {
        if (owner == Identity.Id) return 0;
        // An owner that this process knows nothing of may hold a lease that was granted just before it started (R17): the mesh counts from its start then.
        return (uint)Math.Clamp(_mesh!.GrantedUntilMs(owner) - _loop.FreshNowMs(), 0, 2 * Limits.LeaseMs);
    }

    public void OnReplicaFailed(VolumeId volume, IoStatus status, string reason) => LogReplicaFailed(volume, Identity.Name, status, reason);

    /// <summary>The copies that this node holds, by volume.</summary>
    public IReadOnlyList<HeldCopy> HeldCopies() =>
        [.. _replicas.OrderBy(replica => replica.Key).Select(replica => new HeldCopy(replica.Key, replica.Value.Machine.Header.Replica))];

    /// <summary>Number of copies here. Loop thread only.</summary>
    public int ReplicaCount => _replicas.Count;

    /// <summary>R22: only for a tombstone that was read through the journal's barrier; a copy that was made since in place of that one stays.</summary>
    public void DeleteReplica(HeldCopy dead)
    {
        if (_replicas.TryGetValue(dead.Volume, out var entry) && entry.Machine.Header.Replica == dead.Replica) DeleteReplica(dead.Volume);
    }

    private void DeleteReplica(VolumeId volume)
    {
        if (!_replicas.Remove(volume, out var entry)) return;
        entry.Machine.LeaveCatchUp();
        var status = _store.Delete(volume);
        LogReplicaDeleted(volume, Identity.Name, status);
    }

    private void AddReplica(IVolumeStore volume)
    {
        var machine = new ReplicaMachine(volume, this);
        _replicas.Add(volume.Volume, new ReplicaEntry(machine, new LocalReplica(machine, _loop.Stages)));
    }

    private void ToReplica(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body, IoBuffer? buffer)
    {
        if (header.Kind == FrameKind.Promise && !PrepareReplica(from, in header, body)) return;
        if (_replicas.TryGetValue(header.Volume, out var entry)) entry.Machine.OnFrame(from, in header, body, buffer);
        else if (from.IsUp)
            from.Send(FrameHeader.Of(FrameKind.AppendAck, header.Volume, header.Epoch, status: IoStatus.Missing), new byte[32]);
    }

    /// <summary>True: there is a copy that answers. Else the answer that there is none was sent, with the copy that is held in its place, if any.</summary>
    private bool PrepareReplica(IFrameLink from, in FrameHeader header, ReadOnlySpan<byte> body)
    {
        if (!PromiseBody.TryDecode(body, out var promise)) return false;
        var held = _replicas.TryGetValue(header.Volume, out var entry) ? entry.Machine.Header : null;
        var status = ReplicaAdmission.Decide(held, in promise) switch
        {
            AdmissionStep.Answer => IoStatus.Ok,
            AdmissionStep.Make => CreateReplica(header.Volume, in promise),
            AdmissionStep.Held => IoStatus.Conflict,
            _ => IoStatus.Missing,
        };
        if (status == IoStatus.Ok) return true;
        // What it is cloned from is here and not committed yet: the owner asks again.
        if (status == IoStatus.Busy) return false;
        var number = status == IoStatus.Conflict ? held!.Replica.Number : 0UL;
        Span<byte> answer = stackalloc byte[PromisedBody.SizeBytesMax];
        var missing = new PromisedBody(promise.Identity, StoreId, StoreOpens, 0, 0, 0, 0, 0, 0, 0, false, 0, 0, 0, 0);
        from.Send(FrameHeader.Of(FrameKind.Promised, header.Volume, header.Epoch, argument: number, status: status), missing.Encode(answer));
        return false;
    }

    private IoStatus CreateReplica(VolumeId volume, in PromiseBody promise)
    {
        var header = new ReplicaHeader(Identity.ClusterId, Identity.Era, volume, promise.Replica, promise.Identity, 0, default, 0, 0, 0, false, 0, 0,
            promise.Spec);
        var (status, store) = VolumeSpecCodec.TryDecode(promise.Spec, out var spec) && spec.Source is { } source ? CreateClone(volume, header, source) : (IoStatus.Missing, null);
        // Without what it is cloned from it is made empty, and filled by a catch-up like any copy.
        if (status == IoStatus.Missing) (status, store) = _store.Create(volume, header.Encode());
        if (store is not null) AddReplica(store);
        if (status != IoStatus.Busy) LogReplicaCreated(volume, promise.Replica, Identity.Name, status);
        return status;
    }

    private (IoStatus Status, IVolumeStore? Store) CreateClone(VolumeId volume, ReplicaHeader header, VolumeSource source)
    {
        var origin = _replicas.GetValueOrDefault(source.Origin)?.Machine;
        var status = ReplicaAdmission.BeginFrom(origin?.Header, origin is { IsFailed: true });
        return status == IoStatus.Ok ? _store.CreateClone(volume, header.Encode(), source.Origin, source.Sequence) : (status, null);
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "volume {Volume}: the replica on node {Node} failed and is out: {Status}, {Reason}")]
    private partial void LogReplicaFailed(VolumeId volume, string node, IoStatus status, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "volume {Volume}: replica deleted on node {Node} after its tombstone ({Status})")]
    private partial void LogReplicaDeleted(VolumeId volume, string node, IoStatus status);

    [LoggerMessage(Level = LogLevel.Information, Message = "volume {Volume}: replica {Replica} made on node {Node} ({Status})")]
    private partial void LogReplicaCreated(VolumeId volume, ReplicaId replica, string node, IoStatus status);
}
