using Cluster.Messages.Model;
using Cluster.Node.Store;

namespace Cluster.Tests.Simulation.Store;

public sealed class DeviceDiskSpecs
{
    private const long DeviceBytes = DeviceDisk.DeviceBytesMin;
    private const int FileBytes = 1 << 20;

    [Fact(DisplayName = "A device of zeroes has no files; one is made, written, found by the next process, and deleted")]
    public void Files()
    {
        var (disk, device) = New();
        var files = Open(disk, device);
        Assert.Empty(NamesOf(files));
        Assert.Equal(IoStatus.Missing, files.Open("a", create: false, out _).Status);
        Put(files, "a", 7);
        Put(files, "b", 8);
        Assert.True(files.SyncDirectory().IsOk);
        files = Reopen(disk, device, PowerLoss.LoseAll);
        Assert.Equal(["a", "b"], NamesOf(files).Order());
        Assert.Equal(Bytes(7), Get(files, "a"));
        Assert.Equal(Bytes(8), Get(files, "b"));
        Assert.True(files.Delete("a").IsOk && files.SyncDirectory().IsOk);
        files = Reopen(disk, device, PowerLoss.LoseAll);
        Assert.Equal(["b"], NamesOf(files));
        Assert.Equal(Bytes(8), Get(files, "b"));
        Assert.Equal(IoStatus.Unsupported, files.Rename("b", "c").Status);
    }

    [Fact(DisplayName = "A device that holds something else, at its beginning or its end, is not taken into use, and not a byte of it is changed")]
    public void Something_else()
    {
        foreach (var at in (long[])[0, 1080, (1 << 20) - 1, DeviceBytes - (1 << 20), DeviceBytes - 1])
        {
            var (disk, device) = New();
            device.Content[at] = 0x53;
            var before = device.Content.ToArray();
            var files = new DeviceDisk(device, Guid.NewGuid);
            Assert.Equal([DeviceDisk.Foreign], NamesOf(files));
            Assert.True(files.TryLock().IsOk);
            Assert.Equal(IoStatus.DeviceError, files.Open("a", create: true, out _).Status);
            Assert.Equal(before, device.Content);
            GC.KeepAlive(disk);
        }
    }

