using System.Net;

namespace Cluster.Node.Cli.Preflight;

/// <summary>What a data directory allows. Everything is tried with a file of the probe's own, which is gone afterwards.</summary>
/// <param name="WriteError">Why nothing can be written there; empty: it can.</param>
/// <param name="PreallocateError">Why fallocate fails; empty: it works.</param>
/// <param name="SyncMs">The median of some fdatasync calls behind a write of 4 KiB, in milliseconds.</param>
/// <param name="InUse">A node runs on it.</param>
internal sealed record DirectoryProbe(string WriteError, string PreallocateError, double SyncMs, bool InUse);

/// <summary>What is on a path that is named as a disk of a store.</summary>
internal enum DiskContent
{
    Unset = 0,

    /// <summary>Nothing: it is taken into use.</summary>
    Blank,

    /// <summary>The label of a store's disk.</summary>
    Labelled,

    /// <summary>Something else: a node refuses it.</summary>
    Other,
}

/// <summary>A path that is named as a disk of a store.</summary>
/// <param name="IsDevice">A block device; else a directory.</param>
/// <param name="Error">Why it can't be used; empty: it can be opened and written.</param>
/// <param name="IsTaken">A device that is mounted, part of something else, or in use by another process.</param>
/// <param name="What">Of Labelled the store's id, of Other what there is.</param>
/// <param name="FreeBytes">What a disk of a store could still take.</param>
internal sealed record DiskLook(bool IsDevice, string Error, bool IsTaken, DiskContent Content, string What, long FreeBytes);

/// <summary>Where a socket is to be made.</summary>
/// <param name="Error">Why it can't be; empty: it can.</param>
/// <param name="IsServed">A live process has it.</param>
internal sealed record SocketLook(string Error, bool IsServed);

/// <summary>A file system as statvfs(3) tells it.</summary>
internal sealed record FileSystemRoom(long TotalBytes, long AvailableBytes);

/// <summary>The kernel's own word on its clock, adjtimex(2).</summary>
/// <param name="IsSynchronised">A time service steers it.</param>
/// <param name="ErrorMaxMs">The most that it may be off, in milliseconds, as that service says.</param>
internal sealed record ClockState(bool IsSynchronised, double ErrorMaxMs);

/// <summary>The host, as far as the checks look at it; nothing is changed. Any thread.</summary>
internal interface IPreflightHost
{
    /// <summary>The release of the running kernel, such as 6.12.9-amd64.</summary>
    string KernelRelease { get; }

    /// <summary>A small file's text; null if it is absent or can't be read.</summary>
    string? Read(string path);

    bool Exists(string path);

    /// <summary>Why the file can't be opened for reading and writing; empty: it can.</summary>
    string OpenError(string path);

    /// <summary>Why the kernel's NBD client can't be used; empty: it can. Asking loads the module if the host has it.</summary>
    string KernelNbdError { get; }

    /// <summary>The program's file in the system's directories, or null.</summary>
    string? FindProgram(string name);

    /// <summary>Of the file system that holds the path, or what will hold it once it is made; null if that can't be told.</summary>
    FileSystemRoom? Room(string path);

    /// <summary>Tries an existing directory.</summary>
    DirectoryProbe Try(string directory);

    /// <summary>Looks at an existing directory or device; nothing is written to a device, and to a directory only the probe's own file.</summary>
    DiskLook LookAtDisk(string path);

    SocketLook LookAtSocket(string path);

    /// <summary>Why the address and port can't be listened at; empty: they can.</summary>
    string ListenError(IPAddress address, int port);

    /// <summary>Null if the kernel does not say.</summary>
    ClockState? Clock();

    /// <summary>The addresses of a host name; empty if it has none or nobody answers in time.</summary>
    Task<IReadOnlyList<IPAddress>> ResolveAsync(string name, CancellationToken cancellation);
}
