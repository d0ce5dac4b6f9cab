namespace Cluster.Node.Store;

/// <summary>A block device as <see cref="DeviceDisk"/> wants it; the seam under which tests lose and tear un-synced sectors. Errors are values; any thread.</summary>
public interface IRawDevice : IDisposable
{
    /// <summary>Its path, for messages.</summary>
    string Description { get; }

    /// <summary>Tells devices, and file systems, apart.</summary>
    ulong Number { get; }

    /// <summary>All of its bytes as one file whose length never changes. Missing: there is no device.</summary>
    DiskResult Open(out IDiskFile? bytes);

    /// <summary>Takes it for this process until it is disposed. Busy: it is mounted, or another process has it.</summary>
    DiskResult Claim();
}
