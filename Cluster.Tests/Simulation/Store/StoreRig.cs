using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Store;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cluster.Tests.Simulation.Store;

/// <summary>A store on a simulated disk with a simulated loop, and the few lines that every test of it needs.</summary>
public sealed class StoreRig
{
    public static readonly VolumeId Volume = new(7);
    public static readonly SessionId Session = new(1, 99);
    private ulong _ids = 1;

    /// <param name="disks">From two on, that many directories of one simulated disk are the store's disks.</param>
    /// <param name="devices">So many block devices besides, which lose their power with the others.</param>
    public StoreRig(ulong seed = 1, StoreOptions? options = null, SimulatedDisk? disk = null, int disks = 1, int devices = 0)
    {
        Disk = disk ?? new SimulatedDisk(seed);
        Devices = [.. Enumerable.Range(1, devices).Select(index => new SimulatedDevice(Disk, index, DeviceDisk.DeviceBytesMin))];
        Directories = disks + devices == 1 ? [] : [.. Enumerable.Range(0, disks).Select(index => new SimulatedDirectory(Disk, index == 0 ? "" : $"d{index}/"))];
        Options = (options ?? new StoreOptions()) with
        {
            SegmentBytes = options?.SegmentBytes is { } bytes and < (64 << 20) ? bytes : StoreOptions.SegmentBytesMin,
            BootId = new Guid(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
            NewId = () => new Guid((int)_ids++, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
            Clock = options?.Clock is { } clock && clock != TimeProvider.System ? clock : new StoppedClock(),
        };
    }

    public SimulatedDisk Disk { get; }

    /// <summary>The store's disks, home first; empty: the simulated disk itself is its only one.</summary>
    public IReadOnlyList<SimulatedDirectory> Directories { get; set; }

    public IReadOnlyList<SimulatedDevice> Devices { get; }

    public SimulatedLoop Loop { get; } = new();

    /// <summary>Null: each job runs in a later event of the loop.</summary>
    public IDiskScheduler? Scheduler { get; set; }

    public StoreOptions Options { get; set; }

    public BlockStore Store { get; private set; } = null!;

    public RecordingEvents Events { get; private set; } = new();

    public StoreOpenResult TryOpen()
    {
        Loop.Clear();
        foreach (var directory in Directories) directory.Restart();
        foreach (var device in Devices) device.Restart();
        IDisk home = Directories.Count == 0 ? Disk : Directories[0];
        var result = BlockStore.Open(Options, Loop, home, Scheduler ?? new LoopDiskScheduler(Loop), NullLogger.Instance,
            [.. Directories.Skip(1).Where(directory => !directory.IsGone || directory.IsStillNamed), .. Devices.Select(device => new DeviceDisk(device, Options.NewId))]);
        if (result.Store is null) return result;
        Store = result.Store;
        Loop.AddPhase(TurnPhase.Store, Store);
        Events = new RecordingEvents();
        foreach (var volume in Store.Volumes) volume.Events = Events;
        return result;
    }

    public StoreRig Open()
    {
        var result = TryOpen();
        Assert.True(result.Store is not null, result.Reason);
        return this;
    }

    public IVolumeStore Create(VolumeId? id = null)
    {
        var (status, volume) = Store.Create(id ?? Volume, new byte[] { 1, 2, 3 });
        Assert.Equal(IoStatus.Ok, status);
        volume!.Events = Events;
        return volume;
    }

    public IVolumeStore Find(VolumeId? id = null)
    {
        var volume = Store.Find(id ?? Volume);
        Assert.NotNull(volume);
        return volume;
    }

    public void Sync(IVolumeStore volume)
    {
        volume.RequestSync();
        Loop.Settle();
    }

    public void StopClean()
    {
        var isDone = false;
        Store.Stop(() => isDone = true);
        Loop.Settle();
        Assert.True(isDone, "the store did not stop");
        Disk.Restart(PowerLoss.ProcessOnly);
    }

    public StoreRig Restart(PowerLoss loss)
    {
        Disk.Restart(loss);
        return Open();
    }

    /// <summary>Starts anew after a loss of power, with all of the volume on media and committed as before.</summary>
    public IVolumeStore RestartSynced(IVolumeStore volume)
    {
        Sync(volume);
        var watermark = volume.CommitWatermark;
        var restarted = Restart(PowerLoss.LoseAll).Find(volume.Volume);
        restarted.Commit(watermark);
        return restarted;
    }

    public static byte[] Bytes(ulong seed)
    {
        var bytes = new byte[Limits.BlockBytes];
        var words = System.Runtime.InteropServices.MemoryMarshal.Cast<byte, ulong>(bytes.AsSpan());
        for (var index = 0; index < words.Length; index++)
            words[index] = (seed + 1) * 0x9E3779B97F4A7C15 ^ ((ulong)index * 0xBF58476D1CE4E5B9);
        return bytes;
    }

    /// <summary>A record of raw blocks as the client would make it; one reference is the caller's.</summary>
    public static IoBuffer Write(VolumeId volume, ulong sequence, ulong first, IReadOnlyList<byte[]> blocks, ulong epoch = 1,
        ulong watermark = 0,
        RecordFlags flags = RecordFlags.None)
    {
        var header = new RecordHeader
        {
            Kind = RecordKind.Write,
            Flags = flags,
            Volume = volume,
            Sequence = sequence,
            Epoch = epoch,
            Session = Session,
            RequestId = sequence,
            AnsweredBelow = sequence > 100 ? sequence - 100 : 0,
            Range = new BlockRange(first, (uint)blocks.Count),
            DescriptorCount = (uint)blocks.Count,
            PayloadLength = (uint)blocks.Sum(block => block.Length),
            CommitWatermark = watermark,
        };
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        var at = header.PayloadOffset;
        for (var index = 0; index < blocks.Count; index++)
        {
            var encoding = blocks[index].Length switch
            {
                0 => BlockEncoding.Zero,
                Limits.BlockBytes => BlockEncoding.Raw,
                _ => BlockEncoding.Lz4,
            };
            BlockDescriptor.Of(encoding, volume, 0, first + (ulong)index, blocks[index]).Write(buffer.Span[(128 + (index * 16))..]);
            blocks[index].CopyTo(buffer.Span[at..]);
            at += blocks[index].Length;
        }
        header.Encode(buffer.Span);
        return buffer;
    }

    public static IoBuffer Trim(VolumeId volume, ulong sequence, BlockRange range, ulong epoch = 1, ulong watermark = 0,
        RecordFlags flags = RecordFlags.None)
    {
        var header = new RecordHeader
        {
            Kind = RecordKind.Trim,
            Flags = flags,
            Volume = volume,
            Sequence = sequence,
            Epoch = epoch,
            Range = range,
            CommitWatermark = watermark,
        };
        var buffer = BufferPool.Shared.Rent(header.TotalBytes);
        header.Encode(buffer.Span);
        return buffer;
    }

    public static IoStatus Append(IVolumeStore volume, IoBuffer record)
    {
        Assert.Equal(IoStatus.Ok, RecordHeader.TryDecode(record.Span, out var header));
        var status = (header.Flags & RecordFlags.Resync) != 0 ? volume.AppendResync(record, in header) : volume.Append(record, in header);
        record.Release();
        return status;
    }

    public static IoStatus AppendBlock(IVolumeStore volume, ulong block, byte[] bytes, ulong epoch = 1, ulong watermark = 0) =>
        Append(volume, Write(volume.Volume, volume.LastSequence + 1, block, [bytes], epoch, watermark));

    /// <summary>One committed block of <see cref="Bytes"/>, and a turn of the loop.</summary>
    public void WriteBlock(IVolumeStore volume, ulong block, ulong content)
    {
        Assert.Equal(IoStatus.Ok, AppendBlock(volume, block, Bytes(content), watermark: volume.CommitWatermark));
        volume.Commit(volume.LastSequence);
        Loop.Turn();
    }

    /// <summary>Appends a marker, and returns its sequence: that of the snapshot, if it makes one.</summary>
    public static ulong Mark(IVolumeStore volume, SnapshotMarker marker, bool isCommitted = true)
    {
        var buffer = marker.Build(volume.Volume, out var header);
        (header.Sequence, header.Epoch, header.CommitWatermark) = (volume.LastSequence + 1, 1, volume.CommitWatermark);
        header.Encode(buffer.Span);
        Assert.Equal(IoStatus.Ok, Append(volume, buffer));
        if (isCommitted) volume.Commit(volume.LastSequence);
        return volume.LastSequence;
    }

    /// <summary>Status, and per block its sequence and bytes (none: reads as zeroes).</summary>
    public (IoStatus Status, List<(ulong Sequence, byte[] Bytes)> Blocks) Read(IVolumeStore volume, ulong first, uint count = 1)
    {
        var (status, blocks) = Read(volume, first, count, []);
        return (status, blocks.ConvertAll(block => (block.Sequence, block.Bytes)));
    }

    /// <param name="known">The sequences that the reader has.</param>
    public (IoStatus Status, List<(ulong Sequence, byte[] Bytes, bool IsSame)> Blocks) Read(IVolumeStore volume, ulong first, uint count, ulong[] known)
    {
        var reader = new Reader();
        volume.Read(new BlockRange(first, count), reader, 5, known);
        Loop.Settle();
        Assert.Equal(1, reader.Calls);
        var blocks = new List<(ulong, byte[], bool)>();
        if (reader.Status != IoStatus.Ok) return (reader.Status, blocks);
        var reply = reader.Reply!.Span;
        var at = (int)count * ReadDescriptor.SizeBytes;
        for (var index = 0; index < (int)count; index++)
        {
            var descriptor = ReadDescriptor.Read(reply[(index * ReadDescriptor.SizeBytes)..]);
            var bytes = reply.Slice(at, descriptor.Block.Length).ToArray();
            Assert.True(descriptor.IsSame || descriptor.Block.Matches(volume.Volume, 0, first + (ulong)index, bytes));
            blocks.Add((descriptor.Sequence, bytes, descriptor.IsSame));
            at += bytes.Length;
        }
        reader.Reply.Release();
        return (IoStatus.Ok, blocks);
    }

    private sealed class Reader : IReadCompletion
    {
        public int Calls { get; private set; }

        public IoStatus Status { get; private set; }

        public IoBuffer? Reply { get; private set; }

        public void OnRead(ulong token, IoStatus status, IoBuffer? reply)
        {
            Assert.Equal(5UL, token);
            Calls++;
            (Status, Reply) = (status, reply);
        }
    }
}

/// <summary>Keeps what the store told.</summary>
public sealed class RecordingEvents : IVolumeStoreEvents
{
    public List<ulong> Appended { get; } = [];

    public List<(ulong Sequence, ulong Header)> Durable { get; } = [];

    public List<(IoStatus Status, string Reason)> Failed { get; } = [];

    public void OnAppended(ulong appendedSequence) => Appended.Add(appendedSequence);

    public void OnDurable(ulong durableSequence, ulong headerNumber) => Durable.Add((durableSequence, headerNumber));

    public void OnFailed(IoStatus status, string reason) => Failed.Add((status, reason));

    public int Rooms { get; private set; }

    public void OnRoom() => Rooms++;
}

/// <summary>No time passes: nothing that is placed or written depends on the machine.</summary>
internal sealed class StoppedClock : TimeProvider
{
    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_000);

    public override long GetTimestamp() => 0;
}

/// <summary>What a disk takes moves it.</summary>
public sealed class SlowClock : TimeProvider
{
    private long _ms;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_000 + _ms);

    public override long TimestampFrequency => 1000;

    public override long GetTimestamp() => _ms;

    public void Pass(int ms) => _ms += ms;
}
