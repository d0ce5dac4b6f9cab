using System.Text;

namespace Cluster.Node.Cli.Chaos;

/// <summary>Counts the lines with a text that a growing log gets from now on; one that is not whole yet counts once it is. One thread.</summary>
internal sealed class LogCounter
{
    private readonly string _path;
    private readonly byte[] _text;
    private long _read;

    public LogCounter(string path, string text)
    {
        (_path, _text) = (path, Encoding.UTF8.GetBytes(text));
        _read = File.Exists(path) ? new FileInfo(path).Length : 0;
    }

    /// <summary>Since the last call. A log that is not there has none.</summary>
    public int CountNew()
    {
        try
        {
            using var log = new FileStream(_path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
            // It was begun anew.
            if (log.Length < _read) _read = 0;
            log.Position = _read;
            var bytes = new byte[log.Length - _read];
            log.ReadExactly(bytes);
            var whole = bytes.AsSpan(0, bytes.AsSpan().LastIndexOf((byte)'\n') + 1);
            _read += whole.Length;
            return CountLines(whole);
        }
        catch (IOException)
        {
            return 0;
        }
    }

    private int CountLines(ReadOnlySpan<byte> lines)
    {
        var count = 0;
        while (lines.IndexOf((byte)'\n') is var end and >= 0)
        {
            if (lines[..end].IndexOf(_text) >= 0) count++;
            lines = lines[(end + 1)..];
        }
        return count;
    }
}