    [Fact(DisplayName = "One that is too small, or smaller than it was, in use, or of a newer version, is refused with the reason")]
    public void Refused()
    {
        var disk = new SimulatedDisk(1);
        var small = new SimulatedDevice(disk, 1, DeviceBytes - 1);
        Assert.Contains($"has {DeviceBytes - 1} bytes: a disk of a store has {DeviceBytes} or more", new DeviceDisk(small, Guid.NewGuid).List([]).Detail, StringComparison.Ordinal);

        var (larger, device) = New(2 * DeviceBytes);
        Put(Open(larger, device), "a", 1);
        Assert.Equal(IoStatus.Busy, new DeviceDisk(device, Guid.NewGuid).TryLock().Status);
        var shrunk = new SimulatedDevice(larger, 2, DeviceBytes);
        device.Content.AsSpan(0, (int)DeviceBytes).CopyTo(shrunk.Content);
        Assert.Contains($"has {DeviceBytes} bytes, and had {2 * DeviceBytes} when it was taken into use", new DeviceDisk(shrunk, Guid.NewGuid).List([]).Detail, StringComparison.Ordinal);

        foreach (var copy in (int[])[0, DeviceHeader.SizeBytes])
        {
            device.Content[copy + 8] = 2;
            var hash = System.IO.Hashing.XxHash3.HashToUInt64(device.Content.AsSpan(copy, DeviceHeader.SizeBytes - 8));
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64LittleEndian(device.Content.AsSpan(copy + DeviceHeader.SizeBytes - 8), hash);
        }
        Assert.Contains("newer version", new DeviceDisk(device, Guid.NewGuid).List([]).Detail, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Damage to one header or one sector of the table is nothing; to both of a pair, or where a sector says what can't be, it is told, and nothing is taken for an empty device")]
    public void Damaged()
    {
        var (disk, device) = New();
        var files = Open(disk, device);
        Put(files, "a", 1);
        Put(files, "b", 2);
        Assert.True(files.SyncDirectory().IsOk);
        device.Content[40] ^= 1;
        Assert.Equal(["a", "b"], NamesOf(Reopen(disk, device, PowerLoss.ProcessOnly)).Order());
        device.Content[DeviceHeader.SizeBytes + 40] ^= 1;
        Assert.Equal([DeviceDisk.Foreign], NamesOf(Reopen(disk, device, PowerLoss.ProcessOnly)));
        device.Content[40] ^= 1;
        for (var copy = 0; copy < 2; copy++) device.Content[DeviceSector.OffsetOf(0, copy) + 100] ^= 1;
        device.Restart();
        Assert.Contains("both sectors of pair 0 are damaged", new DeviceDisk(device, Guid.NewGuid).List([]).Detail, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A file that is deleted keeps its bytes while it is open; its units are free for others after that, and not before its deletion is on media")]
    public void Deleted_while_open()
    {
        var (disk, device) = New();
        var files = Open(disk, device);
        Put(files, "a", 1);
        Assert.True(files.Open("a", create: false, out var open).IsOk);
        var full = Fill(files);
        Assert.True(full > 5, $"{full} files fit");
        Assert.True(files.Delete("a").IsOk && files.SyncDirectory().IsOk);
        Assert.Equal(0, Fill(files));
        var bytes = new byte[FileBytes];
        Assert.Equal(FileBytes, open!.Read(0, bytes).Count);
        Assert.Equal(Bytes(1), bytes);
        open.Dispose();
        Assert.Equal(1, Fill(files));

        // Closed, and deleted without a sync: whoever wants room brings the deletion to media first.
        var gone = NamesOf(files)[0];
        Assert.True(files.Delete(gone).IsOk);
        Put(files, "z", 9);
        files = Reopen(disk, device, PowerLoss.LoseAll);
        Assert.DoesNotContain(gone, NamesOf(files));
    }

    [Fact(DisplayName = "Over all devices' bytes: what is free is what can be used, and all of it comes back")]
    public void Room()
    {
        var (disk, device) = New();
        var files = Open(disk, device);
        Put(files, "x", 3);
        Assert.True(files.Delete("x").IsOk && files.SyncDirectory().IsOk);
        var free = files.FreeBytes;
        var count = Fill(files);
        Assert.Equal(free / FileBytes, count);
        Assert.True(files.FreeBytes < FileBytes);
        foreach (var name in NamesOf(files)) Assert.True(files.Delete(name).IsOk);
        Assert.True(files.SyncDirectory().IsOk);
        Assert.Equal(free, files.FreeBytes);
        files = Reopen(disk, device, PowerLoss.LoseAll);
        Assert.Empty(NamesOf(files));
        // How large the files are is not known any more: what is too little for one of them counts, too.
        Assert.InRange(files.FreeBytes, free, free + FileBytes - 1);
    }

    [Fact(DisplayName = "Writes of any length, in order and not, are what a file's are: what fills up a last block takes nothing that was written before, nor afterwards")]
    public void Any_length()
    {
        for (var seed = 1; seed <= 50; seed++)
        {
            var random = new Random(seed);
            var (disk, device) = New();
            var files = Open(disk, device);
            Put(files, "other", 1);
            Assert.True(files.Open("a", create: true, out var file).IsOk && file!.Preallocate(FileBytes).IsOk);
            var expected = new Dictionary<long, byte>();
            var end = 0L;
            for (var step = 0; step < 60; step++)
            {
                if (step == 40)
                {
                    // The next process does not know what was written behind.
                    Assert.True(file!.Sync().IsOk && files.SyncDirectory().IsOk);
                    files = Reopen(disk, device, PowerLoss.ProcessOnly);
                    Assert.True(files.Open("a", create: false, out file).IsOk);
                }
                var at = random.Next(4) switch { 0 => 0L, 1 => random.NextInt64(0, end + 1), 2 => end + (8 * random.Next(0, 200)), _ => end };
                var bytes = new byte[random.Next(1, 12_000)];
                random.NextBytes(bytes);
                if (at + bytes.Length > FileBytes) continue;
                Assert.Equal(bytes.Length, file!.WriteAll(at, bytes).Count);
                for (var index = 0; index < bytes.Length; index++) expected[at + index] = bytes[index];
                end = Math.Max(end, at + bytes.Length);
            }
            var read = new byte[FileBytes];
            Assert.Equal(FileBytes, file!.Read(0, read).Count);
            foreach (var (at, content) in expected) Assert.True(read[at] == content, $"seed {seed}: byte {at}");
            Assert.Equal(Bytes(1), Get(files, "other"));
        }
    }

    [Fact(DisplayName = "An error that the device tells once, to whichever sync comes first, is told to every sync that was waiting, and to all later ones")]
    public async Task Told_once()
    {
        for (var round = 0; round < 50; round++)
        {
            var device = new OnceFailingDevice(DeviceBytes);
            using var files = new DeviceDisk(device, Guid.NewGuid);
            Assert.True(files.TryLock().IsOk);
            Put(files, "a", 1);
            Assert.True(files.SyncDirectory().IsOk);
            Assert.True(files.Open("a", create: false, out var file).IsOk);
            device.FailsNext = true;
            using var start = new Barrier(3);
            var syncs = Enumerable.Range(0, 3).Select(index => Task.Run(() =>
            {
                start.SignalAndWait();
                return index == 0 ? Change(files) : file!.Sync();
            })).ToArray();
            Assert.All(await Task.WhenAll(syncs), result => Assert.Equal(IoStatus.DeviceError, result.Status));
        }
    }

    private static DiskResult Change(DeviceDisk files)
    {
        var result = files.Open("b", create: true, out var made);
        if (result.IsOk) result = made!.Preallocate(FileBytes);
        return result.IsOk ? made!.Sync() : result;
    }

    /// <summary>In memory; a sync fails once.</summary>
    private sealed class OnceFailingDevice(long lengthBytes) : IRawDevice, IDiskFile
    {
        private readonly byte[] _content = new byte[lengthBytes];

        public volatile bool FailsNext;

        public string Description => "device";

        public ulong Number => 1;

        public long LengthBytes => _content.Length;

        public DiskResult Open(out IDiskFile? bytes)
        {
            bytes = this;
            return DiskResult.Done();
        }

        public DiskResult Claim() => DiskResult.Done();

        public unsafe DiskResult Write(long offsetBytes, ReadOnlySpan<IoVector> vectors)
        {
            var at = (int)offsetBytes;
            foreach (var vector in vectors)
            {
                new ReadOnlySpan<byte>(vector.Start, (int)vector.LengthBytes).CopyTo(_content.AsSpan(at));
                at += (int)vector.LengthBytes;
            }
            return DiskResult.Done(at - (int)offsetBytes);
        }

        public DiskResult Read(long offsetBytes, Span<byte> to)
        {
            _content.AsSpan((int)offsetBytes, to.Length).CopyTo(to);
            return DiskResult.Done(to.Length);
        }

        public DiskResult TryReadCached(long offsetBytes, Span<byte> to) => Read(offsetBytes, to);

        public DiskResult Sync()
        {
            if (!FailsNext) return DiskResult.Done();
            FailsNext = false;
            return DiskResult.Failed(IoStatus.DeviceError, "told once");
        }

        public DiskResult Preallocate(long lengthBytes) => DiskResult.Done();

        public DiskResult Keep(long lengthBytes) => DiskResult.Done();

        public void Dispose()
        {
        }
    }

    [Fact(DisplayName = "A sync that failed is never followed by one that works")]
    public void Failed_sync()
    {
        var (disk, device) = New();
        var files = Open(disk, device);
        Put(files, "a", 1);
        Assert.True(files.Open("a", create: false, out var open).IsOk);
        disk.FailSyncs = 1;
        Assert.Equal(IoStatus.DeviceError, open!.Sync().Status);
        Assert.Equal(IoStatus.DeviceError, open.Sync().Status);
        Put(files, "b", 2, isSynced: false);
        Assert.Equal(IoStatus.DeviceError, files.SyncDirectory().Status);
    }

    [Fact(DisplayName = "The power goes at every write and sync of many random lives: files that were synced are there, whole, deletions that were synced are too, and none has another's bytes")]
    public void Power_cuts()
    {
        var (cuts, deletions, found) = (0, 0, 0);
        for (var seed = 1; seed <= 250; seed++)
        {
            var life = new DeviceLife(seed);
            for (var round = 0; round < 6; round++) life.Run();
            (cuts, deletions, found) = (cuts + life.Cuts, deletions + life.Deletions, found + life.Found);
        }
        Assert.True(cuts > 1000 && deletions > 500 && found > 50_000, $"the lives are too tame: {cuts} cuts, {deletions} deletions, {found} files found");
    }

    /// <summary>One device, its files as they must be, and as they may be: so many that the table has several pairs.</summary>
    private sealed class DeviceLife
    {
        private const int LifeBytes = DeviceHeader.UnitBytesOfNew;
        private const int FilesAtFirst = 70;
        private readonly Random _random;
        private readonly SimulatedDisk _disk;
        private readonly SimulatedDevice _device;

        /// <summary>Synced, and not deleted.</summary>
        private readonly HashSet<string> _certain = [];

        /// <summary>May be there or not: true, whole if it is.</summary>
        private readonly Dictionary<string, bool> _doubtful = [];
        private readonly Dictionary<string, byte> _contents = [];
        private int _names;

        public DeviceLife(int seed)
        {
            _random = new Random(seed);
            _disk = new SimulatedDisk((ulong)seed) { ShortWrites = seed % 2 == 0 };
            _device = new SimulatedDevice(_disk, 1, DeviceBytes);
            var files = Begin();
            while (_certain.Count < FilesAtFirst) Make(files);
        }

        public int Cuts { get; private set; }

        public int Deletions { get; private set; }

        public int Found { get; private set; }

        public void Run()
        {
            // At times in the first steps of a process, when what was read is in the page cache only.
            if (_random.Next(2) == 0) _disk.PowerOffAt = _disk.Operations + _random.Next(1, 6);
            var files = Begin();
            Check(files);
            if (_disk.PowerOffAt == 0) _disk.PowerOffAt = _disk.Operations + _random.Next(1, 60);
            for (var step = 0; step < 40 && !_disk.IsOff; step++)
            {
                if (_random.Next(2) > 0) Make(files);
                else Remove(files);
            }
            if (_disk.IsOff) Cuts++;
            _disk.Restart(_random.Next(3) switch { 0 => PowerLoss.ProcessOnly, 1 => PowerLoss.LoseAll, _ => PowerLoss.Torn });
        }

        private DeviceDisk Begin()
        {
            _device.Restart();
            var files = new DeviceDisk(_device, () => new Guid(_random.Next(), 1, 2, 3, 4, 5, 6, 7, 8, 9, 10));
            Assert.True(files.TryLock().IsOk);
            return files;
        }

        private void Make(DeviceDisk files)
        {
            var (name, content) = ($"file-{_names++}", (byte)_random.Next(1, 200));
            _doubtful.Add(name, false);
            _contents[name] = content;
            if (!files.Open(name, create: true, out var file).IsOk) return;
            using var opened = file!;
            if (file!.Preallocate(_random.Next(1, 3) * LifeBytes) is { IsOk: false } refused)
            {
                Assert.True(_disk.IsOff || refused.Status == IoStatus.NoSpace, refused.Detail);
                if (!_disk.IsOff) _ = files.Delete(name);
                return;
            }
            if (!file.WriteAll(0, Filled(content)).IsOk || !file.Sync().IsOk || !files.SyncDirectory().IsOk) return;
            _doubtful.Remove(name);
            _certain.Add(name);
        }

        private void Remove(DeviceDisk files)
        {
            var name = _certain.Order(StringComparer.Ordinal).ElementAt(_random.Next(_certain.Count));
            _certain.Remove(name);
            _doubtful.Add(name, true);
            if (!files.Delete(name).IsOk || (_random.Next(2) == 0 && !files.SyncDirectory().IsOk) || _disk.IsOff) return;
            Deletions++;
        }

        private void Check(DeviceDisk files)
        {
            var names = NamesOf(files);
            Assert.Equal(names.Count, names.Distinct().Count());
            foreach (var name in _certain) Assert.Contains(name, names);
            foreach (var name in names)
            {
                Found++;
                Assert.True(_certain.Contains(name) || _doubtful.ContainsKey(name), $"{name} is there, and was deleted");
                Assert.True(files.Open(name, create: false, out var file).IsOk);
                using var opened = file!;
                var read = new byte[LifeBytes];
                var count = opened.Read(0, read).Count;
                var isWhole = _certain.Contains(name) || _doubtful[name];
                Assert.True(isWhole ? count == LifeBytes : count is 0 or LifeBytes, $"{name} has {count} bytes");
                // New ones begin with zeroes, or what was written to them.
                var isOwn = isWhole ? read.AsSpan().SequenceEqual(Filled(_contents[name])) : read.AsSpan(0, count).IndexOfAnyExcept((byte)0, _contents[name]) < 0;
                Assert.True(isOwn, $"{name} has not its own bytes");
                if (isWhole) _certain.Add(name);
                else Assert.True(files.Delete(name).IsOk);
                _doubtful[name] = isWhole;
            }
            // What it was deleted, and what is there all the same, is settled with this.
            if (!files.SyncDirectory().IsOk)
            {
                Assert.True(_disk.IsOff);
                foreach (var name in _certain.Where(_doubtful.ContainsKey).ToArray()) _certain.Remove(name);
                return;
            }
            // What is not there now will not come back.
            _doubtful.Clear();
        }

        private static byte[] Filled(byte content)
        {
            var bytes = new byte[LifeBytes];
            Array.Fill(bytes, content);
            return bytes;
        }
    }

    private static (SimulatedDisk Disk, SimulatedDevice Device) New(long bytes = DeviceBytes)
    {
        var disk = new SimulatedDisk(1);
        return (disk, new SimulatedDevice(disk, 1, bytes));
    }

    private static DeviceDisk Open(SimulatedDisk disk, SimulatedDevice device)
    {
        var files = new DeviceDisk(device, () => new Guid(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
        Assert.True(files.TryLock().IsOk);
        Assert.False(disk.IsOff);
        return files;
    }

    private static DeviceDisk Reopen(SimulatedDisk disk, SimulatedDevice device, PowerLoss loss)
    {
        disk.Restart(loss);
        device.Restart();
        return Open(disk, device);
    }

    private static List<string> NamesOf(DeviceDisk files)
    {
        var names = new List<string>();
        var result = files.List(names);
        Assert.True(result.IsOk, result.Detail);
        return names;
    }

    private static void Put(DeviceDisk files, string name, ulong seed, bool isSynced = true)
    {
        Assert.True(files.Open(name, create: true, out var file).IsOk);
        using var opened = file!;
        var result = opened.Preallocate(FileBytes);
        Assert.True(result.IsOk, result.Detail);
        Assert.True(opened.WriteAll(0, Bytes(seed)).IsOk);
        if (isSynced) Assert.True(opened.Sync().IsOk);
    }

    private static byte[] Get(DeviceDisk files, string name)
    {
        Assert.True(files.Open(name, create: false, out var file).IsOk);
        using var opened = file!;
        var bytes = new byte[opened.LengthBytes];
        Assert.Equal(bytes.Length, opened.Read(0, bytes).Count);
        return bytes;
    }

    private static byte[] Bytes(ulong seed)
    {
        var bytes = new byte[FileBytes];
        new Random((int)seed).NextBytes(bytes);
        return bytes;
    }

    /// <summary>Files until there is no room; how many.</summary>
    private static int Fill(DeviceDisk files)
    {
        for (var count = 0; ; count++)
        {
            var name = $"f{Guid.NewGuid():N}";
            Assert.True(files.Open(name, create: true, out var file).IsOk);
            using var opened = file!;
            var result = opened.Preallocate(FileBytes);
            if (result.IsOk) continue;
            Assert.Equal(IoStatus.NoSpace, result.Status);
            Assert.True(files.Delete(name).IsOk);
            return count;
        }
    }
}
