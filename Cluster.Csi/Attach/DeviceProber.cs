using Microsoft.Win32.SafeHandles;

namespace Cluster.Csi.Attach;

/// <summary>
/// What is on a device. Anything that some program may know counts: signatures by two programs' lists (blkid, wipefs), and, where they find none,
/// any byte that is not zero.
/// </summary>
internal sealed class DeviceProber(Func<AttachedDevice, CancellationToken, Task<AttachResult<bool>>> holdsData)
{
    private const int BlkidFoundNothing = 2;
    private const int BlkidAmbivalent = 8;

    /// <summary>The device claimed, so that nobody mounts or formats it meanwhile; InUse if somebody has.</summary>
    public static AttachResult<SafeFileHandle> Claim(AttachedDevice device, bool write)
    {
        var handle = Native.Open(device.Path, (write ? Native.ReadWrite : Native.ReadOnly) | Native.Exclusive, out var error);
        if (error == 0) return handle;
        handle.Dispose();
        return error switch
        {
            Native.Busy => AttachResult<SafeFileHandle>.Error(AttachStatus.InUse,
                MountTable.Elsewhere(device.Path) is { } holder ? $"{device.Path} is in use by {holder}" : $"{device.Path} is in use: it is mounted, or a format of it runs"),
            Native.NoSuchEntry or Native.NoSuchDevice => AttachResult<SafeFileHandle>.Error(AttachStatus.NotFound, $"there is no device {device.Path}"),
            _ => AttachResult<SafeFileHandle>.Error(AttachStatus.Failed, $"{device.Path} can't be opened: error {error}"),
        };
    }

    /// <param name="claimed">From <see cref="Claim"/>.</param>
    public async Task<AttachResult<DeviceProbe>> ProbeAsync(AttachedDevice device, SafeFileHandle claimed, CancellationToken cancellation)
    {
        if (HostProgram.Missing("blkid", "wipefs") is { } missing) return AttachResult<DeviceProbe>.Error(AttachStatus.NotSupported, missing);
        try
        {
            var first = new byte[FormatMarker.SizeBytes];
            RandomAccess.Read(claimed, first, 0);
            if (FormatMarker.Is(first)) return new DeviceProbe(DeviceContent.UnfinishedFormat, FileSystemKind.Unset, "a format that was not finished");
        }
        catch (IOException e)
        {
            return AttachResult<DeviceProbe>.Error(AttachStatus.Failed, $"{device.Path} can't be read: {e.Message}");
        }
        var run = await HostProgram.RunAsync("blkid", ["-p", "-o", "export", device.Path], cancellation).ConfigureAwait(false);
        if (run.Exit is not (0 or BlkidFoundNothing or BlkidAmbivalent)) return AttachResult<DeviceProbe>.Error(AttachStatus.Failed, run.Reason);
        if (run.Exit == BlkidAmbivalent) return new DeviceProbe(DeviceContent.Other, FileSystemKind.Unset, "signatures of several formats");
        var found = Found(run.Output);
        var signatures = await HostProgram.RunAsync("wipefs", ["--no-act", "--noheadings", "--output", "TYPE", device.Path], cancellation).ConfigureAwait(false);
        if (!signatures.IsOk) return AttachResult<DeviceProbe>.Error(AttachStatus.Failed, signatures.Reason);
        if (Decide(found, signatures.Output) is { } probe) return probe;
        var data = await holdsData(device, cancellation).ConfigureAwait(false);
        if (!data.IsOk) return data.To<DeviceProbe>();
        return data.Value
            ? new DeviceProbe(DeviceContent.Other, FileSystemKind.Unset, "bytes that are no format that is known here")
            : new DeviceProbe(DeviceContent.Blank, FileSystemKind.Unset, "nothing");
    }

    /// <summary>Null: no signature. A file system counts as one only if there is nothing else.</summary>
    internal static DeviceProbe? Decide(string blkid, string wipefs)
    {
        string[] types = [.. wipefs.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Append(blkid)
            .Where(type => type.Length > 0).Distinct(StringComparer.Ordinal)];
        if (types.Length == 0) return null;
        return types.Length == 1 && FileSystems.TryParse(types[0], out var kind)
            ? new DeviceProbe(DeviceContent.FileSystem, kind, types[0])
            : new DeviceProbe(DeviceContent.Other, FileSystemKind.Unset, string.Join(" and ", types));
    }

    /// <summary>The type that blkid names, or the partition table's, or "".</summary>
    internal static string Found(string export)
    {
        var lines = export.Split('\n', StringSplitOptions.TrimEntries);
        string Value(string key) => lines.FirstOrDefault(line => line.StartsWith(key + "=", StringComparison.Ordinal))?[(key.Length + 1)..] ?? "";
        return Value("TYPE") is { Length: > 0 } type ? type : Value("PTTYPE") is { Length: > 0 } table ? $"{table} partition table" : "";
    }
}
