using Cluster.Messages.Model;

namespace Cluster.Csi.Attach;

/// <summary>Which attacher new devices are made by: setting myrmidon.attacher.</summary>
public enum AttacherChoice
{
    /// <summary>The kernel's NBD client where there is one, else FUSE and loop devices.</summary>
    Auto = 0,
    KernelNbd,
    FuseLoop,
}

/// <summary>The names of attachers in settings and answers.</summary>
public static class Attachers
{
    public const string KernelNbd = "kernel-nbd";
    public const string FuseLoop = "fuse-loop";

    /// <summary>Whether a device of this name can be one of an attacher's: a loop device, or one of the kernel's NBD client.</summary>
    public static bool IsDeviceName(string name)
    {
        var kind = name.TrimEnd('0', '1', '2', '3', '4', '5', '6', '7', '8', '9');
        return kind is "loop" or "nbd" && kind.Length < name.Length;
    }

    public static bool TryParse(string text, out AttacherChoice choice)
    {
        (choice, var known) = text switch
        {
            "auto" => (AttacherChoice.Auto, true),
            KernelNbd => (AttacherChoice.KernelNbd, true),
            FuseLoop => (AttacherChoice.FuseLoop, true),
            _ => (AttacherChoice.Auto, false),
        };
        return known;
    }
}

/// <summary>
/// Both attachers as one. New devices are made by the one that the setting and the host allow, looked at each time; a device that is there stays with the one that made it,
/// whatever the setting is by now.
/// </summary>
public sealed class ChosenAttacher(AttacherChoice choice, IAttacher kernel, IAttacher fuse) : IAttacher
{
    private readonly IAttacher[] _all = [kernel, fuse];

    public AttacherKind Kind => Chosen.Kind;

    private IAttacher Chosen => choice switch
    {
        AttacherChoice.KernelNbd => kernel,
        AttacherChoice.FuseLoop => fuse,
        _ => kernel.Supported().IsOk ? kernel : fuse,
    };

    public AttachResult<Done> Supported() => Chosen.Supported();

    public async Task<AttachResult<AttachedDevice>> AttachAsync(AttachTarget target, CancellationToken cancellation)
    {
        var chosen = Chosen;
        foreach (var other in _all)
        {
            var found = await other.FindAsync(target.Identity.Volume, cancellation).ConfigureAwait(false);
            if (!found.IsOk && found.Status != AttachStatus.NotFound) return found;
            if (!found.IsOk) continue;
            if (found.Value!.Identity == target.Identity)
            {
                chosen = other;
                continue;
            }
            if (other == chosen) continue;
            if (found.Value.Identity.Generation > target.Identity.Generation)
                return AttachResult<AttachedDevice>.Error(AttachStatus.Refused, $"the attachment of volume {target.FullName} has moved on: {found.Value.Identity} is newer than {target.Identity}");
            var removed = await other.DetachAsync(target.Identity.Volume, force: false, cancellation).ConfigureAwait(false);
            if (!removed.IsOk) return removed.To<AttachedDevice>();
        }
        return await chosen.AttachAsync(target, cancellation).ConfigureAwait(false);
    }

    public Task<AttachResult<Done>> DetachAsync(VolumeId volume, bool force, CancellationToken cancellation) =>
        EachAsync(attacher => attacher.DetachAsync(volume, force, cancellation));

    public Task<AttachResult<Done>> DetachPartsAsync(string fullName, CancellationToken cancellation) =>
        EachAsync(attacher => attacher.DetachPartsAsync(fullName, cancellation));

    public async Task<AttachResult<IReadOnlyList<AttachedDevice>>> ListAsync(CancellationToken cancellation)
    {
        var all = new List<AttachedDevice>();
        foreach (var attacher in _all)
        {
            var some = await attacher.ListAsync(cancellation).ConfigureAwait(false);
            if (!some.IsOk) return some;
            all.AddRange(some.Value!);
        }
        return new(AttachStatus.Ok, [.. all.OrderBy(device => device.Identity.Volume).ThenBy(device => device.Identity.Generation)], "");
    }

    public async Task<AttachResult<AttachedDevice>> FindAsync(VolumeId volume, CancellationToken cancellation)
    {
        var all = await ListAsync(cancellation).ConfigureAwait(false);
        if (!all.IsOk) return all.To<AttachedDevice>();
        return all.Value!.Where(device => device.Identity.Volume == volume).MaxBy(device => device.Identity.Generation)
            ?? AttachResult<AttachedDevice>.Error(AttachStatus.NotFound, $"volume {volume} is not attached on this host");
    }

    public async Task<AttachResult<AttachedDevice>> ResizeAsync(VolumeId volume, ulong sizeBytes, CancellationToken cancellation)
    {
        var found = await FindAsync(volume, cancellation).ConfigureAwait(false);
        return found.IsOk ? await Of(found.Value!).ResizeAsync(volume, sizeBytes, cancellation).ConfigureAwait(false) : found;
    }

    public Task<AttachResult<bool>> HoldsDataAsync(AttachedDevice device, CancellationToken cancellation) => Of(device).HoldsDataAsync(device, cancellation);

    public Task<AttachResult<Done>> RecoverAsync(CancellationToken cancellation) => EachAsync(attacher => attacher.RecoverAsync(cancellation));

    public Task WatchAsync(CancellationToken cancellation) => Task.WhenAll(_all.Select(attacher => attacher.WatchAsync(cancellation)));

    private IAttacher Of(AttachedDevice device) => device.Kind == AttacherKind.KernelNbd ? kernel : fuse;

    private async Task<AttachResult<Done>> EachAsync(Func<IAttacher, Task<AttachResult<Done>>> call)
    {
        foreach (var attacher in _all)
        {
            var done = await call(attacher).ConfigureAwait(false);
            if (!done.IsOk) return done;
        }
        return Done.Ok;
    }
}
