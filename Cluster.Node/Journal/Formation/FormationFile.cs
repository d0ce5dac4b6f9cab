using System.Buffers.Binary;
using System.IO.Hashing;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Raft;

namespace Cluster.Node.Journal.Formation;

/// <summary>
/// The node's identity and formation on disk, "formation.bin": magic u32 | version u16 | zero u16 | length i32 | body | XxHash3
/// u64 over all
/// before it. Body: node id, formation state. Replaced whole and synced. A damaged file throws: guessing here could form a second
/// cluster.
/// </summary>
public sealed class FormationFile
{
    private const uint Magic = 0x464F594D;                    // "MYOF"
    private const ushort Version = 1;
    private const int HeaderBytes = 12;
    private readonly string _path;

    private FormationFile(string path, Guid nodeId, FormationState state)
    {
        (_path, NodeId, State) = (path, nodeId, state);
    }

    public Guid NodeId { get; }
    public FormationState State { get; private set; }

    /// <summary>
    /// Reads the file, or makes it for a node that starts for the first time, with <paramref name="nodeId"/> or a random one.
    /// </summary>
    public static FormationFile Open(string directory, Guid? nodeId)
    {
        Directory.CreateDirectory(directory);
        var path = Path.Combine(directory, "formation.bin");
        if (File.Exists(path))
        {
            var (foundId, state) = Decode(File.ReadAllBytes(path), path);
            if (nodeId is { } wanted && wanted != foundId)
                throw new JournalFormatException(
                    $"{path} belongs to node {foundId}, this node is {wanted}: the data directory was mixed up");
            return new FormationFile(path, foundId, state);
        }
        var file = new FormationFile(path, nodeId ?? Guid.NewGuid(), FormationState.None);
        file.Save(FormationState.None);
        return file;
    }

    /// <summary>Returns once the state is on media.</summary>
    public void Save(FormationState state)
    {
        DurableFiles.ReplaceFile(_path, Encode(NodeId, state));
        State = state;
    }

    internal static byte[] Encode(Guid nodeId, FormationState state)
    {
        var body = new JournalWriter().Id(nodeId);
        state.Write(body);
        var writer = new JournalWriter().I32(unchecked((int)Magic)).U16(Version).U16(0).Bytes(body.Written);
        return writer.I64(unchecked((long)XxHash3.HashToUInt64(writer.Written))).ToArray();
    }

    internal static (Guid NodeId, FormationState State) Decode(ReadOnlySpan<byte> from, string name)
    {
        if (from.Length < HeaderBytes + 8 || BinaryPrimitives.ReadUInt32LittleEndian(from) != Magic)
            throw new JournalFormatException($"{name} is no formation file");
        if (BinaryPrimitives.ReadUInt64LittleEndian(from[^8..]) != XxHash3.HashToUInt64(from[..^8]))
            throw new JournalFormatException($"{name} is damaged: its checksum is wrong");
        var version = BinaryPrimitives.ReadUInt16LittleEndian(from[4..]);
        if (version != Version) throw new JournalFormatException($"{name} has version {version}, which this program does not know");
        var reader = new JournalReader(from[HeaderBytes..^8]);
        var nodeId = reader.Id();
        var state = FormationState.Read(ref reader);
        reader.End();
        return (nodeId, state);
    }
}
