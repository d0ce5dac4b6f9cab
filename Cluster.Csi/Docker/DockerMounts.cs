using System.Text.Json;

namespace Cluster.Csi.Docker;

/// <summary>
/// Who has which volume mounted, by Docker's ids: one file per volume that somebody has, or had until a moment ago. Of another boot of the host it says
/// nothing. Layout: {"Version":1,"BootId":"...","Name":"...","Ids":[...],"OwnsAttachment":true}, replaced as a whole. A file without ids is a mount or an
/// unmount that is not finished. OwnsAttachment: before Docker's first mount the volume was not attached to this node, or only for CSI; one that is absent (written by an earlier version) is true.
/// </summary>
internal sealed class DockerMounts(string directory, string bootId)
{
    private const int Version = 1;
    private const string Extension = ".json";

    private sealed record Users(int Version, string BootId, string Name, string[] Ids, bool OwnsAttachment = true);

    /// <summary>The ids, or null when nobody has, or had, it.</summary>
    public IReadOnlyList<string>? Read(string volume) => ReadFile(PathOf(volume))?.Ids;

    /// <summary>Whether the volume's attachment was made for Docker.</summary>
    public bool OwnsAttachment(string volume) => ReadFile(PathOf(volume)) is { OwnsAttachment: true };

    /// <summary>Every volume with a file: its name, Docker's name of it, the ids.</summary>
    public IReadOnlyList<(string Volume, string Name, IReadOnlyList<string> Ids)> All()
    {
        if (!Directory.Exists(directory)) return [];
        var all = new List<(string, string, IReadOnlyList<string>)>();
        foreach (var path in Directory.EnumerateFiles(directory, "*" + Extension).Order(StringComparer.Ordinal))
        {
            if (ReadFile(path) is { } users) all.Add((Path.GetFileNameWithoutExtension(path), users.Name, users.Ids));
            else File.Delete(path);
        }
        return all;
    }

    /// <summary>On disk when this returns: an answer to Docker rests on it.</summary>
    public void Write(string volume, string name, IEnumerable<string> ids, bool ownsAttachment = true)
    {
        Directory.CreateDirectory(directory);
        var path = PathOf(volume);
        using (var file = new FileStream(path + ".new", FileMode.Create, FileAccess.Write))
        {
            JsonSerializer.Serialize(file, new Users(Version, bootId, name, [.. ids], ownsAttachment));
            file.Flush(flushToDisk: true);
        }
        File.Move(path + ".new", path, overwrite: true);
    }

    public void Delete(string volume)
    {
        // Not there before the first mount.
        if (Directory.Exists(directory)) File.Delete(PathOf(volume));
    }

    private string PathOf(string volume) => Path.Combine(directory, volume + Extension);

    private Users? ReadFile(string path)
    {
        try
        {
            var users = JsonSerializer.Deserialize<Users>(File.ReadAllText(path));
            return users is { Version: Version, Ids: not null, Name: not null } && users.BootId == bootId ? users : null;
        }
        catch (Exception e) when (e is IOException or JsonException)
        {
            return null;
        }
    }
}
