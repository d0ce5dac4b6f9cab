using System.Text.Json;
using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>
/// A note per volume, of <typeparamref name="T"/> as JSON, in a file of the volume's id: replaced as a whole, so that a process that is killed leaves the one or the other. A host that loses its power may lose
/// the newest: notes are of one boot of the host. Any thread; changes of one volume one at a time.
/// </summary>
/// <param name="directory">Made when it is needed.</param>
/// <param name="isValid">Whether what was read has all that it needs; a file that is no such note counts as none.</param>
internal sealed class VolumeNotes<T>(string directory, Func<T, bool> isValid)
    where T : class
{
    private const string Suffix = ".json";
    private const string Unfinished = ".new";

    /// <summary>Failed: nothing is noted anew, what was noted before is as it was.</summary>
    public AttachResult<Done> Write(VolumeId volume, T note)
    {
        var file = FileOf(volume);
        var written = Try($"The note {file} can't be written", () =>
        {
            Directory.CreateDirectory(directory);
            using (var stream = new FileStream(file + Unfinished, FileMode.Create, FileAccess.Write))
            {
                JsonSerializer.Serialize(stream, note);
                stream.Flush(flushToDisk: true);
            }
            File.Move(file + Unfinished, file, overwrite: true);
        });
        if (written.IsOk) return written;
        // What is left of it takes room where there is none; if it can't be deleted either the next start does it.
        Try("", () => File.Delete(file + Unfinished));
        return written;
    }

    public T? Read(VolumeId volume) => Read(FileOf(volume));

    public IEnumerable<T> All() => Files().Select(Read).OfType<T>();

    public AttachResult<Done> Delete(VolumeId volume) => Delete(FileOf(volume));

    public AttachResult<Done> DeleteAll(Func<T, bool> isIt)
    {
        foreach (var file in Files().Where(file => Read(file) is { } note && isIt(note)))
        {
            var deleted = Delete(file);
            if (!deleted.IsOk) return deleted;
        }
        return Done.Ok;
    }

    /// <summary>Deletes what processes that were killed in the middle have left. At the start, before anything is noted.</summary>
    public AttachResult<Done> Sweep()
    {
        if (!Directory.Exists(directory)) return Done.Ok;
        return Try($"Unfinished notes in {directory} can't be deleted", () =>
        {
            foreach (var file in Directory.GetFiles(directory, "*" + Suffix + Unfinished)) File.Delete(file);
        });
    }

    private string[] Files() => Directory.Exists(directory) ? Directory.GetFiles(directory, "*" + Suffix) : [];

    private static AttachResult<Done> Delete(string file) => Try($"The note {file} can't be deleted", () =>
    {
        if (File.Exists(file)) File.Delete(file);
    });

    private static AttachResult<Done> Try(string what, Action change)
    {
        try
        {
            change();
            return Done.Ok;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return AttachResult<Done>.Error(AttachStatus.Failed, $"{what}: {e.Message}. Look whether the file system of the node's data directory is full or read-only");
        }
    }

    private T? Read(string file)
    {
        try
        {
            return JsonSerializer.Deserialize<T>(File.ReadAllText(file)) is { } note && isValid(note) ? note : null;
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException or JsonException)
        {
            return null;
        }
    }

    private string FileOf(VolumeId volume) => Path.Combine(directory, volume + Suffix);
}
