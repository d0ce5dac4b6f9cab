using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.Formation;

/// <summary>
/// A node's part in the Raft group, as it knows it. LogOf: the server whose log lies in this directory, or -1: if that log is gone, the
/// node may never vote as that server again. Members: the newest that are known to be committed.
/// </summary>
public sealed record GroupState(int LogOf, RaftMembers Members)
{
    public const int NoLog = -1;
}

/// <summary>
/// The node's identity, formation and part in the Raft group on disk, "formation.bin": magic u32 | version u16 | zero u16 | length i32 |
/// body | XxHash3 u64 over all before it. Body: node id, formation state, and from version 2 on the group's state. Replaced whole and
/// synced. A damaged file throws: guessing here could form a second cluster. Thread-safe.
/// </summary>
public sealed class FormationFile
{
    private const uint Magic = 0x464F594D;                    // "MYOF"
    private const ushort Version = 2;
    private const ushort VersionWithoutGroup = 1;
    private const int HeaderBytes = 12;
    private const string FileName = "formation.bin";
    private readonly string _path;
    private readonly Lock _gate = new();

    private FormationFile(string path, FormationImage image)
    {
        (_path, NodeId, State, Group) = (path, image.NodeId, image.State, image.Group);
    }

    public Guid NodeId { get; }

    public FormationState State { get; private set; }

    /// <summary>Null until the node belongs to a cluster, and in a file of version 1.</summary>
    public GroupState? Group { get; private set; }

    /// <summary>The node with this directory, and the cluster that it belongs to; each empty when there is none.</summary>
    public static (Guid NodeId, Guid ClusterId) IdentityIn(string directory)
    {
        var path = Path.Combine(directory, FileName);
        if (!File.Exists(path)) return (Guid.Empty, Guid.Empty);
        var image = Decode(File.ReadAllBytes(path), path);
        return (image.NodeId, image.State.Record?.ClusterId ?? Guid.Empty);
    }

    /// <summary>
    /// Reads the file, or makes it for a node that starts for the first time, with <paramref name="nodeId"/> or a random one.
    /// </summary>
    public static FormationFile Open(string directory, Guid? nodeId)
    {
        Directory.CreateDirectory(directory);
        var path = Path.Combine(directory, FileName);
        if (File.Exists(path))
        {
            var image = Decode(File.ReadAllBytes(path), path);
            if (nodeId is { } wanted && wanted != image.NodeId)
                throw new JournalFormatException(
                    $"{path} belongs to node {image.NodeId}, this node is {wanted}: the data directory was mixed up");
            return new FormationFile(path, image);
        }
        var file = new FormationFile(path, new FormationImage(nodeId ?? Guid.NewGuid(), FormationState.None, null));
        file.Save(FormationState.None);
        return file;
    }

    /// <summary>Returns once the state is on media.</summary>
    public void Save(FormationState state)
    {
        lock (_gate)
        {
            // A group is of one cluster and era: what was known of another one's servers says nothing about this one's.
            var same = (State.Record?.ClusterId, State.Record?.Era) == (state.Record?.ClusterId, state.Record?.Era);
            var image = new FormationImage(NodeId, state, same ? Group : null);
            DurableFiles.ReplaceFile(_path, Encode(image));
            (State, Group) = (image.State, image.Group);
        }
    }

    /// <summary>Returns once the state is on media.</summary>
    public void Save(GroupState group)
    {
        lock (_gate)
        {
            DurableFiles.ReplaceFile(_path, Encode(new FormationImage(NodeId, State, group)));
            Group = group;
        }
    }

    internal static byte[] Encode(FormationImage image)
    {
        var body = new JournalWriter().Id(image.NodeId);
        image.State.Write(body);
        body.Flag(image.Group is not null);
        if (image.Group is { } group) group.Members.Write(body.I32(group.LogOf));
        var writer = new JournalWriter().I32(unchecked((int)Magic)).U16(Version).U16(0).Bytes(body.Written);
        return writer.I64(unchecked((long)XxHash3.HashToUInt64(writer.Written))).ToArray();
    }

    internal static FormationImage Decode(ReadOnlySpan<byte> from, string name)
    {
        if (from.Length < HeaderBytes + 8 || BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic)
            throw new JournalFormatException($"{name} is no formation file");
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[^8..]) != XxHash3.HashToUInt64(from[..^8]))
            throw new JournalFormatException($"{name} is damaged: its checksum is wrong");
        var version = BinaryPrimitives.ReadUInt16LittleEndian(from[4..]);
        if (version is not (Version or VersionWithoutGroup))
            throw new JournalFormatException($"{name} has version {version}, which this program does not know");
        var reader = new JournalReader(from[HeaderBytes..^8]);
        var (nodeId, state) = (reader.Id(), FormationState.Read(ref reader));
        var group = version == Version && reader.Flag() ? new GroupState(reader.I32(), RaftMembers.Read(ref reader)) : null;
        reader.End();
        return new FormationImage(nodeId, state, group);
    }
}

/// <summary>All that <see cref="FormationFile"/> holds.</summary>
internal sealed record FormationImage(Guid NodeId, FormationState State, GroupState? Group);
