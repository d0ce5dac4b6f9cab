using Cluster.Csi.Attach;

namespace Cluster.Csi.Csi;

/// <summary>
/// At which path each volume of this host is staged: once that is unmounted by hand, the kernel does not tell a staging path from a workload's. A note: {"Version":1,"BootId":"...","Generation":7,
/// "FullName":"db","Path":"/..."} in a file of the volume's id, replaced as a whole, on disk before the mount is made, until the volume is unstaged; of another boot of the host, or another generation of the
/// attachment, it says nothing. Any thread; changes of one volume one at a time.
/// </summary>
/// <param name="directory">Made when it is needed.</param>
public sealed class StagingNotes(string directory, string bootId)
{
    private const int Version = 1;

    private sealed record Note(int Version, string BootId, ulong Generation, string FullName, string Path);

    private readonly VolumeNotes<Note> _notes = new(directory, note => note is { Version: Version, BootId: not null, FullName: not null, Path: not null });

    /// <summary>Failed: nothing is noted, and nothing may be mounted.</summary>
    public AttachResult<Done> Write(DeviceIdentity identity, string fullName, string path) =>
        IsAt(identity, path) ? Done.Ok : _notes.Write(identity.Volume, new Note(Version, bootId, identity.Generation, fullName, path));

    public bool IsAt(DeviceIdentity identity, string path) =>
        _notes.Read(identity.Volume) is { } note && note.BootId == bootId && note.Generation == identity.Generation && note.Path == path;

    /// <summary>Of a volume of this name, also one that is not there any more.</summary>
    public AttachResult<Done> Delete(string fullName) => _notes.DeleteAll(note => note.FullName == fullName);

    /// <summary>See <see cref="VolumeNotes{T}.Sweep"/>.</summary>
    public AttachResult<Done> Sweep() => _notes.Sweep();
}
