using System.Collections.Immutable;
using Cluster.Csi.Csi;
using Cluster.Messages.Model;

namespace Cluster.Tests.Chaos.Devices;

/// <summary>A cluster of one node that has one volume, the one of a <see cref="DeviceRig"/>: its attachment and its labels.</summary>
internal sealed class OneVolumeControl : IVolumeControl
{
    private ulong _catalogue = 1;

    private VolumeFacts Volume { get; set; } = new(DeviceRig.Identity().Volume, DeviceRig.Target().FullName, DeviceRig.SizeBytes, ImmutableSortedDictionary<string, string>.Empty,
        null, 0, DeviceRig.HoldMs, true, "healthy", "", false);

    public string NodeName => "node-0";

    public string Zone => "";

    public string Version => "0.0.0";

    public ImmutableSortedSet<string> KnownLabels => [];

    public ImmutableSortedSet<string> HonouredLabels => [];

    public bool CanClone => false;

    public bool IsCatalogueSilent { get; set; }

    /// <summary>Changes wait for it.</summary>
    public TaskCompletionSource? Held { get; set; }

    /// <summary>Nobody can say what nodes there are.</summary>
    public CsiError? NodesUnknown { get; set; }

    /// <summary>What the node says of an operator or Docker.</summary>
    public bool IsUsedOutsideCsi { get; set; }

    /// <summary>Nobody has the volume, and nothing is noted of anybody who had it.</summary>
    public bool IsFree => Volume is { AttachedNode: null, Labels.Count: 0 };

    private VolumeFacts Now => Volume with { Revision = new VolumeRevision(_catalogue, Volume.Generation).ToString() };

    public Task<CsiResult<VolumeFacts>> GetAsync(string fullName, CancellationToken cancellation) =>
        Task.FromResult<CsiResult<VolumeFacts>>(fullName == Volume.FullName ? Now : CsiError.NotFound("There is no such volume."));

    public async Task<CsiResult<VolumeFacts>> ChangeAsync(
        string fullName, ulong? sizeBytes, ImmutableSortedDictionary<string, string> labels, string? revision, CancellationToken cancellation)
    {
        if (Held is { } held) await held.Task.WaitAsync(cancellation);
        if (revision is not null && revision != Now.Revision) return CsiError.Aborted("It was changed meanwhile.");
        Volume = Volume with { Labels = Volume.Labels.SetItems(labels.Where(label => label.Value.Length > 0)).RemoveRange(labels.Where(label => label.Value.Length == 0).Select(label => label.Key)) };
        _catalogue++;
        return await GetAsync(fullName, cancellation);
    }

    public Task<CsiResult<VolumeFacts>> AttachAsync(string fullName, string node, string? revision, CancellationToken cancellation)
    {
        if (Volume.AttachedNode != node) Volume = Volume with { AttachedNode = node, Generation = Volume.Generation + 1 };
        return GetAsync(fullName, cancellation);
    }

    public Task<CsiResult<VolumeFacts>> DetachAsync(string fullName, string? revision, CancellationToken cancellation)
    {
        if (Volume.AttachedNode is not null) Volume = Volume with { AttachedNode = null, Generation = Volume.Generation + 1 };
        return GetAsync(fullName, cancellation);
    }

    public Task<CsiResult<IReadOnlyList<NodeFacts>>> ListNodesAsync(CancellationToken cancellation) =>
        Task.FromResult<CsiResult<IReadOnlyList<NodeFacts>>>(NodesUnknown is { } error ? error : new NodeFacts[] { new(NodeName, "", true, true, 1, null) });

    public Task<CsiResult<IReadOnlyList<string>>> ListWithLabelAsync(string key, CancellationToken cancellation) =>
        Task.FromResult<CsiResult<IReadOnlyList<string>>>(Volume.Labels.ContainsKey(key) ? new[] { Volume.FullName } : []);

    public Task<bool> IsUsedByAsync(VolumeFacts volume, NodeFacts node, CancellationToken cancellation) => Task.FromResult(false);

    public Task<bool> IsUsedOutsideCsiAsync(VolumeFacts volume, NodeFacts node, CancellationToken cancellation) => Task.FromResult(IsUsedOutsideCsi);

    // ---- what no call of a node or of a publication asks ----

    public DriverState Look() => throw new NotSupportedException();

    public string? CheckLabels(ImmutableSortedDictionary<string, string> labels) => throw new NotSupportedException();

    public bool IsReservedSnapshotName(string name) => throw new NotSupportedException();

    public Task<CsiResult<VolumeFacts>> CreateAsync(NewVolume volume, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<IReadOnlyList<VolumeFacts>>> ListAsync(CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<ImmutableSortedDictionary<string, string>>> ReadClaimAsync(string scope, string claim, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<VolumeFacts>> DeleteAsync(string fullName, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<string>> ReserveSnapshotNameAsync(string snapshot, string fullName, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<string>> ReleaseSnapshotNameAsync(string snapshot, string fullName, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<SnapshotFacts>> CreateSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<SnapshotFacts>> GetSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<IReadOnlyList<SnapshotFacts>>> ListSnapshotsAsync(string fullName, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<VolumeFacts>> DeleteSnapshotAsync(string fullName, string snapshot, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<GroupFacts>> CreateGroupAsync(string name, IReadOnlyList<string> volumes, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<GroupFacts>> GetGroupAsync(string name, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<IReadOnlyList<GroupFacts>>> ListGroupsAsync(CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<GroupFacts>> DeleteGroupAsync(string name, CancellationToken cancellation) => throw new NotSupportedException();

    public Task<CsiResult<ChangePage>> ListChangesAsync(string fullName, string? from, string to, ulong first, CancellationToken cancellation) => throw new NotSupportedException();
}
