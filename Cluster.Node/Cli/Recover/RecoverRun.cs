using System.Diagnostics;
using System.Globalization;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Api;
using Cluster.Node.Cli.Output;
using Cluster.Node.Hosting.Serialization;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Formation;
using Cluster.Node.Journal.Recovery;
using Cluster.Node.Owner;
using Cluster.Node.Placement;
using Cluster.Node.Repair;
using Cluster.Node.Replica;

namespace Cluster.Node.Cli.Recover;

/// <summary>One run of the verb: asks all nodes, prints the plan, and does it when told so.</summary>
internal sealed class RecoverRun(IReadOnlyList<Uri> endpoints, HashSet<string> force, HashSet<string> skip, Printer printer)
{
    private const string Path = "/v1/recovery";

    /// <summary>How long nodes may take to stand down, and to serve after the recovery.</summary>
    private static readonly TimeSpan WaitMax = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(300);

    private sealed record Seen(Uri Endpoint, RecoveryResource Resource, RecoveryNode Node);

    public async Task<int> RunAsync(bool apply, CancellationToken cancellation)
    {
        if (await AskAllAsync(cancellation) is not { } seen) return ExitCode.Unreachable;
        var plan = RecoveryPlan.Make([.. seen.Select(each => each.Node)], force);
        if (Judge(plan, apply) is { } code) return code;
        if (!apply)
        {
            printer.Hint("Nothing was changed. Run it again with --apply to do this.");
            return Stands(plan).Any() ? ExitCode.Conflict : ExitCode.Ok;
        }
        if (plan.StandDown.Any())
        {
            if (await StandDownAsync([.. seen.Where(each => !each.Node.Waits)], cancellation) is { } failed) return failed;
            printer.Hint("What the copies say after that:");
            if (await AskAllAsync(cancellation) is not { } again) return ExitCode.Unreachable;
            // The logs that knew these volumes are put aside.
            (seen, plan) = (again, RecoveryPlan.Make([.. again.Select(each => each.Node)], force) with { Known = plan.Known });
            if (Judge(plan, apply) is { } stopped) return stopped;
        }
        return await ApplyAsync(seen, plan, cancellation);
    }

    public async Task<int> StandDownAsync(CancellationToken cancellation)
    {
        if (await AskAllAsync(cancellation) is not { } seen) return ExitCode.Unreachable;
        return await StandDownAsync([.. seen.Where(each => !each.Node.Waits)], cancellation) ?? ExitCode.Ok;
    }

    private bool IsSkipped(string name, VolumeId volume) => skip.Contains(name) || skip.Contains(volume.ToString());

    /// <summary>Why nothing is applied, each the beginning of a sentence with what helps.</summary>
    private IEnumerable<string> Stands(RecoveryPlan plan)
    {
        var lost = plan.Lost.Where(volume => !IsSkipped(volume.Name, volume.Volume)).Select(volume => volume.Name).ToList();
        if (lost.Count > 0) yield return $"{string.Join(" and ", lost)} can't be recovered: start the nodes that are named above, or give --force or --skip for each";
        var without = plan.WithoutCopy.Where(volume => !IsSkipped(volume.Name, volume.Volume)).Select(volume => volume.Name).ToList();
        if (without.Count > 0) yield return $"no copy of {string.Join(" and ", without)} was found: start a node that had one, and name its endpoint too, or give --skip for each";
    }

    /// <summary>Prints the plan; the exit code when nothing may be done.</summary>
    private int? Judge(RecoveryPlan plan, bool apply)
    {
        if (plan.Refusal.Length > 0) return Fail(ExitCode.Conflict, plan.Refusal);
        if (printer.Format == OutputFormat.Table) RecoverText.Print(printer.Output, plan);
        else printer.Print(RecoverText.ToJson(plan), () => []);
        var names = plan.Volumes.SelectMany(volume => new[] { volume.Name, volume.Volume.ToString() }).ToHashSet(StringComparer.Ordinal);
        var left = plan.WithoutCopy.SelectMany(volume => new[] { volume.Name, volume.Volume.ToString() });
        if (force.Concat(skip.Except(left)).FirstOrDefault(name => !names.Contains(name)) is { } unknown)
            return Fail(ExitCode.NotFound, $"No copy of a volume '{unknown}' was found; the plan names all.");
        return apply && Stands(plan).ToList() is { Count: > 0 } stands ? Fail(ExitCode.Conflict, $"Nothing was changed, since {string.Join("; and ", stands)}.") : null;
    }

    private async Task<List<Seen>?> AskAllAsync(CancellationToken cancellation)
    {
        var seen = new List<Seen>();
        foreach (var endpoint in endpoints)
        {
            using var api = new ApiClient(endpoint);
            var answer = await api.GetAsync(Path, cancellation);
            if (!answer.IsOk)
            {
                Fail(answer.ExitCode, $"{answer.Error} Name only nodes that run; what the others hold counts as missing.");
                return null;
            }
            var resource = answer.As<RecoveryResource>();
            seen.Add(new Seen(endpoint, resource, NodeOf(resource)));
        }
        return seen;
    }

