using System.Security.Cryptography;
using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Messages.Wire;
using Cluster.Node.Hosting.Control;

namespace Cluster.Node.Hosting.Volumes;

/// <summary>
/// The front ends' way from a volume's name to its owner: the catalogue and the shard region are asked at this border only. Any thread, but for
/// <see cref="Connect"/>.
/// </summary>
internal sealed class OwnerGateway(VolumeRuntime runtime, Catalogue catalogue, Func<IActorRef> volumes, Action<NodeId> doubt) : IOwnerGateway
{
    /// <summary>
    /// Short: a question that went to a node that died gets no answer, and is asked again after a pause.
    /// </summary>
    private static readonly TimeSpan LocateMax = TimeSpan.FromMilliseconds(400);
    private static readonly TimeSpan CatalogueMax = TimeSpan.FromSeconds(5);

    public NodeId Node => runtime.Identity.Id;

    public string NodeName => runtime.Identity.Name;

    public ulong NewIncarnation()
    {
        Span<byte> random = stackalloc byte[8];
        ulong incarnation;
        do
        {
            RandomNumberGenerator.Fill(random);
            incarnation = BitConverter.ToUInt64(random);
        }
        while (incarnation == 0);
        return incarnation;
    }

    public ILoop LoopOf(VolumeId volume) => runtime.Loop;

    public async Task<VolumeLookup> LookupAsync(string fullName, CancellationToken cancellation)
    {
        var found = await catalogue.AskAsync(new PlacementProtocol.GetVolume(fullName), CatalogueMax, cancellation);
        if (found is PlacementProtocol.Refused refused) return new VolumeLookup(StatusOf(refused.Kind), null, refused.Reason);
        if (found is not PlacementProtocol.Found { Volume: var entry })
            return new VolumeLookup(IoStatus.Offline, null, $"The catalogue did not answer for volume \"{fullName}\"; try again in a moment.");
        var described = await Asking.PastHandOffsAsync(
            atMost => Asking.OwnerAsync(volumes(), new VolumeProtocol.Describe(entry.Id), atMost, runtime.Owners.Of, cancellation, doubt), CatalogueMax, cancellation);
        if (described is VolumeView view)
        {
            var spec = view.Spec;
            return new VolumeLookup(IoStatus.Ok,
                new VolumeInfo(spec.Id, spec.FullName, spec.SizeBytes, spec.HoldMs, spec.Compression, view.Attachment, spec.Replicas == 1), "");
        }
        var reason = described is VolumeProtocol.Refused told ? told.Reason : $"The owner of volume \"{fullName}\" did not answer; try again in a moment.";
        return new VolumeLookup(IoStatus.Offline, null, reason);
    }

    public async Task<IReadOnlyList<string>> ListAsync(CancellationToken cancellation)
    {
        var answer = await catalogue.AskAsync(new PlacementProtocol.ListVolumes(""), CatalogueMax, cancellation);
        return answer is PlacementProtocol.VolumeList list ? [.. list.Volumes.Select(volume => volume.Spec.FullName)] : [];
    }

    public void Connect(VolumeId volume, IOwnerEvents events) =>
        runtime.Loop.Post(() => runtime.SeekOwner(volume, events, () => _ = WakeAsync(volume)));

    /// <summary>Owners tell where they serve by themselves; asking makes sure that there is one.</summary>
    private async Task WakeAsync(VolumeId volume)
    {
        var answer = await Asking.OnceAsync(volumes(), new VolumeProtocol.Locate(volume), LocateMax, CancellationToken.None);
        if (answer is VolumeProtocol.Refused { Status: IoStatus.Deleted } refused)
            runtime.Loop.Post(() => runtime.OnDeleted(volume, refused.Reason));
    }

    private static IoStatus StatusOf(RefusalKind kind) => kind switch
    {
        RefusalKind.NotFound => IoStatus.Missing,
        RefusalKind.Unavailable => IoStatus.Offline,
        _ => IoStatus.Malformed,
    };
}
