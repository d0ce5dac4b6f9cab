namespace Cluster.Node.Hosting;

/// <summary>
/// The directory of one node: store/, journal/. Held by one process at a time: the lock file is open exclusively while the node runs, and
/// the kernel frees it with the process however that ends.
/// </summary>
public sealed class DataDirectory : IDisposable
{
    private readonly FileStream _lock;

    private DataDirectory(string path, FileStream held) => (Root, _lock) = (path, held);

    public string Root { get; }

    public string Store => Path.Combine(Root, "store");

    public string Journal => Path.Combine(Root, "journal");

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
        catch (IOException e)
        {
            return (null, $"The data directory {path} can't be used; is another node running on it? {e.Message}");
        }
    }

    public void Dispose() => _lock.Dispose();
}
