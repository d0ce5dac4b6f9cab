using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Store;

/// <summary>The log applied again after an open. The same state as live, but for commit watermarks that no record carried yet.</summary>
public sealed partial class VolumeStore
{
    /// <summary>Applies one entry. A bad payload of blocks is kept: its reads will say so, for just those blocks.</summary>
    internal void Replay(in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place, IoStatus payloadStatus)
    {
        if (Damage is not null && !RepairsDamage(in header)) return;
        if (payloadStatus != IoStatus.Ok && !StoreRecord.HasBlocks(header.Kind))
        {
            MarkDamaged($"the payload of a record of kind {(byte)header.Kind} at offset {place.EntryOffsetBytes} is bad");
            return;
        }
        if (header.Kind < RecordKind.StoreFirst && (header.Flags & RecordFlags.Resync) == 0)
        {
            ReplayOrdered(in header, record, place);
            return;
        }
        if (Damage is null) CommitUpTo(header.CommitWatermark);
        ReplayOwn(in header, record, place);
    }

    internal void MarkDamaged(string reason)
    {
        if (Damage is not null) return;
        Damage = reason;
        Map.IsDamaged = true;
        _store.LogDamage(Volume, reason);
    }

    /// <summary>A page of its map is lost until the store is opened anew; nothing on media says so, and nothing will.</summary>
    internal void StopAnswering(string reason)
    {
        Damage ??= reason;
        Map.IsDamaged = true;
    }

    /// <summary>The replay is over and all of it is on media.</summary>
    internal void OnRecovered()
    {
        (AppendedSequence, DurableSequence, _loggedWatermark) = (LastSequence, LastSequence, CommitWatermark);
        _writtenHeader = DurableHeaderNumber = HeaderNumber;
        _appendedUntold = false;
    }

    /// <summary>The state that a checkpoint has of the volume.</summary>
    internal bool LoadState(ref BodyReader reader)
    {
        (CommitWatermark, _committedEpoch, HeaderNumber) = (reader.U64(), reader.U64(), reader.U64());
        var header = reader.Bytes(StoreLimits.HeaderBytesMax);
        var windows = SessionWindows.TryDecode(reader.Bytes(CheckpointFrame.BodyBytesMax));
        var damage = reader.Text(CheckpointFrame.BodyBytesMax);
        if (!reader.AtEnd || header.IsEmpty || windows is null) return false;
        (_header, Windows) = (header.ToArray(), windows);
        (LastSequence, LastRecordEpoch) = (CommitWatermark, _committedEpoch);
        if (damage.Length > 0) MarkDamaged(damage);
        return true;
    }

    /// <summary>The next record of the tail, read from where the checkpoint says.</summary>
    internal bool LoadTail(in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        if (header.Volume != Volume || header.Sequence != LastSequence + 1 || header.Kind >= RecordKind.StoreFirst) return false;
        if (header.Kind == RecordKind.Marker && (StoreRecord.CheckPayload(in header, record) != IoStatus.Ok || MarkerOf(in header, record) is null)) return false;
        AddToTail(in header, record, place);
        return true;
    }

    /// <summary>The record that made the clone.</summary>
    internal void ReplayClone(ReadOnlySpan<byte> payload, IoStatus payloadStatus, Func<VolumeId, VolumeStore?> find)
    {
        if (payloadStatus != IoStatus.Ok || !CloneBody.TryDecode(payload, out var body)) MarkDamaged("the record that made it a clone is bad");
        else if (find(body.Origin) is not { } origin || origin.Map.Layer(body.Snapshot) is null)
        {
            _header = body.Header.ToArray();
            MarkDamaged($"snapshot {body.Snapshot} of volume {body.Origin}, which it was cloned from, is not there");
        }
        else BecomeClone(body, origin);
    }

    private static bool RepairsDamage(in RecordHeader header) => header.Kind == StoreRecordKind.ReplicaHeader
        || (header.Kind == StoreRecordKind.SetPosition && header.ExpectedSequence == 1);

    private void ReplayOrdered(in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        if (header.Sequence != LastSequence + 1)
        {
            MarkDamaged($"record {header.Sequence} follows record {LastSequence} in the log");
            return;
        }
        if (header.Kind == RecordKind.Marker && MarkerOf(in header, record) is null)
        {
            MarkDamaged($"record {header.Sequence} is a snapshot's marker that can't be read");
            return;
        }
        AddToTail(in header, record, place);
        CommitUpTo(Math.Min(header.CommitWatermark, header.Sequence));
    }

    private void ReplayOwn(in RecordHeader header, ReadOnlySpan<byte> record, EntryPlace place)
    {
        var payload = record.Slice(header.PayloadOffset, (int)header.PayloadLength);
        switch (header.Kind)
        {
            case StoreRecordKind.ReplicaHeader:
                (_header, HeaderNumber) = (payload.ToArray(), header.Sequence);
                break;
            case StoreRecordKind.Truncate when header.Sequence >= CommitWatermark:
                DropTail(header.Sequence);
                break;
            case StoreRecordKind.SetPosition:
                Reposition(header.Sequence, header.Epoch, header.ExpectedSequence == 1);
                break;
            case StoreRecordKind.Windows when SessionWindows.TryDecode(payload) is { } windows:
                Windows = windows;
                break;
            case StoreRecordKind.Snapshots when SnapshotsBody.TryDecode(payload, out var snapshots):
                ApplySnapshots(snapshots.Sequences);
                break;
            case RecordKind.Write or RecordKind.Trim or RecordKind.Zeroes or StoreRecordKind.Relocate or StoreRecordKind.Pack:
                ApplyBlocks(in header, record, place);
                break;
            default:
                MarkDamaged($"a record of kind {(byte)header.Kind} makes no sense here");
                break;
        }
    }
}
