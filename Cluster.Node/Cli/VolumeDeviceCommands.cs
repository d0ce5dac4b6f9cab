using System.CommandLine;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;

namespace Cluster.Node.Cli;

/// <summary>`myrmidon volume attach`, `detach` and `devices`: who may use a volume, and as what on this host.</summary>
internal static class VolumeDeviceCommands
{
    private static readonly string[] Columns = ["VOLUME", "DEVICE", "SIZE", "KIND", "MOUNTED AT", "STATE"];

    public static Command Attach(Argument<VolumeName> name)
    {
        var node = new Option<string?>("--node")
        {
            Description = "Attach to this node, without a device unless one is asked for; default: the node that answers, with a device on its host",
            HelpName = "NODE",
        };
        var device = new Option<bool>("--device") { Description = "As a block device of the node's host, also with --node" };
        var mount = new Option<string?>("--mount") { Description = "Mount the device there; a blank volume gets a file system first", HelpName = "PATH" };
        var fileSystem = new Option<string?>("--fs") { Description = "ext4 or xfs; default: the one that the volume has, ext4 if it is blank", HelpName = "FS" };
        var options = new Option<string?>("--options") { Description = "As for mount -o, such as noatime,discard", HelpName = "LIST" };
        var formatOptions = new Option<string?>("--format-options")
        { Description = "Arguments for mkfs of a blank volume, with spaces between them, such as \"-m 0 -L data\"; with --mount", HelpName = "ARGS" };
        var readOnly = new Option<bool>("--read-only") { Description = "Device and mount take no writes" };
        var command = new VerbCommand("attach",
            "Attach a volume to one node, as a block device of its host. Whoever used it before is fenced off first. Devices need root on that host.",
            "myrmidon volume attach db", "myrmidon volume attach db --mount /srv/db --fs xfs --options noatime", "myrmidon volume attach db --node node-1")
        {
            name, node, device, mount, fileSystem, options, formatOptions, readOnly,
        };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var volume = parsed.GetRequiredValue(name);
            var wanted = parsed.GetValue(device) || parsed.GetValue(mount) is not null || parsed.GetValue(readOnly) || parsed.GetValue(node) is null;
            if (!wanted) return await AttachOnlyAsync(client, printer, volume, parsed.GetValue(node)!, cancellation);
            var request = new DeviceRequest
            {
                Node = parsed.GetValue(node),
                Mount = parsed.GetValue(mount) is { } path ? Path.GetFullPath(path) : null,
                FileSystem = parsed.GetValue(fileSystem),
                MountOptions = parsed.GetValue(options)?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
                FormatOptions = parsed.GetValue(formatOptions)?.Split(' ', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries),
                ReadOnly = parsed.GetValue(readOnly),
            };
            var answer = await client.PostAsync(VolumeCommands.PathOf(volume, "device"), request, cancellation);
            if (!answer.IsOk) return await VolumeCommands.FailAsync(client, printer, answer, volume, cancellation);
            var made = answer.As<DeviceResource>();
            var at = made.Mounts.Count > 0 ? $", mounted at {string.Join(", ", made.Mounts.Select(there => there.Path))}" : "";
            printer.PrintDone(answer.Body, $"Volume {volume} is {made.Device} on {made.Node}{at}.");
            return ExitCode.Ok;
        });
        return command;
    }

    public static Command Detach(Argument<VolumeName> name)
    {
        var force = new Option<bool>("--force") { Description = "Also while files are open there, or Docker or CSI has it on this host: their mounts go, and their I/O fails" };
        var here = new Option<bool>("--local") { Description = "Only what is on this host, and its attachment: one to another node stays, whatever is here" };
        var command = new VerbCommand("detach",
            "Take a volume's mounts, its device on this host and its exclusive attachment away; any node may use it again. Refused while Docker or CSI has it here too. If nothing of it was on this host, an attachment to another node is cut off there.",
            "myrmidon volume detach db", "myrmidon volume detach db --force", "myrmidon volume detach db --local") { name, force, here };
        ClientOptions.Set(command, async (parsed, client, printer, cancellation) =>
        {
            var volume = parsed.GetRequiredValue(name);
            var before = await client.GetAsync("/v1/devices", cancellation);
            // Who is not root on that host has no devices there to undo.
            if (!before.IsOk && before.Status != 403) return VolumeCommands.Fail(printer, before);
            var local = await client.SendAsync(HttpMethod.Delete,
                VolumeCommands.PathOf(volume, "device", parsed.GetValue(force) ? "force=true" : ""), null, null, cancellation);
            if (!local.IsOk && (local.Status != 403 || parsed.GetValue(here))) return await VolumeCommands.FailAsync(client, printer, local, volume, cancellation);
            // What was cut off here may long be in use on another host: whoever clears up here does not mean that one.
            if (parsed.GetValue(here) || (before.IsOk && before.As<DeviceListResource>().Devices.Any(device => device.Volume == volume.ToString())))
                return await DetachedHereAsync(client, printer, local, volume, cancellation);
            var answer = await client.PostAsync(VolumeCommands.PathOf(volume, "detach"), null, cancellation);
            // The devices of a volume that was deleted go too, and then there is nothing more to detach.
            if (!answer.IsOk && !(local.IsOk && answer.ExitCode == ExitCode.NotFound))
                return await VolumeCommands.FailAsync(client, printer, answer, volume, cancellation);
            printer.PrintDone(answer.Body, $"Volume {volume} is detached.");
            return ExitCode.Ok;
        });
        return command;
    }

    private static async Task<int> DetachedHereAsync(ApiClient client, Printer printer, ApiAnswer local, VolumeName volume, CancellationToken cancellation)
    {
        var now = await client.GetAsync(VolumeCommands.PathOf(volume), cancellation);
        var elsewhere = now.IsOk ? now.As<VolumeResource>().Attachment.Node : null;
        printer.PrintDone(now.IsOk ? now.Body : local.Body, elsewhere is null ? $"Volume {volume} is detached." : $"Volume {volume} is detached here; it stays attached to {elsewhere}.");
        return ExitCode.Ok;
    }

    public static Command List()
    {
        var command = new VerbCommand("devices", "List the volumes that are block devices of this node's host. Needs root there.",
            "myrmidon volume devices", "myrmidon volume devices -o json");
        ClientOptions.Set(command, async (_, client, printer, cancellation) =>
        {
            var answer = await client.GetAsync("/v1/devices", cancellation);
            if (!answer.IsOk) return VolumeCommands.Fail(printer, answer);
            // What the devices can't know: whether the volume is attached anew by now, and where.
            var volumes = await client.GetAsync("/v1/volumes", cancellation);
            var attachments = volumes.IsOk ? volumes.As<VolumeResource[]>().ToDictionary(volume => volume.Id, volume => volume.Attachment) : [];
            printer.Print(answer.Body, () => answer.As<DeviceListResource>().Devices.Select(device => Row(device, attachments.GetValueOrDefault(device.Id))), Columns);
            return ExitCode.Ok;
        });
        return command;
    }

    private static async Task<int> AttachOnlyAsync(ApiClient client, Printer printer, VolumeName volume, string node, CancellationToken cancellation)
    {
        var answer = await client.PostAsync(VolumeCommands.PathOf(volume, "attach"), new NodeRequest { Node = node }, cancellation);
        if (!answer.IsOk) return await VolumeCommands.FailAsync(client, printer, answer, volume, cancellation);
        var how = await NodeCommands.IfNotUpAsync(client, node, cancellation);
        printer.PrintDone(answer.Body, $"Volume {volume} is attached to {answer.As<VolumeResource>().Attachment.Node}{how}.");
        return ExitCode.Ok;
    }

    /// <summary>A device is of one generation of the attachment; each later one has cut it off.</summary>
    private static string StateOf(DeviceResource device, AttachmentResource? attachment) => device switch
    {
        { Served: false } => "dead",
        _ when attachment is null || attachment.Generation <= device.Generation => "served",
        _ => attachment.Node is { } node && node != device.Node ? $"cut off (attached to {node})" : "cut off",
    };

    private static string[] Row(DeviceResource device, AttachmentResource? attachment) =>
    [
        device.Volume.Length > 0 ? device.Volume : device.Id, device.Device, SizeText.Format(device.SizeBytes), device.Kind,
        device.Mounts.Count == 0 ? "-" : string.Join(", ", device.Mounts.Select(mount => mount.Trouble.Length > 0 ? $"{mount.Path} ({mount.Trouble})" : mount.Path)), StateOf(device, attachment),
    ];
}
