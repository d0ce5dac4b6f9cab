using System.Security.Cryptography;
using Cluster.Node.Journal;
using Cluster.Node.Journal.Raft;
using Cluster.Tests.Integration.EndToEnd;
using Cluster.Tests.Unit.Journal;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Chaos.Hosts;

/// <summary>The journal's log on a real file system that somebody else has filled.</summary>
[Collection(EndToEnd.Name)]
[Trait("Category", "Chaos")]
public sealed class FullJournalDiskSpecs : IAsyncLifetime
{
    private const int EntryBytes = 64 << 10;
    private const int DiskBytes = 64 << 20;
    private static readonly Guid ClusterId = new("0f9a4c6e-1111-2222-3333-444455556666");

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-full-").FullName;

    private string Disk => Path.Combine(_directory, "disk");

    public async Task InitializeAsync()
    {
        RootTools.Require("mkfs.ext4", "mount", "umount");
        var image = Path.Combine(_directory, "image");
        await using (var made = new FileStream(image, FileMode.CreateNew)) made.SetLength(DiskBytes);
        await RootTools.RunAsync("mkfs.ext4", "-q", "-F", "-m", "0", image);
        Directory.CreateDirectory(Disk);
        await RootTools.RunAsync("mount", "-o", "loop", image, Disk);
    }

    public async Task DisposeAsync()
    {
        await Tool.RunAsync("umount", Disk);
        Directory.Delete(_directory, recursive: true);
    }

    [Fact(DisplayName = "On a disk that others have filled the log still takes all entries up to a compaction, skips that, and keeps all of them")]
    public void Full()
    {
        var wanted = new List<RaftEntry>();
        using (var log = Open(out _))
        {
            FillDisk();
            while (log.EntryBytes < JournalLimits.LogBytesBeforeCompaction + JournalLimits.LogBytesBeforeRetry)
            {
                var entry = new RaftEntry(wanted.Count + 1, 1, RaftEntryKind.Command, RandomNumberGenerator.GetBytes(EntryBytes));
                wanted.Add(entry);
                log.Append(null, [entry]);
                log.Sync();
            }
            Assert.False(log.TryRewrite(new RaftDurable(new RaftVote(1, 0), TestMembers.Voters(3), null, wanted)));
            log.Append(new RaftVote(2, 1), []);
            log.Sync();
        }
        using (var again = Open(out var durable))
        {
            Assert.Equal(new RaftVote(2, 1), durable.Vote);
            Assert.Equal(wanted.Select(entry => entry.Data), durable.Entries.Select(entry => entry.Data));
            File.Delete(Path.Combine(Disk, "ballast"));
            Assert.True(again.TryRewrite(new RaftDurable(durable.Vote, TestMembers.Voters(3), null, [.. durable.Entries.Take(3)])));
        }
        using var last = Open(out var compacted);
        Assert.Equal(3, compacted.Entries.Count);
    }

    private FileRaftLog Open(out RaftDurable durable) =>
        FileRaftLog.Open(Path.Combine(Disk, "raft"), ClusterId, TestMembers.Voters(3), NullLogger.Instance, out durable);

    private void FillDisk()
    {
        using var ballast = new FileStream(Path.Combine(Disk, "ballast"), FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0);
        var block = new byte[4096];
        try
        {
            while (ballast.Length < DiskBytes) ballast.Write(block);
            Assert.Fail("the disk takes more than it has");
        }
        catch (IOException)
        {
            // Full, to the last block.
            ballast.Flush(flushToDisk: true);
        }
    }
}
