using System.Globalization;

namespace Cluster.Node.Hosting;

/// <summary>
/// The directory of one node: store/, journal/, attach/ (devices of this host), docker/ (mounts of the Docker plug-in). Held by one process at a time: the lock file is open exclusively while the node runs, and
/// the kernel frees it with the process however that ends.
/// </summary>
public sealed class DataDirectory : IDisposable
{
    /// <summary>EWOULDBLOCK: another process holds the lock.</summary>
    private const int LockedErrno = 11;

    /// <summary>EROFS.</summary>
    private const int ReadOnlyErrno = 30;

    private const string AsidePrefix = "journal.aside-";

    private readonly FileStream _lock;

    private DataDirectory(string path, FileStream held) => (Root, _lock) = (path, held);

    public string Root { get; }

    public string Store => Path.Combine(Root, "store");

    public string Journal => Path.Combine(Root, "journal");

    public string Attach => Path.Combine(Root, "attach");

    public string Docker => Path.Combine(Root, "docker");

    /// <summary>Makes what is absent. The error is one sentence.</summary>
    public static (DataDirectory? Directory, string Error) Open(string path)
    {
        try
        {
            Directory.CreateDirectory(path);
            var held = new FileStream(Path.Combine(path, "lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            var directory = new DataDirectory(path, held);
            Directory.CreateDirectory(directory.Store);
            Directory.CreateDirectory(directory.Journal);
            return (directory, "");
        }
        catch (UnauthorizedAccessException e)
        {
            return (null, $"The data directory {path} can't be used: {e.Message} "
                + "Run as a user who may write there, or give another --data.");
        }
        catch (IOException e) when (e.HResult == LockedErrno)
        {
            return (null, $"The data directory {path} is in use: is another node running on it? Stop that one, or give another --data.");
        }
        catch (IOException e) when (e.HResult == ReadOnlyErrno)
        {
            // Not another directory: this one has the node's copies.
            return (null, $"The data directory {path} is on a file system that is read-only, as one is after an error: look into the kernel's log (dmesg), check it (fsck), and mount it for writing.");
        }
        catch (IOException e)
        {
            return (null, $"The data directory {path} can't be used: {(File.Exists(path) ? "it is a file, not a directory" : e.Message.TrimEnd('.'))}. Give another --data.");
        }
    }

    /// <summary>Eras whose journals lie here put aside.</summary>
    public IReadOnlySet<Guid> ErasPutAside =>
        Directory.EnumerateDirectories(Root, AsidePrefix + "*").Select(path => Path.GetFileName(path)[AsidePrefix.Length..].Split('-')[0])
            .Select(text => Guid.TryParseExact(text, "N", out var era) ? era : Guid.Empty).ToHashSet();

    /// <summary>Of a node that does not run: it starts without a journal next time, and never joins that era again. Answers where the old one is.</summary>
    public static string PutJournalAside(string path, Guid era)
    {
        var aside = Path.Combine(path, $"{AsidePrefix}{era:N}-{DateTime.UtcNow.ToString("yyyyMMddHHmmssfff", CultureInfo.InvariantCulture)}");
        Directory.Move(Path.Combine(path, "journal"), aside);
        return aside;
    }

    public void Dispose() => _lock.Dispose();
}
