using System.Buffers;
using System.Globalization;
using Cluster.Node.Journal.Format;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace Cluster.Node.Journal.Raft;

/// <summary>
/// One member's durable Raft state in one append-only file "raft-GENERATION.log". A compaction writes the next generation whole (head,
/// snapshot, vote, entries), syncs it, renames it into place, syncs the directory, and only then deletes the old one. Within a file the
/// last vote counts, and an entry replaces what was there from its index on. One thread.
/// </summary>
public sealed partial class FileRaftLog : IDisposable
{
    private readonly string _directory;
    private readonly Guid _clusterId;
    private readonly ILogger _logger;
    private SafeFileHandle _file;
    private long _generation;
    private long _writtenBytes;
    private long _syncedBytes;
    private long _reservedBytes;

    private FileRaftLog(string directory, Guid clusterId, ILogger logger, SafeFileHandle file, long generation, long bytes)
    {
        (_directory, _clusterId, _logger, _file) = (directory, clusterId, logger, file);
        (_generation, _writtenBytes, _syncedBytes) = (generation, bytes, bytes);
        Reserve();
    }

    /// <summary>Bytes of entries since the last compaction, near enough to decide on the next one.</summary>
    public long EntryBytes { get; private set; }

    /// <summary>Whether there is a log in the directory.</summary>
    public static bool Exists(string directory) => Directory.Exists(directory) && FilesOf(directory).Length > 0;

    /// <summary>
    /// Opens the log of <paramref name="clusterId"/>, that <paramref name="formed"/> were the first members of, and reads it back,
    /// or makes an empty one. Throws on anything but a torn tail.
    /// </summary>
    public static FileRaftLog Open(string directory, Guid clusterId, RaftMembers formed, ILogger logger, out RaftDurable durable)
    {
        Directory.CreateDirectory(directory);
        foreach (var leftover in Directory.GetFiles(directory, "*.log.tmp")) File.Delete(leftover);
        var files = FilesOf(directory);
        if (files.Length == 0)
        {
            durable = RaftDurable.Empty(formed);
            var empty = WriteGeneration(directory, clusterId, 1, durable, out var bytes);
            return new FileRaftLog(directory, clusterId, logger, empty, 1, bytes);
        }
        var newest = files[^1];
        var generation = long.Parse(Path.GetFileName(newest)[5..^4], NumberStyles.HexNumber, CultureInfo.InvariantCulture);
        var content = File.ReadAllBytes(newest);
        durable = RaftLogReader.Read(content, newest, generation, clusterId, formed, out var end);
        var file = File.OpenHandle(newest, FileMode.Open, FileAccess.ReadWrite, FileShare.Read);
        if (end < content.Length)
        {
            LogTornTail(logger, newest, end, content.Length - end);
            RandomAccess.SetLength(file, end);
            DurableFiles.SyncData(file);
        }
        foreach (var old in files[..^1]) File.Delete(old);
        return new FileRaftLog(directory, clusterId, logger, file, generation, end)
        {
            EntryBytes = durable.Entries.Sum(e => (long)e.Data.Length + RaftRecord.HeaderBytes),
        };
    }

