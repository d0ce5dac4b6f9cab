using System.Collections.Concurrent;
using Cluster.Messages.Model;
using Cluster.Node.Api;

namespace Cluster.Tests.Integration.Api;

/// <summary>A cluster of two nodes, in memory: enough for every path of REST and the CLI.</summary>
public sealed partial class FakeControlPlane : IControlPlane
{
    private readonly ConcurrentDictionary<VolumeName, VolumeResource> _volumes = new();
    private readonly ConcurrentDictionary<string, NodeResource> _nodes = new(StringComparer.Ordinal);

    private readonly HashSet<string> _restarts = new(StringComparer.Ordinal);

    public FakeControlPlane()
    {
        foreach (var name in (string[])["node-0", "node-1"])
        {
            _nodes[name] = new NodeResource
            {
                Name = name,
                Id = name,
                State = "up",
                Api = "http://127.0.0.1:5705",
                Nbd = "nbd://127.0.0.1:10809",
                CapacityBytes = 1UL << 40,
                FreeBytes = 1UL << 39,
                Disks = [Disk($"0{name[^1]}1e2d3c4b5a69788796a5b4c3d2e1f0", "/var/lib/store"), Disk($"1{name[^1]}1e2d3c4b5a69788796a5b4c3d2e1f0", "/disks/1"),
                    Disk($"1{name[^1]}2e2d3c4b5a69788796a5b4c3d2e1f0", "/disks/2")],
            };
        }
    }

    /// <summary>When set, every call answers it.</summary>
    public ControlFailure? Failure { get; set; }

    /// <summary>When set, a drain moves nothing.</summary>
    public bool StuckDrain { get; set; }

    /// <summary>Called when a drain has cordoned its node.</summary>
    public Action? Drained { get; set; }

    public string ClusterState { get; set; } = "healthy";

    public void SetVolumeState(string volume, string state)
    {
        var name = new VolumeName("default", volume);
        _volumes[name] = _volumes[name] with { State = state };
    }

    public void SetState(string node, string state) => _nodes[node] = _nodes[node] with { State = state };

    public bool IsCordoned(string node) => _nodes[node].Cordoned;

    /// <summary>When set, changes of volumes fail so.</summary>
    public ControlFailure? ChangeFailure { get; set; }

    /// <summary>When set, every call throws it.</summary>
    public Exception? Exception { get; set; }

    public Task<ControlResult<VolumeResource>> CreateVolumeAsync(CreateVolumeRequest request, CancellationToken cancellation)
    {
        if (Fails<VolumeResource>(out var failed)) return failed;
        var copies = request.Replicas ?? 2;
        if (copies > _nodes.Count) return Answer<VolumeResource>(
            new ControlFailure(ControlStatus.Conflict, $"{copies} copies need {copies} nodes: there are 2."));
        var volume = new VolumeResource
        {
            Name = request.Name,
            Namespace = request.Namespace ?? "default",
            Id = new VolumeId(1).ToString(),
            SizeBytes = request is { Source: not null, SizeBytes: 0 } ? 1 << 20 : request.SizeBytes,
            Source = request.Source is { } source ? new VolumeSourceResource { Volume = source.Volume, Id = "v9", Snapshot = source.Snapshot, Sequence = 17 } : null,
            State = "healthy",
            Owner = "node-0",
            Epoch = 1,
            ReplicaCount = copies,
            InSyncMin = 1,
            SingleCopy = copies == 1,
            Replicas = [.. Enumerable.Range(0, copies)
                .Select(index => Copy(index, isBehind: request.Name == "behind" && index == copies - 1))],
            Labels = request.Labels ?? [],
            Attachment = new AttachmentResource { Mode = "shared" },
            Revision = "1",
        };
        return Answer<VolumeResource>(_volumes.TryAdd(new VolumeName(volume.Namespace, volume.Name), volume)
            ? volume
            : new ControlFailure(ControlStatus.Conflict, $"There is a volume \"{volume.Name}\" already."));
    }

