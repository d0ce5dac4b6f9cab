using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The file with the two slots of the <see cref="Superblock"/>. Each write goes to the slot that does not hold the newest one, and is
/// followed by fdatasync: a torn write leaves the other slot. Blocks; called at open, at stop, and by a <see cref="NoteJob"/>.
/// </summary>
public sealed class SuperblockFile : IDisposable
{
    public const string Name = "superblock";
    private readonly IDiskFile _file;

    private SuperblockFile(IDiskFile file) => _file = file;

    public Superblock Current { get; private set; }

    /// <summary>The other slot was written once and is bad now: it may have been the newer one.</summary>
    public bool MayBeOld { get; private init; }

    /// <summary>Missing: there is none, or only one that was never completed; BadChecksum, Unsupported: there is one that can't be
    /// used.</summary>
    public static IoStatus TryOpen(IDisk disk, out SuperblockFile? opened, out string reason)
    {
        (opened, reason) = (null, "");
        var result = disk.Open(Name, create: false, out var file);
        if (!result.IsOk)
        {
            reason = result.Detail ?? "";
            return result.Status;
        }
        var status = ReadNewest(file!, out var newest, out var mayBeOld, out reason);
        if (status == IoStatus.Ok) opened = new SuperblockFile(file!) { Current = newest, MayBeOld = mayBeOld };
        else file!.Dispose();
        return status;
    }

    public static DiskResult Create(IDisk disk, Superblock first, out SuperblockFile? created)
    {
        created = null;
        var result = disk.Open(Name, create: true, out var file);
        if (!result.IsOk) return result;
        var made = new SuperblockFile(file!);
        result = file!.Preallocate(2 * Superblock.SlotBytes);
        if (result.IsOk) result = made.Write(first);
        if (result.IsOk) result = disk.SyncDirectoryOf(Name);
        if (result.IsOk) created = made;
        else made.Dispose();
        return result;
    }

    /// <summary>On media when it answers Ok. The write count is set here.</summary>
    public DiskResult Write(Superblock next)
    {
        var result = TryPut(next, out var put);
        if (result.IsOk) Current = put;
        return result;
    }

    /// <summary>The same without a change of <see cref="Current"/>, which is the loop's.</summary>
    public DiskResult TryPut(Superblock next, out Superblock put)
    {
        next = put = next with { WriteCount = next.WriteCount + 1 };
        Span<byte> bytes = stackalloc byte[Superblock.SizeBytes];
        next.Encode(bytes);
        var result = _file.WriteAll((long)(next.WriteCount & 1) * Superblock.SlotBytes, bytes);
        if (result.IsOk) result = _file.Sync();
        return result;
    }

    public void OnPut(Superblock put) => Current = put;

    public void Dispose() => _file.Dispose();

    private static IoStatus ReadNewest(IDiskFile file, out Superblock newest, out bool mayBeOld, out string reason)
    {
        (newest, mayBeOld, reason) = (default, false, "");
        var found = false;
        var blank = 0;
        Span<byte> bytes = stackalloc byte[Superblock.SizeBytes];
        for (var slot = 0; slot < 2; slot++)
        {
            bytes.Clear();
            var result = file.Read(slot * Superblock.SlotBytes, bytes);
            if (!result.IsOk)
            {
                reason = result.Detail ?? "";
                return IoStatus.DeviceError;
            }
            var status = Superblock.TryDecode(bytes, out var superblock);
            if (status == IoStatus.Unsupported)
            {
                reason = "it was written by a newer version, or with features that this one does not know";
                return status;
            }
            mayBeOld |= status is IoStatus.BadChecksum or IoStatus.Malformed && bytes.ContainsAnyExcept((byte)0);
            if (!bytes.ContainsAnyExcept((byte)0)) blank++;
            if (status != IoStatus.Ok || (found && superblock.WriteCount < newest.WriteCount)) continue;
            (newest, found) = (superblock, true);
        }
        if (found) return IoStatus.Ok;
        reason = "no slot of the superblock is whole";
        // The first write goes to one slot, and the open that would use the store to the other: with one blank, none was ever counted.
        return blank > 0 ? IoStatus.Missing : IoStatus.BadChecksum;
    }
}