    /// <summary>
    /// Writes, without a sync. Nothing that follows from it may leave the process before <see cref="Sync"/> returned.
    /// </summary>
    public void Append(RaftVote? vote, IReadOnlyList<RaftEntry> entries)
    {
        var records = new List<(RaftRecord, byte[])>(entries.Count + 1);
        if (vote is { } v) records.Add((VoteRecord(v, _syncedBytes), []));
        foreach (var e in entries) records.Add((EntryRecord(e, _syncedBytes), e.Data));
        if (records.Count == 0) return;
        var total = records.Sum(r => r.Item1.TotalBytes);
        var buffer = ArrayPool<byte>.Shared.Rent(total);
        try
        {
            Encode(records, buffer, _generation);
            RandomAccess.Write(_file, buffer.AsSpan(0, total), _writtenBytes);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
        _writtenBytes += total;
        EntryBytes += total;
        if (_writtenBytes + (JournalLimits.LogReserveBytes / 2) > _reservedBytes) Reserve();
    }

    /// <summary>Returns once everything written is on media; throws if that failed, and then this log is of no more use.</summary>
    public void Sync()
    {
        if (_syncedBytes == _writtenBytes) return;
        DurableFiles.SyncData(_file);
        _syncedBytes = _writtenBytes;
    }

    /// <summary>Starts the next generation with exactly this state, durably.</summary>
    public void Rewrite(RaftDurable durable)
    {
        var next = WriteGeneration(_directory, _clusterId, _generation + 1, durable, out var bytes);
        var old = PathOf(_directory, _generation);
        _file.Dispose();
        File.Delete(old);
        (_file, _generation, _writtenBytes, _syncedBytes) = (next, _generation + 1, bytes, bytes);
        EntryBytes = durable.Entries.Sum(e => (long)e.Data.Length + RaftRecord.HeaderBytes);
        Reserve();
        LogRewritten(_logger, _generation, durable.Snapshot?.Index ?? 0, bytes);
    }

    /// <summary>
    /// The same, unless the disk has no room for it: then the present generation goes on, which may stay longer than it should.
    /// </summary>
    public bool TryRewrite(RaftDurable durable)
    {
        try
        {
            Rewrite(durable);
            return true;
        }
        catch (IOException failure) when (DurableFiles.IsFull(failure) && !File.Exists(PathOf(_directory, _generation + 1)))
        {
            File.Delete(PathOf(_directory, _generation + 1) + ".tmp");
            LogNoRoom(_logger, EntryBytes, _reservedBytes - _writtenBytes);
            return false;
        }
    }

    public void Dispose() => _file.Dispose();

    /// <summary>
    /// Room ahead of the entries, so that a disk that blocks have filled does not stop the journal, which is needed to free them. Without it
    /// the log goes on as long as there is room.
    /// </summary>
    private void Reserve()
    {
        if (DurableFiles.TryReserve(_file, _writtenBytes, JournalLimits.LogReserveBytes)) _reservedBytes = _writtenBytes + JournalLimits.LogReserveBytes;
    }

    private static SafeFileHandle WriteGeneration(string directory, Guid clusterId, long generation, RaftDurable durable, out long bytes)
    {
        var head = new JournalWriter().Id(clusterId).I64(generation).ToArray();
        List<(RaftRecord Record, byte[] Payload)> records = [(Record(RaftRecordKind.Head, head.Length), head)];
        if (durable.Snapshot is { } s)
        {
            var members = s.Members.Encode();
            records.Add((Record(RaftRecordKind.Members, members.Length) with { Index = s.Members.Index }, members));
            records.Add((Record(RaftRecordKind.Snapshot, s.Image.Length) with { Index = s.Index, Term = s.Term }, s.Image));
        }
        records.Add((VoteRecord(durable.Vote, 0), []));
        foreach (var e in durable.Entries) records.Add((EntryRecord(e, 0), e.Data));
        var path = PathOf(directory, generation);
        var file = File.OpenHandle(path + ".tmp", FileMode.Create, FileAccess.ReadWrite, FileShare.Read);
        try
        {
            bytes = WriteAll(file, records, generation);
            DurableFiles.SyncData(file);
            File.Move(path + ".tmp", path);
            DurableFiles.SyncDirectory(directory);
            return file;
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    private static long WriteAll(SafeFileHandle file, List<(RaftRecord Record, byte[] Payload)> records, long generation)
    {
        var bytes = 0L;
        foreach (var (record, payload) in records)
        {
            var buffer = new byte[record.TotalBytes];
            record.Encode(buffer, payload, generation);
            RandomAccess.Write(file, buffer, bytes);
            bytes += buffer.Length;
        }
        return bytes;
    }

    private static void Encode(List<(RaftRecord Record, byte[] Payload)> records, Span<byte> buffer, long generation)
    {
        foreach (var (record, payload) in records)
        {
            record.Encode(buffer, payload, generation);
            buffer = buffer[record.TotalBytes..];
        }
    }

    private static RaftRecord Record(RaftRecordKind kind, int length) =>
        new(kind, RaftEntryKind.Unset, 0, 0, 0, length, RaftVote.NoVote);

    private static RaftRecord VoteRecord(RaftVote vote, long durableBytes) =>
        Record(RaftRecordKind.Vote, 0) with { Term = vote.Term, VotedFor = vote.VotedFor, DurableBytes = durableBytes };

    private static RaftRecord EntryRecord(RaftEntry e, long durableBytes) =>
        new(RaftRecordKind.Entry, e.Kind, e.Index, e.Term, durableBytes, e.Data.Length, RaftVote.NoVote);

    private static string[] FilesOf(string directory) => [.. Directory.GetFiles(directory, "raft-*.log").Order(StringComparer.Ordinal)];

    private static string PathOf(string directory, long generation) =>
        Path.Combine(directory, string.Create(CultureInfo.InvariantCulture, $"raft-{generation:x16}.log"));

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "Journal log {File} ended in {Bytes} torn bytes at {Offset}: never acknowledged, cut off")]
    private static partial void LogTornTail(ILogger logger, string file, long offset, long bytes);

    [LoggerMessage(
        Level = LogLevel.Warning,
        Message = "The disk is full: the journal log, {Bytes} bytes of entries, can't be compacted and goes on in the {Reserve} bytes kept for it")]
    private static partial void LogNoRoom(ILogger logger, long bytes, long reserve);

    [LoggerMessage(
        Level = LogLevel.Information,
        Message = "Journal log compacted: generation {Generation} behind snapshot {Index}, {Bytes} bytes")]
    private static partial void LogRewritten(ILogger logger, long generation, long index, long bytes);
}