    public Task<ControlResult<IReadOnlyList<VolumeResource>>> ListVolumesAsync(string? scope, CancellationToken cancellation) =>
        Fails<IReadOnlyList<VolumeResource>>(out var failed)
            ? failed
            : Answer<IReadOnlyList<VolumeResource>>(
                new(ControlStatus.Ok, [.. _volumes.Values.Where(v => scope is null || v.Namespace == scope)], ""));

    public Task<ControlResult<IReadOnlyList<VolumeName>>> ListVolumesWithAsync(string label, CancellationToken cancellation) =>
        Fails<IReadOnlyList<VolumeName>>(out var failed)
            ? failed
            : Answer<IReadOnlyList<VolumeName>>(new(ControlStatus.Ok, [.. _volumes.Where(pair => pair.Value.Labels.ContainsKey(label)).Select(pair => pair.Key)], ""));

    public Task<ControlResult<VolumeResource>> GetVolumeAsync(VolumeName name, CancellationToken cancellation) =>
        Change(name, null, volume => volume);

    public Task<ControlResult<VolumeResource>> DeleteVolumeAsync(VolumeName name, string? ifMatch, bool force, CancellationToken cancellation) =>
        !force && _volumes.GetValueOrDefault(name)?.Attachment.Node is { } node
        ? Answer<VolumeResource>(new ControlFailure(ControlStatus.Conflict, $"Volume {name}: it is attached to {node}; detach it."))
        : !force && _volumes.GetValueOrDefault(name)?.Snapshots > 0
        ? Answer<VolumeResource>(new ControlFailure(ControlStatus.Conflict, $"Volume {name}: it has {_volumes[name].Snapshots} snapshots; delete those first."))
        : Change(name, ifMatch, volume =>
        {
            _volumes.TryRemove(name, out _);
            return volume;
        }, keep: false);

    public Task<ControlResult<VolumeResource>> ChangeVolumeAsync(
        VolumeName name, ChangeVolumeRequest change, string? ifMatch, CancellationToken cancellation) => ChangeFailure is { } refused ? Answer<VolumeResource>(refused) : Change(name, ifMatch, volume =>
        {
            var labels = volume.Labels.ToDictionary();
            foreach (var (key, value) in change.Labels ?? [])
            {
                if (value is null) labels.Remove(key);
                else labels[key] = value;
            }
            return volume with { SizeBytes = change.SizeBytes ?? volume.SizeBytes, Labels = labels, Revision = volume.Revision + "1" };
        });

    public Task<ControlResult<VolumeResource>> AttachAsync(VolumeName name, string node, string? ifMatch, CancellationToken cancellation) =>
        Change(name, ifMatch, volume =>
            volume with { Attachment = new AttachmentResource { Mode = "exclusive", Generation = 1, Node = node } });

    public Task<ControlResult<VolumeResource>> DetachAsync(VolumeName name, string? ifMatch, CancellationToken cancellation) =>
        Change(name, ifMatch, volume => volume with { Attachment = new AttachmentResource { Mode = "shared", Generation = 2 } });

    public Task<ControlResult<VolumeResource>> MoveAsync(VolumeName name, string node, CancellationToken cancellation) =>
        Change(name, null, volume => volume with { Owner = node, Epoch = volume.Epoch + 1 });

    /// <summary>The volume "behind" has a copy that is being caught up, for ever.</summary>
    private static ReplicaResource Copy(int index, bool isBehind)
    {
        var copy = new ReplicaResource { Node = $"node-{index}", State = "in-sync", Replica = $"r{index + 1}" };
        return !isBehind ? copy : copy with
        {
            State = "catching-up",
            CatchUpBytesSent = 1 << 20,
            CatchUpBytesTotal = 3 << 20,
            CatchUpBytesPerSecond = 512 << 10,
            CatchUpEtaSeconds = 4,
        };
    }

