using System.Text.Json;
using System.Text.Json.Serialization;
using Cluster.Csi.Kernel;

namespace Cluster.Csi.Attach;

/// <summary>What is to be done with a device by a process of its own.</summary>
internal enum DeviceJobKind
{
    Unset = 0,
    Probe,
    Format,
    LookForRoom,
    Claim,
    ReadFirst,
    LetGo,
}

/// <summary>One job, as it goes to the process: one line of JSON on its standard input.</summary>
/// <param name="Version">Of the two programs, which an upgrade in place may have made different ones: <see cref="Current"/>.</param>
internal sealed record DeviceJob(DeviceJobKind Kind, AttachedDeviceNote Device, FileSystemKind FileSystem, string[] Options, NbdAddress Server, string Scratch, int Version = DeviceJob.Current)
{
    public const int Current = 2;
}

/// <summary><see cref="AttachedDevice"/> with the identity as its text.</summary>
internal sealed record AttachedDeviceNote(string Identity, string FullName, string Path, ulong SizeBytes, bool ReadOnly, AttacherKind Kind)
{
    public static AttachedDeviceNote Of(AttachedDevice device) =>
        new(device.Identity.ToString(), device.FullName, device.Path, device.SizeBytes, device.ReadOnly, device.Kind);

    public AttachedDevice? Device => DeviceIdentity.TryParse(Identity, out var identity) ? new AttachedDevice(identity, FullName, Path, SizeBytes, ReadOnly, Kind) : null;
}

/// <summary>How it ended: one line of JSON on the process's standard output. <see cref="Probe"/> is there for a probe that went well.</summary>
/// <param name="HasRoom">Of a look for room: the file system could be larger.</param>
internal sealed record DeviceOutcome(AttachStatus Status, string Reason, DeviceProbe? Probe = null, bool HasRoom = false);

[JsonSerializable(typeof(DeviceJob))]
[JsonSerializable(typeof(DeviceOutcome))]
internal sealed partial class DeviceWorkJson : JsonSerializerContext;

/// <summary>Runs jobs in processes of their own.</summary>
/// <param name="command">The program and its first arguments, to which <see cref="DeviceWork.Option"/> is added.</param>
internal sealed class DeviceJobs(IReadOnlyList<string> command)
{
    public async Task<DeviceOutcome> RunAsync(DeviceJob job, CancellationToken cancellation)
    {
        var line = JsonSerializer.Serialize(job, DeviceWorkJson.Default.DeviceJob);
        var run = await HostProgram.WorkAsync([.. command, DeviceWork.Option], line, job.Kind == DeviceJobKind.Format ? AttachLimits.CheckMs : AttachLimits.ProgramMs, cancellation).ConfigureAwait(false);
        try
        {
            if (run.IsOk && JsonSerializer.Deserialize(run.Output, DeviceWorkJson.Default.DeviceOutcome) is { } outcome) return outcome;
        }
        catch (JsonException)
        {
            // What it wrote is in the reason.
        }
        return new DeviceOutcome(AttachStatus.Failed, $"{job.Device.Path} could not be looked at: {run.Reason}");
    }

    public static AttachResult<Done> Result(DeviceOutcome outcome) =>
        outcome.Status == AttachStatus.Ok ? Done.Ok : AttachResult<Done>.Error(Failed(outcome.Status), outcome.Reason);

    /// <summary>A status that is no error came with no value, or from another version of the program.</summary>
    public static AttachStatus Failed(AttachStatus status) => status > AttachStatus.Ok && Enum.IsDefined(status) ? status : AttachStatus.Failed;
}

/// <summary>
/// A job that reads and writes a device, in a process of its own (`myrmidon device --work`). A call to a device waits in the kernel until the device answers, and until
/// then nothing ends the process that made it, not even SIGKILL; the device answers when its volume's node does. A node that made such calls itself could
/// not be killed and started anew: it would wait for itself, with its ports still open.
/// </summary>
public static class DeviceWork
{
    public const string Option = "--work";

    /// <summary>Its parent has ended, so nobody waits for the outcome.</summary>
    private const int ExitAbandoned = 3;

    private const int ExitUsage = 2;

    /// <summary>Reads one job, does it, writes the outcome. Ends at once when the input does: what it was about to do, whoever looks next finds half done and goes on with.</summary>
    public static async Task<int> RunAsync(TextReader input, TextWriter output)
    {
        if (await input.ReadLineAsync().ConfigureAwait(false) is not { } line || JsonSerializer.Deserialize(line, DeviceWorkJson.Default.DeviceJob) is not { } job || job.Device.Device is not { } device) return ExitUsage;
        new Thread(() => EndWithParent(input)) { IsBackground = true, Name = "parent" }.Start();
        var outcome = await DoAsync(job, device).ConfigureAwait(false);
        await output.WriteLineAsync(JsonSerializer.Serialize(outcome, DeviceWorkJson.Default.DeviceOutcome)).ConfigureAwait(false);
        return 0;
    }

    private static async Task<DeviceOutcome> DoAsync(DeviceJob job, AttachedDevice device)
    {
        if (job.Version != DeviceJob.Current)
            return new DeviceOutcome(AttachStatus.NotSupported, $"the program was replaced by another version while the node ran (its jobs are version {job.Version}, the program's {DeviceJob.Current}): restart the node");
        var mounter = new Mounter((asked, stop) => Task.Run(() => DataScan.OfDevice(job.Server, asked, stop), stop), job.Scratch);
        switch (job.Kind)
        {
            case DeviceJobKind.Probe:
                var probe = await mounter.ProbeAsync(device, CancellationToken.None).ConfigureAwait(false);
                return new DeviceOutcome(probe.Status, probe.Reason, probe.Value);
            case DeviceJobKind.Format:
                var formatted = await mounter.FormatAsync(device, job.FileSystem, job.Options, CancellationToken.None).ConfigureAwait(false);
                return new DeviceOutcome(formatted.Status, formatted.Reason);
            case DeviceJobKind.LookForRoom:
                return new DeviceOutcome(AttachStatus.Ok, "", HasRoom: Mounter.HasRoom(device));
            case DeviceJobKind.Claim:
                var claimed = DeviceProber.Claim(device, write: false);
                claimed.Value?.Dispose();
                return new DeviceOutcome(claimed.Status, claimed.Reason);
            case DeviceJobKind.ReadFirst:
                return KernelNbdJobs.ReadFirst(device);
            case DeviceJobKind.LetGo:
                return KernelNbdJobs.LetGo(device, job.Options);
            default:
                return new DeviceOutcome(AttachStatus.Invalid, $"there is no job {job.Kind}");
        }
    }

    private static void EndWithParent(TextReader input)
    {
        while (input.ReadLine() is not null)
        {
            // Nothing more is said on it.
        }
        Environment.Exit(ExitAbandoned);
    }
}
