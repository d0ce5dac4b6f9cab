using System.Globalization;
using Cluster.Csi.Attach;

namespace Cluster.Node.Cli.Preflight;

/// <summary>
/// What volumes as devices and mounts of the host need. A node without all of it serves NBD and the API all the same, so that here a failure is one only for a
/// node of Kubernetes.
/// </summary>
internal static class DeviceChecks
{
    private const int SysAdmin = 21;
    private const int SysResource = 24;

    public static IEnumerable<Finding> All(IPreflightHost host, PreflightRequest request)
    {
        var attacher = request.Options.Attacher;
        var kernelError = attacher == AttacherChoice.FuseLoop ? "" : host.KernelNbdError;
        var isKernel = attacher == AttacherChoice.KernelNbd || (attacher == AttacherChoice.Auto && kernelError.Length == 0);
        IEnumerable<Finding> all = [Capabilities(host), Needed(Fuse(host), !isKernel), Needed(Loop(host), !isKernel), Nbd(attacher, kernelError), Tools(host)];
        foreach (var finding in all)
        {
            yield return finding.Level == FindingLevel.Fail && !request.Kubernetes
                ? finding with { Level = FindingLevel.Warn, Found = $"{finding.Found}; volumes can't be devices or mounts of this host, all else works" }
                : finding;
        }
        if (request.Kubernetes) yield return Kubelet(host, request.KubeletDirectory);
    }

    private static Finding Capabilities(IPreflightHost host)
    {
        var line = host.Read("/proc/self/status")?.Split('\n').FirstOrDefault(line => line.StartsWith("CapEff:", StringComparison.Ordinal));
        if (!ulong.TryParse(line?["CapEff:".Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var have))
            return Finding.Warn("capabilities", "/proc/self/status can't be read", "run the node as root");
        if ((have >> SysAdmin & 1) == 0) return Finding.Fail("capabilities", "this process has no CAP_SYS_ADMIN, which mounts and loop devices need", "run as root (in a container: securityContext.privileged: true, or docker run --privileged)");
        return (have >> SysResource & 1) == 0
            ? Finding.Warn("capabilities", "no CAP_SYS_RESOURCE: a mounted ext4 grows only when it is mounted the next time", "give the process this capability, as a root shell of a host has it (in a container: privileged)")
            : Finding.Ok("capabilities", "CAP_SYS_ADMIN and CAP_SYS_RESOURCE");
    }

    private static Finding Fuse(IPreflightHost host)
    {
        if (!host.Exists("/dev/fuse")) return Finding.Fail("fuse", "there is no /dev/fuse", "modprobe fuse; echo fuse > /etc/modules-load.d/myrmidon-fuse.conf (in a container: mount the host's /dev)");
        var error = host.OpenError("/dev/fuse");
        return error.Length > 0 ? Finding.Fail("fuse", $"/dev/fuse can't be opened: {error}", "run as root (in a container: privileged)") : Finding.Ok("fuse", "/dev/fuse opens");
    }

    private static Finding Loop(IPreflightHost host)
    {
        if (!host.Exists("/dev/loop-control")) return Finding.Fail("loop", "there is no /dev/loop-control", "modprobe loop; echo loop > /etc/modules-load.d/myrmidon-loop.conf (in a container: mount the host's /dev)");
        var error = host.OpenError("/dev/loop-control");
        return error.Length > 0 ? Finding.Fail("loop", $"/dev/loop-control can't be opened: {error}", "run as root (in a container: privileged)")
            : Finding.Ok("loop", "/dev/loop-control opens; the kernel makes devices as they are needed");
    }

    private static Finding Needed(Finding finding, bool isNeeded) => isNeeded || finding.Level == FindingLevel.Ok ? finding
        : Finding.Ok(finding.Check, $"{finding.Found}; not needed, as devices are made by the kernel's NBD client");

    /// <summary>What devices are made by, and why.</summary>
    private static Finding Nbd(AttacherChoice choice, string kernelError) => (choice, kernelError) switch
    {
        (AttacherChoice.FuseLoop, _) => Finding.Ok("nbd", "devices are made by FUSE and loop devices, as the setting attacher says"),
        (AttacherChoice.KernelNbd, "") => Finding.Ok("nbd", "devices are made by the kernel's NBD client, as the setting attacher says"),
        (AttacherChoice.KernelNbd, _) => Finding.Fail("nbd", $"the setting attacher asks for the kernel's NBD client, but {kernelError}",
            "modprobe nbd; echo nbd > /etc/modules-load.d/myrmidon-nbd.conf (or set attacher to auto)"),
        (_, "") => Finding.Ok("nbd", "devices are made by the kernel's NBD client, which this host has"),
        _ => Finding.Ok("nbd", $"devices are made by FUSE and loop devices: {kernelError}"),
    };

    private static Finding Tools(IPreflightHost host)
    {
        var missing = HostPrograms.Packages.Where(program => host.FindProgram(program.Key) is null).ToArray();
        if (missing.Length == 0) return Finding.Ok("tools", string.Join(", ", HostPrograms.Packages.Keys));
        return Finding.Fail("tools", $"missing: {string.Join(", ", missing.Select(program => program.Key))}",
            $"apt-get install {string.Join(' ', missing.Select(program => program.Value).Distinct(StringComparer.Ordinal))}");
    }

    /// <summary>What the node mounts must be seen by the kubelet and by pods: the mount that holds the directory is shared.</summary>
    private static Finding Kubelet(IPreflightHost host, string directory)
    {
        if (!host.Exists(directory)) return Finding.Fail("kubelet-dir", $"there is no {directory}", "give the kubelet's --root-dir with --kubelet-dir (in the pod: kubeletDirectory of the chart, the hostPath of the manifests)");
        var table = host.Read("/proc/self/mountinfo") ?? "";
        if (MountTable.Holding(MountTable.Parse(table), directory) is not { Mount: var mount }) return Finding.Warn("kubelet-dir", "/proc/self/mountinfo can't be read", "make sure that the mount of the directory is shared");
        var line = table.Split('\n').Last(line => line.StartsWith(string.Create(CultureInfo.InvariantCulture, $"{mount.Id} "), StringComparison.Ordinal));
        var isShared = line.Split(" - ")[0].Split(' ').Skip(6).Any(field => field.StartsWith("shared:", StringComparison.Ordinal));
        return isShared
            ? Finding.Ok("kubelet-dir", $"{directory} lies in the shared mount {mount.Path}")
            : Finding.Fail("kubelet-dir", $"{directory} lies in the mount {mount.Path}, which is private: pods would not see what is mounted there", $"on the host: mount --make-rshared {mount.Path} (in the pod: mountPropagation: Bidirectional)");
    }
}
