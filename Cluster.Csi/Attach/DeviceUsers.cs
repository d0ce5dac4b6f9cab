using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>For whom something of a device was made on this host.</summary>
public enum DeviceUser
{
    Unset = 0,
    /// <summary>`volume attach`, until `volume detach`.</summary>
    Operator,
    /// <summary>Docker's volume plug-in, as long as a container has it.</summary>
    Docker,
    /// <summary>Nobody that is noted here: a CSI workload where the volume is published to this node, else a mount made by hand.</summary>
    Other,
}

/// <summary>
/// Who else has a device of this host: each takes away only what it made, and the device and the attachment go with the last. Docker's mounts are known by their path, the operator's by a
/// note, CSI's by the volume's publication to this node. A note: {"Version":1,"BootId":"...","Generation":7,"FullName":"db","Paths":[...]} in a file of the volume's id, replaced as a whole, on disk
/// before the device is made; of another boot of the host, or another generation of the attachment, it says nothing. Any thread; changes of one volume one at a time.
/// </summary>
/// <param name="notes">A directory, made when it is needed.</param>
/// <param name="dockerMounts">Where Docker's mounts are, each under its volume's full name.</param>
public sealed class DeviceUsers(string notes, string dockerMounts, string bootId)
{
    private const int Version = 1;

    private readonly string _dockerMounts = Real(dockerMounts);
    private readonly VolumeNotes<Note> _notes = new(notes, note => note is { Version: Version, BootId: not null, FullName: not null, Paths: not null });

    private sealed record Note(int Version, string BootId, ulong Generation, string FullName, string[] Paths);

    /// <summary>The operator has the device from here on, mounted at the path unless that is null. Failed: it is not noted, and nothing may be made.</summary>
    public AttachResult<Done> Hold(DeviceIdentity identity, string fullName, string? path)
    {
        var paths = PathsOf(identity) ?? [];
        if (path is not null && !paths.Contains(Real(path), StringComparer.Ordinal)) paths = [.. paths, Real(path)];
        return _notes.Write(identity.Volume, new Note(Version, bootId, identity.Generation, fullName, paths));
    }

    /// <summary>The operator has no device of the volume any more.</summary>
    public AttachResult<Done> Release(VolumeId volume) => _notes.Delete(volume);

    /// <summary>See <see cref="VolumeNotes{T}.Sweep"/>.</summary>
    public AttachResult<Done> Sweep() => _notes.Sweep();

    public bool IsHeld(DeviceIdentity identity) => PathsOf(identity) is not null;

    /// <summary>Whose a mount of the device is.</summary>
    public DeviceUser Of(DeviceIdentity identity, MountEntry mount) =>
        mount.Path.StartsWith(_dockerMounts + "/", StringComparison.Ordinal) ? DeviceUser.Docker
        : PathsOf(identity)?.Contains(mount.Path, StringComparer.Ordinal) == true ? DeviceUser.Operator : DeviceUser.Other;

    /// <summary>
    /// The volumes that the operator or Docker has here, by full name, as another node may ask (GET /v1/open-volumes): with the generation of the operator's attachment, which says nothing once the volume
    /// has a newer one; null where Docker has it mounted.
    /// </summary>
    public IReadOnlyDictionary<string, ulong?> OutsideCsi()
    {
        var held = new Dictionary<string, ulong?>(StringComparer.Ordinal);
        // Of two volumes that had one name after each other the newer one's attachment need not be the higher: what may be in use counts.
        foreach (var note in _notes.All().Where(note => note.BootId == bootId)) held[note.FullName] = Math.Max(note.Generation, held.GetValueOrDefault(note.FullName) ?? 0);
        foreach (var mount in MountTable.Read().Where(mount => mount.Path.StartsWith(_dockerMounts + "/", StringComparison.Ordinal))) held[mount.Path[(_dockerMounts.Length + 1)..]] = null;
        return held;
    }

    private string[]? PathsOf(DeviceIdentity identity) =>
        _notes.Read(identity.Volume) is { } note && note.BootId == bootId && note.Generation == identity.Generation ? note.Paths : null;

    /// <summary>As the kernel will show it once it is mounted over: without links, also where its end is not there yet.</summary>
    private static string Real(string path)
    {
        var trimmed = path.Length > 1 ? path.TrimEnd('/') : path;
        if (Native.RealPath(trimmed) is { } real) return real;
        return Path.GetDirectoryName(trimmed) is { } above ? Path.Combine(Real(above), Path.GetFileName(trimmed)) : trimmed;
    }
}
