using System.Reflection;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Tests.Integration.Csi;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>The driver dies, or is cut off, before and after each thing that it does to the cluster or to this host: real devices, file systems and mounts, and a cluster of one volume.</summary>
public class CsiCrashSpecs
{
    private const string Volume = "vol";

    /// <summary>How a call is cut off at a step.</summary>
    public enum Cut
    {
        Before,
        After,
        /// <summary>The caller gave up just before it.</summary>
        Cancelled,
    }

    [Theory(DisplayName = "A driver that dies, or is given up, at any step of any call is gone on from by the same call, made twice; or all is taken away from there. Nothing is left")]
    [InlineData(Cut.Before, false)]
    [InlineData(Cut.After, false)]
    [InlineData(Cut.After, true)]
    [InlineData(Cut.Cancelled, true)]
    public async Task Cut_anywhere(Cut cut, bool givesUp)
    {
        await using var rig = new DeviceRig([.. Enumerable.Range(1, 200).Select(generation => (ulong)generation)]);
        var control = new OneVolumeControl();
        var life = new Life(rig, control);
        await life.PlayAsync(new Steps(), givesUp: false);
        var count = life.Steps;
        Assert.InRange(count, 10, 40);
        for (var step = 1; step <= count; step++)
        {
            var steps = new Steps { CutAt = step, How = cut };
            await life.PlayAsync(steps, givesUp);
            Assert.True(steps.WasCut, $"step {step} was never come to");
            Assert.True(control.IsFree, $"step {step}: the volume is published still");
            Assert.Equal((step, ""), (step, rig.Leftovers()));
        }
    }

    [Theory(DisplayName = "What an attach or a detach that was cut off within has left is taken away by NodeUnstageVolume, though there is no device")]
    [MemberData(nameof(AttachSpecs.Steps), MemberType = typeof(AttachSpecs))]
    public async Task Unstaged_from_within(string step)
    {
        await using var rig = new DeviceRig();
        await AttachSpecs.LeaveAsync(rig, step);
        var staging = new NodeStaging(new OneVolumeControl(), new HostDevices(rig.NewAttacher(), rig.Mounter, rig.Users, rig.Staged));
        for (var again = 0; again < 2; again++)
        {
            var unstaged = await staging.UnstageAsync(new NodeUnstageVolumeRequest { VolumeId = Volume, StagingTargetPath = Path.Combine(rig.Root, "mnt", "staging") }, default);
            Assert.Null(unstaged.Error);
        }
        // A directory that was never written to belongs to nobody, and goes at the next start of the node.
        if (step != "directory") Assert.Equal("", rig.Leftovers());
        else Assert.True((await rig.NewAttacher().RecoverAsync(default)).IsOk);
    }

    /// <summary>A driver's process ends here.</summary>
    private sealed class DiedException : Exception;

    /// <summary>Counts what the driver does, over all the calls of a volume's life, and cuts it off at one of them.</summary>
    internal sealed class Steps
    {
        public int CutAt { get; init; }

        public Cut How { get; init; }

        public int Count { get; private set; }

        public bool WasCut { get; private set; }

        /// <summary>Of the call that is under way.</summary>
        public CancellationTokenSource Caller { get; set; } = new();

        public object? Do(Func<object?> what)
        {
            var isCut = ++Count == CutAt;
            if (!isCut) return what();
            WasCut = true;
            if (How == Cut.Before) throw new DiedException();
            if (How == Cut.Cancelled)
            {
                Caller.Cancel();
                return what();
            }
            return AfterAsync((dynamic)what()!);
        }

        private static async Task<T> AfterAsync<T>(Task<T> done)
        {
            await done;
            throw new DiedException();
        }
    }

    /// <summary>What changes something is a step.</summary>
    internal class Watched<T> : DispatchProxy
        where T : class
    {
        private static readonly string[] Changing = ["AttachAsync", "DetachAsync", "ChangeAsync", "DetachPartsAsync", "FormatAsync", "MountAsync", "BindAsync", "UnmountAsync", "GrowAsync", "GrowUnmountedAsync"];

        private T _real = null!;
        private Steps _steps = null!;

        public static T Of(T real, Steps steps)
        {
            var proxy = Create<T, Watched<T>>();
            var watched = (Watched<T>)(object)proxy;
            (watched._real, watched._steps) = (real, steps);
            return proxy;
        }

        protected override object? Invoke(MethodInfo? method, object?[]? arguments)
        {
            object? Call() => method!.Invoke(_real, BindingFlags.DoNotWrapExceptions, null, arguments, null);
            return Changing.Contains(method!.Name) ? _steps.Do(Call) : Call();
        }
    }

