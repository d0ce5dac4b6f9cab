using Cluster.Messages.Model;

namespace Cluster.Node.Store;

// R21: room for data is promised before it is used, so that the owner sequences only what every copy can store.
public sealed partial class BlockStore
{
    /// <summary>All promises of one volume together are this part of the room at most, divided by the volumes: what the idle ones hold, the others lack.</summary>
    private const int CreditShare = 16;

    /// <summary>As long as there is room, a volume has credit for one record of any size.</summary>
    private static readonly long CreditLeast = Limits.CreditOf(Limits.RecordBytesMax);

    /// <summary>Promised to all volumes and not used yet.</summary>
    private long _grantedBytes;

    /// <summary>A volume was given less than it may need.</summary>
    private bool _isRoomWanted;

    /// <summary>What was refused lately, or lacked in a promise: as long as there is less than that nobody was promised, somebody waits.</summary>
    private long _wantedBytes;

    /// <summary>Somebody waits for room, or whoever comes next will. What is free by count of segments does not say so: it may all be promised to volumes that do not use it.</summary>
    internal bool LacksRoom
    {
        get
        {
            var free = UnpromisedBytes;
            return free == 0 || (free < _wantedBytes && (_grantedBytes > 0 || !_writer.HasRoom((int)_wantedBytes, SpaceClass.Data)));
        }
    }

    /// <summary>Segments that the promises take at most.</summary>
    private int PromisedSegments => (int)((_grantedBytes + _writer.SegmentDataBytes - 1) / _writer.SegmentDataBytes);

    /// <summary>Bytes that nobody was promised. What goes with its disk is not promised as long as it goes.</summary>
    internal long UnpromisedBytes => HasFailed || _stopped ? 0 : Math.Max(0, (MayDrain ? _writer.LastingRoomBytes : _writer.DataRoomBytes) - _grantedBytes);

    /// <summary>What to add to a volume's promise of that many bytes.</summary>
    internal long TakeCredit(long has)
    {
        var free = UnpromisedBytes;
        var target = Math.Clamp((free + has) / (CreditShare * Math.Max(1, _volumes.Count)), CreditLeast, Limits.CreditBytesMax);
        var more = Math.Clamp(target - has, 0, free);
        _grantedBytes += more;
        if (has + more >= CreditLeast) return more;
        _isRoomWanted = true;
        NoteWanted(CreditLeast - has - more);
        return more;
    }

    /// <summary>It was used, or the volume is gone.</summary>
    internal void ReturnCredit(long bytes)
    {
        _grantedBytes -= bytes;
        Invariant.That(_grantedBytes >= 0, "more credit was used than was granted");
    }

    private void NoteWanted(long bytes) => (_wantedBytes, _backgroundDue) = (Math.Max(_wantedBytes, bytes), true);

    private void TellOfRoom()
    {
        if (!LacksRoom) _wantedBytes = 0;
        if (!_isRoomWanted || UnpromisedBytes == 0) return;
        _isRoomWanted = false;
        foreach (var volume in _volumes.Values)
        {
            if (volume.GrantedBytes < CreditLeast) volume.Events?.OnRoom();
        }
    }
}
