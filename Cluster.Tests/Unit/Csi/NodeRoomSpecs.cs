using System.Collections.Immutable;
using System.Globalization;
using System.Reflection;
using Cluster.Csi.Csi;
using Cluster.Csi.Csi.V1;
using Cluster.Messages.Model;
using Grpc.Core;
using Mode = Cluster.Csi.Csi.V1.VolumeCapability.Types.AccessMode.Types.Mode;

namespace Cluster.Tests.Unit.Csi;

public sealed class NodeRoomSpecs
{
    [Theory(DisplayName = "A node is full by the publications that count: notes of another generation or node take no room")]
    [InlineData(CsiLimits.VolumesPerNodeMax, 0, true)]
    [InlineData(CsiLimits.VolumesPerNodeMax, 1, false)]
    [InlineData(CsiLimits.VolumesPerNodeMax - 1, 0, false)]
    [InlineData(CsiLimits.VolumesPerNodeMax + 20, 20, true)]
    [InlineData(CsiLimits.VolumesPerNodeMax + 20, 21, false)]
    public async Task Stale_notes(int noted, int stale, bool isFull)
    {
        var control = ControlProxy.Create(noted, stale);
        var request = new ControllerPublishVolumeRequest
        {
            VolumeId = "new",
            NodeId = "node-1",
            VolumeCapability = new VolumeCapability { Block = new(), AccessMode = new() { Mode = Mode.SingleNodeWriter } },
        };
        var answer = await new VolumePublication(control).PublishAsync(request, default);
        Assert.Equal(isFull ? StatusCode.ResourceExhausted : null, answer.Error?.Code);
        if (isFull) Assert.Contains($"has {CsiLimits.VolumesPerNodeMax} volumes published", answer.Error!.Message, StringComparison.Ordinal);
    }

    /// <summary>Volumes with a note of node-1, the last ones of a generation that has ended.</summary>
    public class ControlProxy : DispatchProxy
    {
        private int _noted;
        private int _stale;

        public static IVolumeControl Create(int noted, int stale)
        {
            var control = DispatchProxy.Create<IVolumeControl, ControlProxy>();
            ((ControlProxy)(object)control)._noted = noted;
            ((ControlProxy)(object)control)._stale = stale;
            return control;
        }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => targetMethod!.Name switch
        {
            nameof(IVolumeControl.GetAsync) => Task.FromResult<CsiResult<VolumeFacts>>(Volume((string)args![0]!)),
            nameof(IVolumeControl.ListNodesAsync) => Task.FromResult<CsiResult<IReadOnlyList<NodeFacts>>>(new NodeFacts[] { new("node-1", "", true, true, 1, null) }),
            nameof(IVolumeControl.ListWithLabelAsync) => Task.FromResult<CsiResult<IReadOnlyList<string>>>(
                Enumerable.Range(0, _noted).Select(number => number.ToString(CultureInfo.InvariantCulture)).ToArray()),
            nameof(IVolumeControl.AttachAsync) => Task.FromResult<CsiResult<VolumeFacts>>(Volume("new") with { AttachedNode = "node-1", Generation = 1 }),
            nameof(IVolumeControl.ChangeAsync) => Task.FromResult<CsiResult<VolumeFacts>>(Volume("new")),
            _ => throw new NotSupportedException(targetMethod.Name),
        };

        private VolumeFacts Volume(string name)
        {
            var isNew = name == "new";
            var isStale = !isNew && int.Parse(name, CultureInfo.InvariantCulture) >= _noted - _stale;
            var labels = ImmutableSortedDictionary<string, string>.Empty;
            if (!isNew) labels = labels.Add(Publication.LabelOf("node-1"), new PublishedAs(Mode.SingleNodeWriter, false, "").Write(isStale ? 2UL : 3UL));
            return new VolumeFacts(new VolumeId(1), name, 1, labels, isNew ? null : "node-1", 3, 1, true, "", "", false) with { AttachedNode = isNew ? null : isStale ? "node-2" : "node-1" };
        }
    }
}
