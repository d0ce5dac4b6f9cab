using System.Buffers.Binary;
using System.Globalization;
using System.IO.Hashing;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Api;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Recovery;
using Cluster.Node.Store;

namespace Cluster.Node.Hosting.Recovery;

/// <summary>This node in a recovery of the journal (P7). It tells what it has and does what it is told; the plan is made by who asks (`myrmidon recover`).</summary>
internal sealed class NodeRecovery(string nodeName, Action<Guid> standDown) : IRecoveryControl
{
    private static readonly ControlFailure NotYet = new(ControlStatus.Unavailable, "This node has not opened its store and journal yet: ask again.");

    private readonly SemaphoreSlim _one = new(1, 1);
    private volatile Parts? _parts;

    private sealed record Parts(JournalNode Journal, BlockStore Store, ILoop Loop, string JournalDirectory);

    public void Open(JournalNode journal, BlockStore store, ILoop loop, string journalDirectory) => _parts = new Parts(journal, store, loop, journalDirectory);

    public void Close() => _parts = null;

    /// <summary>The cluster whose data is in the store; null: none is.</summary>
    public static Guid? ClusterOf(BlockStore store) => StoreCluster.Of(store) is var cluster && cluster != Guid.Empty ? cluster : null;

    public async Task<ControlResult<RecoveryResource>> LookAsync(CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotYet;
        var now = await LookAsync(parts, cancellation);
        return now is { HasLog: true, Leader: "" } ? await WithCatalogueAsync(now, parts.Journal, cancellation) : now;
    }

    public async Task<ControlResult<RecoveryResource>> RecoverAsync(RecoverRequest request, CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotYet;
        RecoveryImage image;
        try
        {
            image = RecoveryImage.Decode(request.Image);
        }
        catch (JournalFormatException e)
        {
            return new ControlFailure(ControlStatus.Invalid, $"The request's image can't be read: {e.Message}.");
        }
        if (Check(request, image) is { } wrong) return wrong;
        await _one.WaitAsync(cancellation);
        try
        {
            var now = await LookAsync(parts, cancellation);
            if (parts.Journal.Record is { } known && known.Era == request.Era) return now;
            if (now.State != "waits")
                return new ControlFailure(ControlStatus.Conflict, $"Node {nodeName} has a journal of cluster {now.Cluster:N}: it must stand down first.");
            if (now.Fingerprint != request.Fingerprint)
                return new ControlFailure(ControlStatus.Conflict, $"The copies on node {nodeName} are not those that the plan rests on: make it anew.");
            // The image first: a node that belongs to the era and has none relies on the others'.
            RecoveryImage.Save(parts.JournalDirectory, request.Image);
            var members = request.Members.Select(member => new FormationMember(member.Name, member.NodeId, new JournalAddress(member.Host, member.Port)));
            if (!parts.Journal.Recover(new FormationRecord(request.Cluster, request.Era, [.. members])))
                return new ControlFailure(ControlStatus.Conflict, $"Node {nodeName} has joined a cluster meanwhile, or its data is of another one than {request.Cluster:N}.");
            return await LookAsync(parts, cancellation);
        }
        finally
        {
            _one.Release();
        }
    }

    public async Task<ControlResult<RecoveryResource>> StandDownAsync(CancellationToken cancellation)
    {
        if (_parts is not { } parts) return NotYet;
        var now = await LookAsync(parts, cancellation);
        if (now.State == "waits") return now;
        if (now.Leader.Length > 0)
            return new ControlFailure(ControlStatus.Conflict, $"Node {nodeName} hears the journal's leader {now.Leader}: its journal is alive and stays.");
        if (ClusterOf(parts.Store) is null)
            return new ControlFailure(ControlStatus.Conflict, $"Node {nodeName} has no data that would tell its cluster: stop it and delete its directory instead.");
        standDown(now.Era!.Value);
        return now;
    }

    /// <summary>What is left of a lost majority may know of volumes that have no copy on any node that runs.</summary>
    private static async Task<RecoveryResource> WithCatalogueAsync(RecoveryResource now, JournalNode journal, CancellationToken cancellation)
    {
        try
        {
            var state = await journal.GuessStateAsync().WaitAsync(cancellation);
            return state is null ? now with { CatalogueFailure = "it has too much to do, or ends" } : now with { Catalogue = LogCatalogue.Of(state) };
        }
        catch (Exception e) when (e is JournalFormatException or EventFormatException or InvariantException)
        {
            return now with { CatalogueFailure = e.Message };
        }
    }

    private static ControlFailure? Check(RecoverRequest request, RecoveryImage image)
    {
        if (image.Era != request.Era || !RecoveryEra.IsRecovered(request.Era))
            return new ControlFailure(ControlStatus.Invalid, $"The era {request.Era} is not that of the image, or none of a recovery.");
        if (request.Members.Count is 0 or > JournalLimits.MembersMax)
            return new ControlFailure(ControlStatus.Invalid, $"A journal has 1 to {JournalLimits.MembersMax} control members, not {request.Members.Count}.");
        return null;
    }

    private async Task<RecoveryResource> LookAsync(Parts parts, CancellationToken cancellation)
    {
        var copies = await CopiesAsync(parts).WaitAsync(cancellation);
        var (record, status) = (parts.Journal.Record, parts.Journal.Log.Status);
        return new RecoveryResource
        {
            Node = nodeName,
            NodeId = parts.Journal.NodeId,
            Cluster = record?.ClusterId ?? ClusterOf(parts.Store) ?? Guid.Empty,
            State = record is null ? "waits" : "member",
            Era = record?.Era,
            Leader = status.LeaderName ?? "",
            HasLog = parts.Journal.HasLog,
            ControlMembers = [.. status.Members.All.Where(member => member.IsVoter).Select(member => member.Node.Name)],
            JournalHost = parts.Journal.Address.Host,
            JournalPort = parts.Journal.Address.Port,
            StoreId = parts.Store.StoreId,
            StoreOpenCount = parts.Store.OpenCount,
            StoreOpenMarks = [.. parts.Store.Opens.Marks.Select(mark => mark.ToString("x16", CultureInfo.InvariantCulture))],
            Copies = copies,
            Fingerprint = Fingerprint(parts.Store, copies),
        };
    }

    private static async Task<IReadOnlyList<RecoveryCopyResource>> CopiesAsync(Parts parts)
    {
        var found = new TaskCompletionSource<IReadOnlyList<RecoveryCopyResource>>(TaskCreationOptions.RunContinuationsAsynchronously);
        parts.Loop.Post(() => found.SetResult([.. parts.Store.Volumes.OrderBy(volume => volume.Volume).Select(volume => new RecoveryCopyResource
        {
            Volume = volume.Volume.ToString(),
            Header = volume.Header.ToArray(),
            LastRecordEpoch = volume.LastRecordEpoch,
            LastSequence = volume.LastSequence,
            Damage = volume.Damage,
        })]));
        return await found.Task;
    }

    private static string Fingerprint(BlockStore store, IReadOnlyList<RecoveryCopyResource> copies)
    {
        var hash = new XxHash3();
        Span<byte> numbers = stackalloc byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(numbers, store.OpenCount);
        hash.Append(numbers);
        foreach (var copy in copies)
        {
            hash.Append(copy.Header);
            BinaryPrimitives.WriteUInt64LittleEndian(numbers, copy.LastRecordEpoch);
            BinaryPrimitives.WriteUInt64LittleEndian(numbers[8..], copy.LastSequence);
            hash.Append(numbers);
        }
        return Convert.ToHexString(hash.GetCurrentHash());
    }
}
