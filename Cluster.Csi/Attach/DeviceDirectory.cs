using System.Text.Json;

namespace Cluster.Csi.Attach;

/// <summary>What is known of a device besides what the kernel knows. No decision rests on it but messages and the name of an export.</summary>
internal sealed record DeviceNote(int Version, string FullName, ulong SizeBytes, bool ReadOnly);

/// <summary>
/// The directory of one device, ROOT/v12.7: the identity is its name. Files: note.json; export, an empty file that the FUSE file is mounted
/// over; daemon.log; of a device of the kernel's NBD client, gone: it was cut off for good, and only waits for its last user. Nothing in it outlives the device.
/// </summary>
internal sealed class DeviceDirectory(string root, DeviceIdentity identity)
{
    private const int NoteVersion = 1;
    private static readonly string[] Files = ["note.json", "note.json.new", "export", "daemon.log", "gone"];

    public DeviceIdentity Identity => identity;

    public string Path { get; } = System.IO.Path.Combine(root, identity.ToString());

    /// <summary>What the FUSE file is mounted over, and the loop device's file.</summary>
    public string Export => System.IO.Path.Combine(Path, "export");

    public string Log => System.IO.Path.Combine(Path, "daemon.log");

    public bool Exists => Directory.Exists(Path);

    /// <summary>Set before the device is cut off, as the kernel does not tell that from a lost connection.</summary>
    public bool IsGone => File.Exists(Gone);

    private string Gone => System.IO.Path.Combine(Path, "gone");

    /// <summary>Those there are under the root, of any state. Other names are none of ours.</summary>
    public static IEnumerable<DeviceDirectory> All(string root)
    {
        if (!Directory.Exists(root)) yield break;
        foreach (var path in Directory.EnumerateDirectories(root))
        {
            if (DeviceIdentity.TryParse(System.IO.Path.GetFileName(path), out var identity)) yield return new DeviceDirectory(root, identity);
        }
    }

    /// <summary>The identity of a loop device's file, if that is in a directory under the root.</summary>
    public static DeviceIdentity? IdentityOf(string root, string backingFile)
    {
        if (System.IO.Path.GetFileName(backingFile) != "export" || System.IO.Path.GetDirectoryName(backingFile) is not { } directory) return null;
        if (System.IO.Path.GetDirectoryName(directory) != root) return null;
        return DeviceIdentity.TryParse(System.IO.Path.GetFileName(directory), out var identity) ? identity : null;
    }

    public void SetGone()
    {
        Directory.CreateDirectory(Path);
        File.WriteAllBytes(Gone, []);
    }

    public void Make(AttachTarget target)
    {
        Directory.CreateDirectory(Path);
        var note = System.IO.Path.Combine(Path, "note.json");
        File.WriteAllText(note + ".new", JsonSerializer.Serialize(new DeviceNote(NoteVersion, target.FullName, target.SizeBytes, target.ReadOnly)));
        File.Move(note + ".new", note, overwrite: true);
    }

    /// <summary>For messages: "?" where no note says it. Reads a file, and is gone with the device.</summary>
    public string NameOfVolume => ReadNote()?.FullName ?? "?";

    public DeviceNote? ReadNote()
    {
        try
        {
            var note = JsonSerializer.Deserialize<DeviceNote>(File.ReadAllText(System.IO.Path.Combine(Path, "note.json")));
            return note is { Version: NoteVersion } ? note : null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            return null;
        }
    }

    /// <summary>Only files that are ours, and the directory only if nothing else is in it: what may be mounted below is never descended into.</summary>
    public void Delete()
    {
        if (!Exists) return;
        foreach (var file in Files) File.Delete(System.IO.Path.Combine(Path, file));
        Directory.Delete(Path, recursive: false);
    }
}
