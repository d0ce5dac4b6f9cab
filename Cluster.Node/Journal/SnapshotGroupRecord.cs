using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal;

/// <summary>How far a group snapshot has come. Each step is a compare and set of its record.</summary>
public enum SnapshotGroupPhase : byte
{
    /// <summary>Somebody takes the volumes' markers. Nothing of it is in any volume's journal.</summary>
    Taking = 1,
    /// <summary>Every volume has its marker: their snapshots may be in their journals.</summary>
    Marked = 2,
    /// <summary>Every volume's snapshot is in its journal.</summary>
    Ready = 3,
    /// <summary>Its snapshots go, and then the record.</summary>
    Undoing = 4,
}

/// <summary>One volume of a group. Sequence and time together name its snapshot; both are 0 while the group is being taken.</summary>
public sealed record SnapshotGroupMember(VolumeId Volume, string FullName, ulong Sequence, ulong CreatedUnixMs);

/// <summary>A snapshot of several volumes at one point.</summary>
/// <param name="Name">Of the group, and of the snapshot on each of its volumes.</param>
/// <param name="Attempt">Random: who has written it knows it by this.</param>
/// <param name="StartedUnixMs">When, by the clock of who makes it: one that is under way for long was given up.</param>
public sealed record SnapshotGroupRecord(SnapshotGroupPhase Phase, string Name, Guid Attempt, ulong StartedUnixMs, ImmutableArray<SnapshotGroupMember> Members)
{
    private const byte Version = 1;

    /// <summary>Bytes of a member at least: id, length of the name, sequence, time.</summary>
    private const int MemberBytesMin = 8 + 4 + 8 + 8;

    internal byte[] Encode()
    {
        var writer = new JournalWriter().U8(Version).U8((byte)Phase).Text(Name).Id(Attempt).I64((long)StartedUnixMs).I32(Members.Length);
        foreach (var member in Members) writer.I64((long)member.Volume.Value).Text(member.FullName).I64((long)member.Sequence).I64((long)member.CreatedUnixMs);
        return writer.ToArray();
    }

    internal static SnapshotGroupRecord Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var version = reader.U8();
        if (version != Version) throw new JournalFormatException($"snapshot group record version {version} is not known to this program");
        var phase = (SnapshotGroupPhase)reader.U8();
        if (!Enum.IsDefined(phase)) throw new JournalFormatException($"a snapshot group is in phase {(byte)phase}, which this program does not know");
        var (name, attempt, started) = (reader.Text(), reader.Id(), (ulong)reader.I64());
        var members = ImmutableArray.CreateBuilder<SnapshotGroupMember>(reader.Count(MemberBytesMin, Limits.GroupVolumesMax));
        for (var left = members.Capacity; left > 0; left--)
            members.Add(new SnapshotGroupMember(new VolumeId((ulong)reader.I64()), reader.Text(), (ulong)reader.I64(), (ulong)reader.I64()));
        reader.End();
        return new SnapshotGroupRecord(phase, name, attempt, started, members.MoveToImmutable());
    }
}

/// <summary>A record that this program can't read: damaged, or written by a newer one.</summary>
public sealed record UnreadableSnapshotGroup(string Name, string Reason);

/// <summary>All records, each by name.</summary>
public sealed record SnapshotGroupList(IReadOnlyList<SnapshotGroupRecord> Records, IReadOnlyList<UnreadableSnapshotGroup> Unreadable)
{
    public int Count => Records.Count + Unreadable.Count;
}

/// <summary>The group snapshots of the cluster, as keys "snapshot-group/NAME" of the journal. Any thread. Throws <see cref="MetaLogUnavailableException"/>.</summary>
public sealed class SnapshotGroupBook(IMetaLog log)
{
    private const string Prefix = "snapshot-group/";

    /// <summary>Null, and version 0, when there is none of that name. Throws <see cref="JournalFormatException"/> when it can't be read.</summary>
    public async Task<(SnapshotGroupRecord? Record, long Version)> ReadAsync(string name, CancellationToken cancellation) =>
        await log.ReadKeyAsync(Prefix + name, cancellation) is { } key ? (SnapshotGroupRecord.Decode(key.Value), key.Version) : (null, 0);

    /// <summary>One that can't be read keeps no other from being told.</summary>
    public async Task<SnapshotGroupList> ListAsync(CancellationToken cancellation)
    {
        var (records, unreadable) = (new List<SnapshotGroupRecord>(), new List<UnreadableSnapshotGroup>());
        foreach (var key in await log.ReadKeysAsync(Prefix, cancellation))
        {
            try
            {
                records.Add(SnapshotGroupRecord.Decode(key.Value));
            }
            catch (JournalFormatException e)
            {
                unreadable.Add(new UnreadableSnapshotGroup(key.Key[Prefix.Length..], e.Message));
            }
        }
        return new SnapshotGroupList(records, unreadable);
    }

    /// <summary>The record's new version, or null: somebody else has written meanwhile.</summary>
    /// <param name="version">The one that was read; 0: there must be none.</param>
    public Task<long?> WriteAsync(SnapshotGroupRecord record, long version, CancellationToken cancellation) => SetAsync(record.Name, version, record.Encode(), cancellation);

    /// <summary>False: somebody else has written meanwhile.</summary>
    public async Task<bool> RemoveAsync(string name, long version, CancellationToken cancellation) => await SetAsync(name, version, null, cancellation) is not null;

    /// <summary>Takes away a record that can't be read, and nothing else. False: there is none of that name. Null: it can be read, or somebody else has written meanwhile.</summary>
    public async Task<bool?> ForgetAsync(string name, CancellationToken cancellation)
    {
        if (await log.ReadKeyAsync(Prefix + name, cancellation) is not { } key) return false;
        try
        {
            SnapshotGroupRecord.Decode(key.Value);
            return null;
        }
        catch (JournalFormatException)
        {
            return await RemoveAsync(name, key.Version, cancellation) ? true : null;
        }
    }

    private async Task<long?> SetAsync(string name, long version, byte[]? value, CancellationToken cancellation)
    {
        var answer = await log.ProposeAsync(new MetaCommand.SetKey(Prefix + name, version, value), cancellation);
        if (answer.IsOk) return answer.Current;
        if (answer.Status == MetaAnswerStatus.Conflict) return null;
        throw new MetaLogUnavailableException($"the journal did not take the record of snapshot group {name}: {answer.Status}");
    }
}