    /// <summary>A scrub under way is done at the next look; the volume "rotten" has lost a block.</summary>
    public Task<ControlResult<ScrubResource>> ScrubAsync(VolumeName name, bool start, CancellationToken cancellation)
    {
        if (Fails<ScrubResource>(out var failed)) return failed;
        if (!_volumes.ContainsKey(name))
            return Answer<ScrubResource>(new ControlFailure(ControlStatus.NotFound, $"There is no volume \"{name}\"."));
        var counts = new ScrubCountsResource
        {
            StartedAt = DateTimeOffset.UnixEpoch,
            CheckedBytes = start ? 4096u : 8192,
            MendedBlocks = 1,
            LostBlocks = name.Name == "rotten" ? 1u : 0,
        };
        return Answer<ScrubResource>(start
            ? new ScrubResource { State = "running", Now = counts, StoredBytes = 8192, BytesPerSecond = 1 << 20 }
            : new ScrubResource { State = "idle", Last = counts, LastEndedAt = DateTimeOffset.UnixEpoch, StoredBytes = 8192, BytesPerSecond = 1 << 20 });
    }

    public Task<ControlResult<IReadOnlyList<VolumeEventResource>>> ExplainAsync(VolumeName name, CancellationToken cancellation) =>
        Fails<IReadOnlyList<VolumeEventResource>>(out var failed)
            ? failed
            : Answer<IReadOnlyList<VolumeEventResource>>(
                new(ControlStatus.Ok, [new VolumeEventResource(1, "VolumeCreated", "It was created.")], ""));

    public Task<ControlResult<IReadOnlyList<NodeResource>>> ListNodesAsync(CancellationToken cancellation) =>
        Fails<IReadOnlyList<NodeResource>>(out var failed)
            ? failed
            : Answer<IReadOnlyList<NodeResource>>(new(ControlStatus.Ok, [.. _nodes.Values.OrderBy(node => node.Name)], ""));

    public Task<ControlResult<NodeResource>> GetNodeAsync(string name, CancellationToken cancellation) =>
        Fails<NodeResource>(out var failed)
            ? failed
            : Answer<NodeResource>(_nodes.TryGetValue(name, out var node) ? node
                : new ControlFailure(ControlStatus.NotFound, $"There is no node \"{name}\"."));

    public Task<ControlResult<NodeResource>> SetCordonedAsync(string name, bool cordoned, CancellationToken cancellation)
    {
        if (Fails<NodeResource>(out var failed)) return failed;
        if (!_nodes.TryGetValue(name, out var node)) return GetNodeAsync(name, cancellation);
        _restarts.Remove(name);
        return Answer<NodeResource>(_nodes[name] = node with { Cordoned = cordoned, CordonedForRestart = false });
    }

    public Task<ControlResult<NodeResource>> RemoveNodeAsync(string name, CancellationToken cancellation)
    {
        if (Fails<NodeResource>(out var failed)) return failed;
        if (!_nodes.TryGetValue(name, out var node)) return GetNodeAsync(name, cancellation);
        if (node.State == "up") return Answer<NodeResource>(new ControlFailure(ControlStatus.Conflict, $"Node {name} is up: stop it first."));
        _nodes.TryRemove(name, out _);
        return Answer<NodeResource>(node);
    }

    public void SetNode(string name, Func<NodeResource, NodeResource> change) => _nodes[name] = change(_nodes[name]);

    public Task<ControlResult<NodeResource>> EndRestartAsync(string name, CancellationToken cancellation) =>
        Failure is null && _restarts.Contains(name) ? SetCordonedAsync(name, false, cancellation) : GetNodeAsync(name, cancellation);