    /// <summary>A volume is published, staged, published on the node, used, and all of that back; each call by a driver that was started anew.</summary>
    private sealed class Life(DeviceRig rig, OneVolumeControl control)
    {
        private readonly string _staging = Path.Combine(rig.Root, "mnt", "staging");
        private readonly string _target = Path.Combine(rig.Root, "mnt", "target");
        private readonly IDictionary<string, string> _context = new Dictionary<string, string>();
        private Steps _steps = new();

        public int Steps => _steps.Count;

        public async Task PlayAsync(Steps steps, bool givesUp)
        {
            _steps = steps;
            Func<CancellationToken, Task<CsiError?>>[] up = [PublishAsync, StageAsync, NodePublishAsync], down = [NodeUnpublishAsync, UnstageAsync, UnpublishAsync];
            foreach (var call in up)
            {
                if (await MadeAsync(call)) continue;
                if (givesUp)
                {
                    foreach (var back in down) await TwiceAsync(back);
                    return;
                }
                await TwiceAsync(call);
            }
            await File.WriteAllTextAsync(Path.Combine(_target, "used"), "used");
            foreach (var call in down)
            {
                if (!await MadeAsync(call)) await TwiceAsync(call);
            }
        }

        /// <summary>Made twice; false once it was cut off.</summary>
        private async Task<bool> MadeAsync(Func<CancellationToken, Task<CsiError?>> call)
        {
            using var caller = _steps.Caller = new CancellationTokenSource();
            var wasCut = _steps.WasCut;
            for (var again = 0; again < 2; again++)
            {
                try
                {
                    var error = await call(caller.Token);
                    Assert.True(error is null || (_steps.WasCut && !wasCut), error?.Message);
                }
                catch (Exception e) when (e is DiedException or OperationCanceledException)
                {
                    Assert.True(_steps.WasCut && !wasCut);
                }
                if (_steps.WasCut && !wasCut) return false;
            }
            return true;
        }

        private static async Task TwiceAsync(Func<CancellationToken, Task<CsiError?>> call)
        {
            for (var again = 0; again < 2; again++) Assert.Null(await call(CancellationToken.None));
        }

        private IVolumeControl Cluster => Watched<IVolumeControl>.Of(control, _steps);

        private HostDevices Host => new(Watched<IAttacher>.Of(rig.NewAttacher(), _steps), Watched<IMounter>.Of(rig.Mounter, _steps), rig.Users, rig.Staged);

        private async Task<CsiError?> PublishAsync(CancellationToken cancellation)
        {
            var published = await new VolumePublication(Cluster).PublishAsync(
                new ControllerPublishVolumeRequest { VolumeId = Volume, NodeId = "node-0", VolumeCapability = CsiNode.Mount() }, cancellation);
            foreach (var (key, value) in published.Value?.PublishContext ?? []) _context[key] = value;
            return published.Error;
        }

        private async Task<CsiError?> StageAsync(CancellationToken cancellation)
        {
            Directory.CreateDirectory(_staging);
            return (await new NodeStaging(Cluster, Host).StageAsync(
                new NodeStageVolumeRequest { VolumeId = Volume, StagingTargetPath = _staging, VolumeCapability = CsiNode.Mount(), PublishContext = { _context } }, cancellation)).Error;
        }

        private async Task<CsiError?> NodePublishAsync(CancellationToken cancellation) => (await new NodePublishing(Cluster, Host).PublishAsync(
            new NodePublishVolumeRequest
            {
                VolumeId = Volume,
                StagingTargetPath = _staging,
                TargetPath = _target,
                VolumeCapability = CsiNode.Mount(),
                PublishContext = { _context },
            }, cancellation)).Error;

        private async Task<CsiError?> NodeUnpublishAsync(CancellationToken cancellation) =>
            (await new NodePublishing(Cluster, Host).UnpublishAsync(new NodeUnpublishVolumeRequest { VolumeId = Volume, TargetPath = _target }, cancellation)).Error;

        private async Task<CsiError?> UnstageAsync(CancellationToken cancellation) =>
            (await new NodeStaging(Cluster, Host).UnstageAsync(new NodeUnstageVolumeRequest { VolumeId = Volume, StagingTargetPath = _staging }, cancellation)).Error;

        private async Task<CsiError?> UnpublishAsync(CancellationToken cancellation) => (await new VolumePublication(Cluster).UnpublishAsync(
            new ControllerUnpublishVolumeRequest { VolumeId = Volume, NodeId = "node-0" }, cancellation)).Error;
    }
}
