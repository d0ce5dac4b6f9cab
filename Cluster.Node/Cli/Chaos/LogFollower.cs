using System.Text;

namespace Cluster.Node.Cli.Chaos;

/// <summary>The lines that a growing log got since they were last asked for; what it had before does not count. Not thread-safe.</summary>
internal sealed class LogFollower
{
    /// <summary>Bytes that are read at one time; more come the next time.</summary>
    private const int ChunkBytes = 1 << 20;

    private readonly string _path;
    private readonly byte[] _chunk = new byte[ChunkBytes];
    private long _at;

    public LogFollower(string path)
    {
        _path = path;
        _at = File.Exists(path) ? new FileInfo(path).Length : 0;
    }

    /// <summary>Whole lines only, each once. None while there is no log.</summary>
    public IReadOnlyList<string> ReadNew()
    {
        if (!File.Exists(_path)) return [];
        using var log = File.OpenHandle(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        var read = RandomAccess.Read(log, _chunk, _at);
        var end = _chunk.AsSpan(0, read).LastIndexOf((byte)'\n');
        // A line that fills the chunk is no line: it is passed over.
        if (end < 0 && read < ChunkBytes) return [];
        var taken = end < 0 ? read : end + 1;
        _at += taken;
        return end < 0 ? [] : Encoding.UTF8.GetString(_chunk, 0, end).Split('\n');
    }
}
