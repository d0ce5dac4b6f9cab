using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Net;

namespace Cluster.Node.Journal;

/// <summary>What a node does about the Akka cluster now.</summary>
public abstract record AkkaJoinDecision
{
    /// <summary>Join through these addresses: members that are up.</summary>
    public sealed record Join(IReadOnlyList<string> Addresses) : AkkaJoinDecision;

    /// <summary>Form the Akka cluster by joining oneself: nobody else may.</summary>
    public sealed record FormNew(long Incarnation) : AkkaJoinDecision;

    /// <summary>Ask again shortly: another node is to form it.</summary>
    public sealed record Wait(string Why) : AkkaJoinDecision;
}

/// <summary>Who formed the Akka cluster last: its count of formations, and the forming process.</summary>
public sealed record AkkaFormationRecord(long Incarnation, string Address, long Uid)
{
    private const byte Version = 1;

    internal byte[] Encode() => new JournalWriter().U8(Version).I64(Incarnation).Text(Address).I64(Uid).ToArray();

    internal static AkkaFormationRecord Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var version = reader.U8();
        if (version != Version) throw new JournalFormatException($"Akka formation version {version} is not known to this program");
        var record = new AkkaFormationRecord(reader.I64(), reader.Text(), reader.I64());
        reader.End();
        return record;
    }
}

/// <summary>
/// Decides who may form the Akka cluster, so that restarted seeds never form a second one: any member that is up is joined; if none
/// answers, only the journal's leader forms a new one, and only by a compare and set. (It places no bets on Akka for safety: R18.)
/// </summary>
/// <param name="ask">What the node at an address says of itself, or null if it does not answer; null: it is asked over the network.</param>
public sealed class AkkaFormation(JournalNode journal, Func<JournalAddress, CancellationToken, Task<HelloAnswer?>>? ask = null)
{
    private const string Key = "akka/formation";

    /// <summary>A member that is up may be too busy, or its network too bad, to answer once; a second cluster beside it costs more than the wait.</summary>
    private const int AsksMax = 3;

    private readonly Func<JournalAddress, CancellationToken, Task<HelloAnswer?>> _ask = ask ?? journal.AskAsync;

    /// <summary>
    /// Call until it says Join or FormNew. <paramref name="self"/>: this process's own Akka address and uid, not up yet.
    /// </summary>
    public async Task<AkkaJoinDecision> DecideAsync(AkkaSelf self, CancellationToken ct)
    {
        var log = journal.Log;
        var found = await log.ReadKeyAsync(Key, ct).ConfigureAwait(false);
        var record = found is null ? null : AkkaFormationRecord.Decode(found.Value);
        if (record is not null && record.Address == self.Address && record.Uid == self.Uid)
            return new AkkaJoinDecision.FormNew(record.Incarnation);
        var up = await MembersUpAsync(self, ct).ConfigureAwait(false);
        if (up.Count > 0) return new AkkaJoinDecision.Join(up);
        if (log.Status.Role != MetaLogRole.Leader)
            return new AkkaJoinDecision.Wait($"the journal's leader ({log.Status.LeaderName ?? "none yet"}) forms it");
        for (var asks = 1; asks < AsksMax && up.Count == 0; asks++) up = await MembersUpAsync(self, ct).ConfigureAwait(false);
        if (up.Count > 0) return new AkkaJoinDecision.Join(up);
        var next = new AkkaFormationRecord((record?.Incarnation ?? 0) + 1, self.Address, self.Uid);
        var answer = await log.ProposeAsync(new MetaCommand.SetKey(Key, found?.Version ?? 0, next.Encode()), ct).ConfigureAwait(false);
        return answer.IsOk ? new AkkaJoinDecision.FormNew(next.Incarnation) : new AkkaJoinDecision.Wait("another node was faster");
    }

    /// <summary>Akka addresses of the members that answer and are up, the last former's first.</summary>
    private async Task<IReadOnlyList<string>> MembersUpAsync(AkkaSelf self, CancellationToken ct)
    {
        var formation = await journal.Formed.WaitAsync(ct).ConfigureAwait(false);
        var nodes = await new NodeDirectory(journal.Log).ListAsync(ct).ConfigureAwait(false);
        var registered = nodes.Select(n => new JournalAddress(n.Host, n.JournalPort));
        var addresses = formation.Members.Select(m => m.Address).Concat(registered).Distinct();
        var answers = await Task.WhenAll(addresses.Select(a => _ask(a, ct))).ConfigureAwait(false);
        return [.. answers.Where(a => a?.State.Record?.ClusterId == formation.ClusterId && a.Akka is { IsUp: true })
            .Select(a => a!.Akka!).Where(a => a.Address != self.Address).Select(a => a.Address).Distinct(StringComparer.Ordinal)];
    }
}
