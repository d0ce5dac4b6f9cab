using System.Text.Json;
using Cluster.Csi.Attach;
using Cluster.Messages.Model;

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

    /// <summary>Errors of the file system are thrown: nothing is mounted then.</summary>
    public void Write(DeviceIdentity identity, string fullName, string path)
    {
        if (IsAt(identity, path)) return;
        Directory.CreateDirectory(directory);
        var file = FileOf(identity.Volume);
        using (var stream = new FileStream(file + ".new", FileMode.Create, FileAccess.Write))
        {
            JsonSerializer.Serialize(stream, new Note(Version, bootId, identity.Generation, fullName, path));
            stream.Flush(flushToDisk: true);
        }
        File.Move(file + ".new", file, overwrite: true);
    }

    public bool IsAt(DeviceIdentity identity, string path) =>
        Read(FileOf(identity.Volume)) is { } note && note.BootId == bootId && note.Generation == identity.Generation && note.Path == path;

    /// <summary>Of a volume of this name, also one that is not there any more.</summary>
    public void Delete(string fullName)
    {
        if (!Directory.Exists(directory)) return;
        foreach (var file in Directory.GetFiles(directory, "*.json").Where(file => Read(file)?.FullName == fullName)) File.Delete(file);
    }

    private static Note? Read(string file)
    {
        try
        {
            var note = JsonSerializer.Deserialize<Note>(File.ReadAllText(file));
            return note is { Version: Version, BootId: not null, FullName: not null, Path: not null } ? note : null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            return null;
        }
    }

    private string FileOf(VolumeId volume) => Path.Combine(directory, $"{volume}.json");
}