    /// <summary>One volume moves a call; one that has a single copy can't.</summary>
    public Task<ControlResult<DrainResource>> DrainNodeAsync(string name, TimeSpan atMost, bool forRestart, CancellationToken cancellation)
    {
        if (Fails<DrainResource>(out var failed)) return failed;
        if (!_nodes.TryGetValue(name, out var node))
            return Answer<DrainResource>(new ControlFailure(ControlStatus.NotFound, $"There is no node \"{name}\"."));
        var owned = _volumes.Where(volume => volume.Value.Owner == name).ToArray();
        if (owned.Any(volume => volume.Value.SingleCopy))
            return Answer<DrainResource>(new ControlFailure(ControlStatus.Conflict, $"Node {name} can't be drained: it holds an only copy."));
        if (forRestart && !node.Cordoned) _restarts.Add(name);
        _nodes[name] = node with { Cordoned = true, CordonedForRestart = _restarts.Contains(name) };
        Drained?.Invoke();
        var moved = StuckDrain || atMost == TimeSpan.Zero ? 0 : Math.Min(1, owned.Length);
        if (moved > 0) _volumes[owned[0].Key] = owned[0].Value with { Owner = "node-1" };
        var left = owned.Length - moved;
        return Answer<DrainResource>(new DrainResource
        {
            Node = name,
            State = left == 0 ? "drained" : "draining",
            Moved = moved,
            Left = left,
            Waits = StuckDrain ? ["volume db can move nowhere yet"] : [],
        });
    }

    public Task<ControlResult<DiskResource>> DrainDiskAsync(string name, string disk, bool drains, CancellationToken cancellation)
    {
        if (Fails<DiskResource>(out var failed)) return failed;
        if (!_nodes.TryGetValue(name, out var node)) return Answer<DiskResource>(new ControlFailure(ControlStatus.NotFound, $"There is no node '{name}'."));
        if (node.Disks.FirstOrDefault(each => each.Id == disk) is not { } found) return Answer<DiskResource>(new ControlFailure(ControlStatus.NotFound, $"The store has no disk {disk}."));
        if (found == node.Disks[0]) return Answer<DiskResource>(new ControlFailure(ControlStatus.Conflict, $"Disk {disk} is the store's home and can't be drained."));
        var changed = found with { State = drains ? "draining" : "in-use", Problem = drains ? "7 segments are left on it." : "" };
        _nodes[name] = node with { Disks = [.. node.Disks.Select(each => each.Id == disk ? changed : each)] };
        return Answer<DiskResource>(changed);
    }

    private static DiskResource Disk(string id, string path) => new() { Id = id, Path = path, State = "in-use" };

    public ControlResult<IReadOnlyList<OpenVolumeResource>> ListOpenVolumes() =>
        Failure is { } failure ? failure : _volumes.Keys.Select(name => new OpenVolumeResource(name.ToString())).ToArray();

    public Task<ControlResult<StatusResource>> GetStatusAsync(CancellationToken cancellation) =>
        Fails<StatusResource>(out var failed)
            ? failed
            : Answer<StatusResource>(new StatusResource
            {
                ClusterId = "c1",
                State = ClusterState,
                Version = "0.1.0",
                AnsweredBy = "node-0",
                NodesUp = 2,
                NodesTotal = 2,
                ControlNodes = [new("node-0", true), new("node-1", false)],
            });

    private Task<ControlResult<VolumeResource>> Change(VolumeName name, string? ifMatch, Func<VolumeResource, VolumeResource> change,
        bool keep = true)
    {
        if (Fails<VolumeResource>(out var failed)) return failed;
        if (!_volumes.TryGetValue(name, out var volume))
        {
            return Answer<VolumeResource>(new ControlFailure(ControlStatus.NotFound, $"There is no volume \"{name}\"."));
        }
        if (ifMatch is not null && ifMatch != volume.Revision)
        {
            return Answer<VolumeResource>(new ControlFailure(ControlStatus.Stale, $"Volume \"{name}\" is at revision {volume.Revision}."));
        }
        var changed = change(volume);
        if (keep) _volumes[name] = changed;
        return Answer<VolumeResource>(changed);
    }

    private bool Fails<T>(out Task<ControlResult<T>> failed)
        where T : class
    {
        if (Exception is not null) throw Exception;
        failed = Failure is null ? Task.FromResult(default(ControlResult<T>)) : Task.FromResult<ControlResult<T>>(Failure);
        return Failure is not null;
    }

    private static Task<ControlResult<T>> Answer<T>(ControlResult<T> result)
        where T : class => Task.FromResult(result);
}
