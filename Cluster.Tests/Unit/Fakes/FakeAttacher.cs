using Cluster.Csi.Attach;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>An attacher whose devices are only remembered.</summary>
internal sealed class FakeAttacher(AttacherKind kind) : IAttacher
{
    public List<AttachedDevice> Devices { get; } = [];

    public bool IsSupported { get; init; } = true;

    /// <summary>All its devices are mounted.</summary>
    public bool InUse { get; set; }

    /// <summary>Set: a detach waits for it, with all that it goes by behind it.</summary>
    public TaskCompletionSource? Detaches { get; set; }

    /// <summary>Completes once a detach waits.</summary>
    public TaskCompletionSource Detaching { get; } = new();

    public AttacherKind Kind => kind;

    public AttachResult<Done> Supported() => IsSupported ? Done.Ok : AttachResult<Done>.Error(AttachStatus.NotSupported, "not on this host");

    public Task<AttachResult<AttachedDevice>> AttachAsync(AttachTarget target, CancellationToken cancellation)
    {
        if (!IsSupported) return Task.FromResult(Supported().To<AttachedDevice>());
        if (Devices.All(device => device.Identity != target.Identity)) Devices.Add(new AttachedDevice(target.Identity, target.FullName, "/dev/x", target.SizeBytes, target.ReadOnly, kind));
        return FindAsync(target.Identity.Volume, cancellation);
    }

    public async Task<AttachResult<Done>> DetachAsync(VolumeId volume, bool force, CancellationToken cancellation)
    {
        if (InUse && !force) return AttachResult<Done>.Error(AttachStatus.InUse, "mounted");
        if (Detaches is { } detaches)
        {
            Detaching.TrySetResult();
            await detaches.Task.WaitAsync(cancellation);
        }
        Devices.RemoveAll(device => device.Identity.Volume == volume);
        return Done.Ok;
    }

    public Task<AttachResult<Done>> DetachPartsAsync(string fullName, CancellationToken cancellation) => Task.FromResult(Done.Ok);

    public Task<AttachResult<IReadOnlyList<AttachedDevice>>> ListAsync(CancellationToken cancellation) =>
        Task.FromResult<AttachResult<IReadOnlyList<AttachedDevice>>>(new(AttachStatus.Ok, [.. Devices], ""));

    public Task<AttachResult<AttachedDevice>> FindAsync(VolumeId volume, CancellationToken cancellation) => Task.FromResult(
        Devices.Where(device => device.Identity.Volume == volume).MaxBy(device => device.Identity.Generation) ?? AttachResult<AttachedDevice>.Error(AttachStatus.NotFound, "none"));

    public async Task<AttachResult<AttachedDevice>> ResizeAsync(VolumeId volume, ulong sizeBytes, CancellationToken cancellation)
    {
        var found = await FindAsync(volume, cancellation);
        return found.IsOk ? found.Value! with { SizeBytes = sizeBytes } : found;
    }

    public Task<AttachResult<bool>> HoldsDataAsync(AttachedDevice device, CancellationToken cancellation) => Task.FromResult<AttachResult<bool>>(false);

    public Task<AttachResult<Done>> RecoverAsync(CancellationToken cancellation) => Task.FromResult(Done.Ok);

    public Task WatchAsync(CancellationToken cancellation) => Task.CompletedTask;
}