    private static RecoveryNode NodeOf(RecoveryResource resource)
    {
        var opens = new StoreOpens(resource.StoreOpenCount,
            [.. resource.StoreOpenMarks.Select(mark => ulong.TryParse(mark, NumberStyles.HexNumber, CultureInfo.InvariantCulture, out var read) ? read : 0)]);
        var copies = resource.Copies.Select(copy => (Copy: copy, Header: ReplicaHeader.TryDecode(copy.Header))).Where(pair => pair.Header is not null)
            .Select(pair => new RecoveryCopy(new NodeId(resource.NodeId), resource.Node, resource.StoreId, opens, pair.Header!, pair.Copy.LastRecordEpoch,
                pair.Copy.LastSequence, pair.Copy.Damage));
        return new RecoveryNode(new FormationMember(resource.Node, resource.NodeId, new JournalAddress(resource.JournalHost, resource.JournalPort)), resource.Cluster,
            resource.Era, resource.Leader, resource.HasLog, [.. resource.ControlMembers], resource.StoreId, [.. copies])
        {
            Catalogue = [.. (resource.Catalogue ?? []).Select(volume => VolumeId.TryParse(volume.Volume, out var id) ? new KnownVolume(id, volume.Name, [.. volume.Nodes]) : null).OfType<KnownVolume>()],
            CatalogueFailure = resource.CatalogueFailure ?? "",
        };
    }

    private async Task<int?> StandDownAsync(IReadOnlyList<Seen> nodes, CancellationToken cancellation)
    {
        foreach (var node in nodes)
        {
            using var api = new ApiClient(node.Endpoint);
            var answer = await api.PostAsync($"{Path}/stand-down", null, cancellation);
            if (!answer.IsOk) return Fail(answer.ExitCode, answer.Error);
            printer.Hint($"Node {node.Node.Name} puts its journal aside and starts anew.");
        }
        var waited = Stopwatch.StartNew();
        foreach (var node in nodes)
        {
            using var api = new ApiClient(node.Endpoint);
            // Another count of opens: it is the new start that answers.
            while (!await IsStartedAnewAsync(api, node, cancellation))
            {
                if (waited.Elapsed > WaitMax) return Fail(ExitCode.Unreachable, $"Node {node.Node.Name} did not come back within {WaitMax.TotalSeconds:0} s: look at its log.");
                await Task.Delay(Pause, cancellation);
            }
        }
        return null;
    }

    private static async Task<bool> IsStartedAnewAsync(ApiClient api, Seen node, CancellationToken cancellation)
    {
        var answer = await api.GetAsync(Path, cancellation);
        return answer.IsOk && answer.As<RecoveryResource>().StoreOpenCount > node.Resource.StoreOpenCount;
    }

    private async Task<int> ApplyAsync(IReadOnlyList<Seen> seen, RecoveryPlan plan, CancellationToken cancellation)
    {
        var era = RecoveryEra.New();
        var image = ImageOf(plan, era, DateTime.UtcNow.Ticks).Encode();
        if (image.Length > RecoveryImage.BytesMax)
            return Fail(ExitCode.Failure, $"The new journal would begin with {image.Length} bytes, over the limit of {RecoveryImage.BytesMax}.");
        var members = plan.ControlMembers.Select(member => new RecoveryMemberRequest
        {
            Name = member.Name,
            NodeId = member.NodeId,
            Host = member.Address.Host,
            Port = member.Address.Port,
        }).ToList();
        foreach (var node in seen)
        {
            using var api = new ApiClient(node.Endpoint);
            var request = new RecoverRequest { Fingerprint = node.Resource.Fingerprint, Cluster = plan.Nodes[0].Cluster, Era = era, Members = members, Image = image };
            var answer = await api.PostAsync(Path, request, cancellation);
            // It may have heard of the new era from one that was told before: then it has joined it.
            if (!answer.IsOk && !await IsInAsync(api, era, cancellation)) return Fail(answer.ExitCode, answer.Error);
            printer.Hint($"Node {node.Node.Name} goes on in era {era:N}.");
        }
        return await WaitUntilServingAsync(seen, plan, cancellation);
    }

    private static async Task<bool> IsInAsync(ApiClient api, Guid era, CancellationToken cancellation)
    {
        var answer = await api.GetAsync(Path, cancellation);
        return answer.IsOk && answer.As<RecoveryResource>().Era == era;
    }

    private async Task<int> WaitUntilServingAsync(IReadOnlyList<Seen> seen, RecoveryPlan plan, CancellationToken cancellation)
    {
        var waited = Stopwatch.StartNew();
        foreach (var node in seen)
        {
            using var api = new ApiClient(node.Endpoint);
            while (!(await api.GetAsync("/v1/health", cancellation)).IsOk)
            {
                if (waited.Elapsed > WaitMax)
                    return Fail(ExitCode.Unreachable, $"Node {node.Node.Name} does not serve after {WaitMax.TotalSeconds:0} s; it goes on by itself, see its log and `myrmidon status`.");
                await Task.Delay(Pause, cancellation);
            }
        }
        printer.Hint($"Done: {plan.Volumes.Count(volume => volume.IsRecovered)} volumes are in the catalogue again; `myrmidon volume list` shows them.");
        return ExitCode.Ok;
    }

    internal static RecoveryImage ImageOf(RecoveryPlan plan, Guid era, long ticks)
    {
        var streams = new List<RecoveredStream> { new(PlacementActor.StreamId, [.. plan.Catalogue().Select(PayloadOf)]) };
        streams.AddRange(plan.Volumes.Where(volume => volume.IsRecovered)
            .Select(volume => new RecoveredStream(VolumeActor.PersistenceIdOf(volume.Volume), [PayloadOf(volume.ToEvent())])));
        return new RecoveryImage(era, ticks, streams);
    }

    private static MetaPayload PayloadOf(object e) => new(SerializerIds.Event, EventCodec.ManifestOf(e), EventCodec.Encode(e));

    private int Fail(int code, string sentence)
    {
        printer.Error(sentence);
        return code;
    }
}
