using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.WarmUp;

/// <summary>A disk without a file, below one that keeps all in memory.</summary>
internal sealed class WarmUpDisk : IDisk
{
    public string Description => "memory";

    public long FreeBytes => long.MaxValue;

    public ulong FileSystem => 0;

    public DiskResult TryLock() => DiskResult.Done();

    public DiskResult Open(string name, bool create, out IDiskFile? file)
    {
        file = null;
        return DiskResult.Failed(IoStatus.Missing, name);
    }

    public DiskResult List(List<string> names) => DiskResult.Done();

    public DiskResult Delete(string name) => DiskResult.Done();

    public DiskResult Rename(string from, string to) => DiskResult.Failed(IoStatus.Missing, from);

    public DiskResult SyncDirectory() => DiskResult.Done();

    public void Dispose()
    {
    }
}
