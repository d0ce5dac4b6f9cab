using Cluster.Messages.Model;

namespace Cluster.Node.Store;

/// <summary>
/// The file with the two slots of the <see cref="DiskRoster"/>, in the home of the store. Each write goes to the slot that does not hold the newest one, and is followed by
/// fdatasync. Blocks; at open, and by the job that notes a failed disk.
/// </summary>
public static class DiskRosterFile
{
    public const string Name = "disks";

    /// <summary>Missing: there is none, or only one that was never completed; BadChecksum, Unsupported: there is one that can't be used.</summary>
    public static IoStatus TryRead(IDisk home, out DiskRoster? newest, out string reason)
    {
        (newest, reason) = (null, "");
        var result = home.Open(Name, create: false, out var file);
        if (result.IsOk)
        {
            var status = ReadNewest(file!, out newest, out _, out reason);
            file!.Dispose();
            return status;
        }
        reason = result.Detail ?? "";
        return result.Status;
    }

    /// <summary>The list can be used, and one of its slots was written once and is bad now: the other may be older.</summary>
    public static bool MayBeOld(IDisk home)
    {
        if (!home.Open(Name, create: false, out var file).IsOk) return false;
        using (file) return ReadNewest(file!, out _, out var mayBeOld, out _) == IoStatus.Ok && mayBeOld;
    }

    /// <summary>Whatever was read of it is on media when it answers Ok, unless an fdatasync of it had failed.</summary>
    public static DiskResult Sync(IDisk home)
    {
        var result = home.Open(Name, create: false, out var file);
        if (!result.IsOk) return result.Status == IoStatus.Missing ? DiskResult.Done() : result;
        result = file!.Sync();
        file.Dispose();
        return result.IsOk ? home.SyncDirectory() : result;
    }

    /// <summary>On media when it answers Ok. The write count is set here.</summary>
    public static DiskResult Write(IDisk home, DiskRoster next, out DiskRoster put)
    {
        put = next with { WriteCount = next.WriteCount + 1 };
        var result = home.Open(Name, create: true, out var file);
        if (!result.IsOk) return result;
        var isNew = file!.LengthBytes < 2 * DiskRoster.SizeBytes;
        if (isNew) result = file.Preallocate(2 * DiskRoster.SizeBytes);
        var bytes = new byte[DiskRoster.SizeBytes];
        put.Encode(bytes);
        if (result.IsOk) result = file.WriteAll((long)(put.WriteCount & 1) * DiskRoster.SizeBytes, bytes);
        if (result.IsOk) result = file.Sync();
        file.Dispose();
        // The name too: a crash may have come between the first write and this.
        return result.IsOk ? home.SyncDirectory() : result;
    }

    /// <summary>
    /// Takes a disk out of the list of a store that no process has open; the caller has the lock. What it held and was not mended is lost here: volumes that had blocks there are damaged by the next open.
    /// A disk that the next open may still need is not forgotten. Null, or why not, in a sentence without its full stop.
    /// </summary>
    public static string? Forget(IDisk home, Guid disk)
    {
        var status = TryRead(home, out var roster, out var reason);
        if (status == IoStatus.Missing) return $"the store at {home.Description} has no disks beside its own directory";
        if (status != IoStatus.Ok) return $"the list of disks at {home.Description} can't be used: {reason}";
        if (roster!.Find(disk) is not { } entry)
            return $"the store at {home.Description} knows no disk {disk:N}; it has {string.Join(", ", roster.Entries.Select(known => $"{known.Disk:N} ({known.Path})"))}";
        if (entry is { Without: false, Empty: false }) return $"disk {disk:N} at {entry.Path} is in use, or the end of the log may be on it: start the node once without it first";
        var result = Write(home, roster with { Entries = roster.Entries.Remove(entry) }, out _);
        return result.IsOk ? null : $"the list of disks at {home.Description} can't be written: {result.Detail}";
    }

    private static IoStatus ReadNewest(IDiskFile file, out DiskRoster? newest, out bool mayBeOld, out string reason)
    {
        (newest, mayBeOld, reason) = (null, false, "");
        var blank = 0;
        var bytes = new byte[DiskRoster.SizeBytes];
        for (var slot = 0; slot < 2; slot++)
        {
            bytes.AsSpan().Clear();
            var result = file.Read(slot * DiskRoster.SizeBytes, bytes);
            if (!result.IsOk)
            {
                reason = result.Detail ?? "";
                return IoStatus.DeviceError;
            }
            var status = DiskRoster.TryDecode(bytes, out var roster);
            if (status == IoStatus.Unsupported)
            {
                reason = "it was written by a newer version";
                return status;
            }
            if (!bytes.AsSpan().ContainsAnyExcept((byte)0)) blank++;
            else if (status != IoStatus.Ok) mayBeOld = true;
            if (status == IoStatus.Ok && (newest is null || roster!.WriteCount > newest.WriteCount)) newest = roster;
        }
        if (newest is not null) return IoStatus.Ok;
        reason = "no slot of it is whole";
        // The first write goes to one slot: with the other blank, it may never have been completed.
        return blank > 0 ? IoStatus.Missing : IoStatus.BadChecksum;
    }
}
