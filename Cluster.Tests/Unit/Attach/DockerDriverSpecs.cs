using System.Collections.Concurrent;
using System.Collections.ObjectModel;
using System.Net.Sockets;
using System.Reflection;
using System.Text;
using System.Text.Json.Nodes;
using Cluster.Csi.Attach;
using Cluster.Csi.Docker;
using Cluster.Messages.Model;
using Cluster.Tests.Unit.Fakes;
using Microsoft.Extensions.Logging;

namespace Cluster.Tests.Unit.Attach;

public sealed class DockerDriverSpecs : IDisposable, ILoggerFactory, ILogger
{
    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-docker-").FullName;
    private readonly FakeVolumes _volumes = new();
    private readonly FakeAttacher _attacher = new(AttacherKind.FuseLoop);
    private readonly IMounter _mounter = MounterProxy.Create();
    private readonly ConcurrentQueue<string> _log = [];
    private readonly ConcurrentQueue<string> _calls = [];

    private string Socket => Path.Combine(_directory, "docker.sock");

    private string Mounts => Path.Combine(_directory, "docker", "mnt");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory(DisplayName = "A volume that another host has is refused only if that host says that it uses it")]
    [InlineData("node-2", true, "in use on node node-2; stop its containers there")]
    [InlineData("node-2", false, "")]
    [InlineData("node-2", null, "nobody knows")]
    [InlineData("node-1", true, "")]
    [InlineData(null, true, "")]
    public async Task In_use_elsewhere(string? attached, bool? used, string refusal)
    {
        (_volumes.AttachedNode, _volumes.IsUsed) = (attached, used);
        var answer = await NewDriver().MountAsync(new DockerCall { Name = "db", Id = "a" }, default);
        if (refusal.Length == 0) Assert.Equal(Path.Combine(Mounts, "db"), answer.Mountpoint);
        else Assert.Contains(refusal, answer.Err, StringComparison.Ordinal);
        Assert.Equal(refusal.Length == 0 ? 1 : 0, _volumes.Attaches);
    }

    [Fact(DisplayName = "A mount point with files of somebody's stays, is told with volume and path, and hinders no unmount")]
    public async Task Files_below()
    {
        var driver = NewDriver();
        Assert.Equal("", (await driver.MountAsync(new DockerCall { Name = "db", Id = "a" }, default)).Err);
        Directory.CreateDirectory(Path.Combine(Mounts, "db"));
        await File.WriteAllTextAsync(Path.Combine(Mounts, "db", "left"), "x");
        Assert.Equal("", (await driver.UnmountAsync(new DockerCall { Name = "db", Id = "a" }, default)).Err);
        Assert.True(File.Exists(Path.Combine(Mounts, "db", "left")));
        Assert.Contains(_log, line => line.StartsWith($"Warning: Docker volume db is unmounted, and its mount point {Path.Combine(Mounts, "db")} stays: ", StringComparison.Ordinal));
    }

    [Theory(DisplayName = "Killed between the attachment and its note of the mount, the next start, or a remove, takes away what was made for Docker; an attachment that was there before stays")]
    [InlineData(null, false)]
    [InlineData(null, true)]
    [InlineData("node-1", false)]
    [InlineData("node-1", true)]
    public async Task Killed_in_a_mount(string? attached, bool removes)
    {
        (_volumes.AttachedNode, _volumes.DiesAttaching) = (attached, true);
        await Assert.ThrowsAsync<InvalidOperationException>(() => NewDriver().MountAsync(new DockerCall { Name = "db", Id = "a" }, default));
        Assert.Equal("node-1", _volumes.AttachedNode);
        _volumes.DiesAttaching = false;
        if (!removes) await NewDriver().RecoverAsync(default);
        else Assert.Equal(attached is null ? "" : "it is attached to node-1", (await NewDriver().RemoveAsync(new DockerCall { Name = "db" }, default)).Err);
        Assert.Equal(attached, _volumes.AttachedNode);
        Assert.Empty(_attacher.Devices);
        Assert.Null(new DockerMounts(Path.Combine(_directory, "docker", "mounts"), "boot").Read("db"));
    }

    [Fact(DisplayName = "Killed in an unmount, the next start goes on; an operator's device and attachment stay")]
    public async Task Killed_in_an_unmount()
    {
        Assert.Equal("", (await NewDriver().MountAsync(new DockerCall { Name = "db", Id = "a" }, default)).Err);
        NewUsers().Hold(Assert.Single(_attacher.Devices).Identity, "db", "/srv/db");
        new DockerMounts(Path.Combine(_directory, "docker", "mounts"), "boot").Write("db", "db", []);
        await NewDriver().RecoverAsync(default);
        Assert.Single(_attacher.Devices);
        Assert.Equal("node-1", _volumes.AttachedNode);
        Assert.True((await NewDevices().DetachAsync("db", force: false, default)).IsOk);
        Assert.Empty(_attacher.Devices);
        Assert.Null(_volumes.AttachedNode);
        Assert.Empty(NewUsers().OutsideCsi());
    }

    [Fact(DisplayName = "A refusal names the volume as Docker does, and as the command line does where that is another name")]
    public async Task Refusals_name_the_volume()
    {
        (_volumes.Failure, _volumes.FailureStatus) = ("There is no volume 'docker-1234'", AttachStatus.NotFound);
        var call = new DockerCall { Name = "shop_db", Id = "a" };
        foreach (var answer in new[] { await NewDriver().GetAsync(call, default), await NewDriver().PathAsync(call, default), await NewDriver().MountAsync(call, default) })
            Assert.Equal("there is no volume shop_db", answer.Err);
        (_volumes.Failure, _volumes.FailureStatus) = ("nobody knows", AttachStatus.Unavailable);
        Assert.Equal($"nobody knows (shop_db is volume {DockerName.VolumeOf("shop_db")} of myrmidon)", (await NewDriver().GetAsync(call, default)).Err);
        Assert.Equal("nobody knows", (await NewDriver().GetAsync(new DockerCall { Name = "db" }, default)).Err);
        (_volumes.Failure, _volumes.AttachedNode) = ("", "node-2");
        Assert.Equal($"it is attached to node-2 (shop_db is volume {DockerName.VolumeOf("shop_db")} of myrmidon)", (await NewDriver().RemoveAsync(call, default)).Err);
    }

    [Theory(DisplayName = "A volume for which no file system is asked is mounted with the one that it has, for an operator as for Docker, and gets ext4 if it is blank")]
    [InlineData(FileSystemKind.Unset, "ext4")]
    [InlineData(FileSystemKind.Ext4, "ext4")]
    [InlineData(FileSystemKind.Xfs, "xfs")]
    public async Task The_file_system_that_is_there(FileSystemKind there, string mounted)
    {
        ((MounterProxy)_mounter).Holds = there;
        Assert.True((await NewDevices().AttachAsync("db", new DeviceWish("/srv/db"), default)).IsOk);
        Assert.Equal("", (await NewDriver().MountAsync(new DockerCall { Name = "db", Id = "a" }, default)).Err);
        Assert.Equal([mounted, mounted], ((MounterProxy)_mounter).Mounted);
    }

    [Theory(DisplayName = "An operator who attaches a volume while its last container, or a detach, ends the attachment has it after that")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Attached_in_between(bool docker)
    {
        var devices = NewDevices();
        var driver = new DockerDriver(devices, _volumes, Path.Combine(_directory, "docker"), "boot", this);
        if (docker) Assert.Equal("", (await driver.MountAsync(new DockerCall { Name = "db", Id = "a" }, default)).Err);
        else Assert.True((await devices.AttachAsync("db", new DeviceWish(), default)).IsOk);
        _volumes.Detaches = new TaskCompletionSource();
        var leaving = docker ? EndAsync(driver) : devices.DetachAsync("db", force: false, default);
        Assert.False(leaving.IsCompleted);
        var attaching = devices.AttachAsync("db", new DeviceWish(), default);
        _volumes.Detaches.SetResult();
        Assert.True((await leaving).IsOk);
        Assert.True((await attaching).IsOk);
        Assert.Single(_attacher.Devices);
        Assert.Equal("node-1", _volumes.AttachedNode);

        static async Task<AttachResult<Done>> EndAsync(DockerDriver driver) =>
            (await driver.UnmountAsync(new DockerCall { Name = "db", Id = "a" }, default)).Err is { Length: > 0 } reason ? AttachResult<Done>.Error(AttachStatus.Failed, reason) : Done.Ok;
    }

    [Theory(DisplayName = "Docker does not mount where CSI was promised one place, and cuts no sharer off that uses the volume")]
    [InlineData("node-1", false, false, "SingleNodeWriter allows one place")]
    [InlineData("node-1", false, true, "")]
    [InlineData("node-2", true, true, "in use on node node-2")]
    public async Task Published(string node, bool shared, bool several, string refusal)
    {
        (_volumes.AttachedNode, _volumes.IsUsed) = (shared ? null : node, true);
        _volumes.Publications = [new HostPublication(node, shared ? "MultiNodeReaderOnly" : "SingleNodeWriter", shared, several)];
        var answer = await NewDriver().MountAsync(new DockerCall { Name = "db", Id = "a" }, default);
        if (refusal.Length == 0) Assert.Equal("", answer.Err);
        else Assert.Contains(refusal, answer.Err, StringComparison.Ordinal);
        if (refusal.Length > 0) Assert.Contains($"published by CSI on {node}", (await NewDriver().RemoveAsync(new DockerCall { Name = "db" }, default)).Err, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "What the operator has is known by its generation and the host's boot, and by the path as the kernel writes it")]
    public void Notes_of_the_operator()
    {
        var (identity, users) = (new DeviceIdentity(new VolumeId(7), 3), NewUsers());
        Directory.CreateDirectory(Path.Combine(_directory, "real"));
        File.CreateSymbolicLink(Path.Combine(_directory, "link"), Path.Combine(_directory, "real"));
        users.Release(identity.Volume);
        Assert.False(users.IsHeld(identity));
        users.Hold(identity, "db", null);
        Assert.True(NewUsers().IsHeld(identity));
        users.Hold(identity, "db", Path.Combine(_directory, "link", "mnt") + "/");
        Assert.Equal((DeviceUser.Operator, DeviceUser.Other, DeviceUser.Docker),
            (Of(Path.Combine(_directory, "real", "mnt")), Of(Path.Combine(_directory, "real")), Of(Path.Combine(Mounts, "db"))));
        Assert.False(users.IsHeld(identity with { Generation = 4 }));
        Assert.False(new DeviceUsers(Path.Combine(_directory, "operator"), Mounts, "boot-2").IsHeld(identity));
        Assert.Equal(new KeyValuePair<string, ulong?>("db", 3), Assert.Single(users.OutsideCsi()));
        users.Release(identity.Volume);
        Assert.False(users.IsHeld(identity));

        DeviceUser Of(string path) => users.Of(identity, new MountEntry(1, 1, 1, "/", path, "ext4", "/dev/x", false, "", ""));
    }

    [Fact(DisplayName = "An unmount that was cut off is finished beside the start, which waits for nothing; what fails of it is told with the volume")]
    public async Task Recovery()
    {
        new DockerMounts(Path.Combine(_directory, "docker", "mounts"), "boot").Write("db", "db", []);
        _volumes.Answers = new TaskCompletionSource();
        await using var plugin = await StartAsync();
        Assert.Equal("VolumeDriver", (string)(await CallAsync("Plugin.Activate", "{}"))["Implements"]![0]!);
        _volumes.Failure = "no owner";
        _volumes.Answers.SetResult();
        await UntilAsync(() => _log.Any(line => line.Contains("Docker volume db: an unmount that was cut off can't be finished now", StringComparison.Ordinal) && line.EndsWith("no owner", StringComparison.Ordinal)));
    }

    [Fact(DisplayName = "A stop of the node ends a recovery that waits")]
    public async Task Recovery_ends()
    {
        new DockerMounts(Path.Combine(_directory, "docker", "mounts"), "boot").Write("db", "db", []);
        _volumes.Answers = new TaskCompletionSource();
        var plugin = await StartAsync();
        await plugin.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(20));
        Assert.False(File.Exists(Socket));
    }

    [Fact(DisplayName = "Neither a file that is no socket nor the socket of a live process is taken away; one of a dead process is, and only its owner may use the new one")]
    public async Task Sockets()
    {
        await File.WriteAllTextAsync(Socket, "precious");
        Assert.Contains("is no socket", (await Assert.ThrowsAsync<IOException>(StartAsync)).Message, StringComparison.Ordinal);
        Assert.Equal("precious", await File.ReadAllTextAsync(Socket));
        File.Delete(Socket);
        await using (await StartAsync())
        {
            Assert.Contains("Another process serves", (await Assert.ThrowsAsync<IOException>(StartAsync)).Message, StringComparison.Ordinal);
            if (OperatingSystem.IsLinux()) Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Socket));
            Assert.NotNull(await CallAsync("Plugin.Activate", ""));
            File.Move(Socket, Socket + ".kept");
        }
        File.Move(Socket + ".kept", Socket);
        await using var again = await StartAsync();
        Assert.NotNull(await CallAsync("Plugin.Activate", ""));
    }

    [Fact(DisplayName = "Every call is one line with its volume, and is counted by its outcome; of a wrong one nothing that it sent is a label")]
    public async Task Logged_and_counted()
    {
        await using var plugin = await StartAsync();
        await CallAsync("VolumeDriver.Mount", """{"Name":"db","ID":"a"}""");
        await CallAsync("VolumeDriver.Get", """{"Name":"db"}""");
        (_volumes.AttachedNode, _volumes.IsUsed) = ("node-2", true);
        await CallAsync("VolumeDriver.Mount", """{"Name":"db","ID":"b"}""");
        _volumes.Throws = true;
        await CallAsync("VolumeDriver.Remove", """{"Name":"web"}""");
        await CallAsync("VolumeDriver.Dance", """{"Name":"a\nb"}""");
        Assert.Equal(["Mount done", "Get done", "Mount refused", "Remove failed", "other refused"], _calls);
        Assert.Contains(_log, line => line.StartsWith("Information: Docker Mount volume db: done in ", StringComparison.Ordinal));
        Assert.Contains(_log, line => line.StartsWith("Debug: Docker Get volume db: done in ", StringComparison.Ordinal));
        Assert.Contains(_log, line => line.StartsWith("Warning: Docker Mount volume db: refused after ", StringComparison.Ordinal) && line.Contains("node-2", StringComparison.Ordinal));
        Assert.Contains(_log, line => line == "Error: Docker Remove volume web failed");
        Assert.Contains(_log, line => line.StartsWith("Warning: Docker other volume : refused after ", StringComparison.Ordinal));
        Assert.Equal(5, _log.Count(line => line.Contains(": Docker ", StringComparison.Ordinal) && !line.Contains("listens", StringComparison.Ordinal)));
    }

    private DockerDriver NewDriver() => new(NewDevices(), _volumes, Path.Combine(_directory, "docker"), "boot", this);

    private VolumeDevices NewDevices() => new(_volumes, _attacher, _mounter, NewUsers());

    private DeviceUsers NewUsers() => new(Path.Combine(_directory, "operator"), Mounts, "boot");

    private Task<DockerPlugin> StartAsync() => DockerPlugin.StartAsync(Socket, Path.Combine(_directory, "docker"), "boot", NewDevices(), _volumes, (method, outcome) => _calls.Enqueue($"{method} {outcome}"), this, default);

    private async Task<JsonNode> CallAsync(string call, string body)
    {
        using var http = new HttpClient(new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var connection = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await connection.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancellation);
                return new NetworkStream(connection, ownsSocket: true);
            },
        });
        using var answer = await http.PostAsync(new Uri($"http://plugin/{call}"), new StringContent(body, Encoding.UTF8));
        return JsonNode.Parse(await answer.Content.ReadAsStringAsync())!;
    }

    private static async Task UntilAsync(Func<bool> condition)
    {
        for (var left = 1000; !condition(); left--)
        {
            Assert.True(left > 0, "what was waited for did not come");
            await Task.Delay(10);
        }
    }

    ILogger ILoggerFactory.CreateLogger(string categoryName) => this;

    void ILoggerFactory.AddProvider(ILoggerProvider provider) => throw new NotSupportedException();

    IDisposable? ILogger.BeginScope<TState>(TState state) => null;

    bool ILogger.IsEnabled(LogLevel logLevel) => true;

    void ILogger.Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
        _log.Enqueue($"{logLevel}: {formatter(state, exception)}");

    /// <summary>One volume of every name.</summary>
    internal sealed class FakeVolumes : IHostVolumes
    {
        public string? AttachedNode { get; set; }

        public bool? IsUsed { get; set; } = false;

        public int Attaches { get; private set; }

        /// <summary>Set: questions wait for it.</summary>
        public TaskCompletionSource? Answers { get; set; }

        /// <summary>Set: a detach waits for it.</summary>
        public TaskCompletionSource? Detaches { get; set; }

        public string Failure { get; set; } = "";

        public AttachStatus FailureStatus { get; set; } = AttachStatus.Unavailable;

        public bool Throws { get; set; }

        /// <summary>The process ends once the volume is attached.</summary>
        public bool DiesAttaching { get; set; }

        public IReadOnlyList<HostPublication> Publications { get; set; } = [];

        public string NodeName => "node-1";

        public IReadOnlyCollection<string> KnownLabels => [];

        public async Task<AttachResult<HostVolume>> GetAsync(string fullName, CancellationToken cancellation)
        {
            if (Answers is { } answers) await answers.Task.WaitAsync(cancellation);
            if (Throws) throw new InvalidOperationException("broken");
            return Failure.Length > 0 ? AttachResult<HostVolume>.Error(FailureStatus, Failure) : Volume(fullName);
        }

        public Task<AttachResult<IReadOnlyList<HostVolume>>> ListAsync(CancellationToken cancellation) => throw new NotSupportedException();

        public Task<AttachResult<HostVolume>> CreateAsync(string fullName, ulong sizeBytes, IReadOnlyDictionary<string, string> labels, CancellationToken cancellation) => throw new NotSupportedException();

        public Task<AttachResult<Done>> DeleteAsync(string fullName, CancellationToken cancellation) =>
            Task.FromResult(AttachedNode is { } node ? AttachResult<Done>.Error(AttachStatus.Conflict, $"it is attached to {node}") : Done.Ok);

        public Task<AttachResult<HostVolume>> AttachAsync(string fullName, CancellationToken cancellation)
        {
            Attaches++;
            AttachedNode = NodeName;
            if (DiesAttaching) throw new InvalidOperationException("killed");
            return Task.FromResult<AttachResult<HostVolume>>(Volume(fullName));
        }

        public async Task<AttachResult<Done>> DetachAsync(string fullName, CancellationToken cancellation)
        {
            if (Detaches is { } detaches) await detaches.Task.WaitAsync(cancellation);
            AttachedNode = null;
            return Done.Ok;
        }

        public Task<AttachResult<bool>> IsUsedOnAsync(string node, HostVolume volume, CancellationToken cancellation) =>
            Task.FromResult<AttachResult<bool>>(IsUsed is { } used ? used : AttachResult<bool>.Error(AttachStatus.TimedOut, "nobody knows"));

        private HostVolume Volume(string fullName) => new(new VolumeId(7), fullName, 1 << 30, new Dictionary<string, string>(), AttachedNode, 3, 1000) { Publications = Publications };
    }

    /// <summary>A mounter that does all and mounts nothing.</summary>
    public class MounterProxy : DispatchProxy
    {
        /// <summary>Unset: nothing, the device is blank.</summary>
        public FileSystemKind Holds { get; set; }

        /// <summary>The file systems that were mounted, in order.</summary>
        public Collection<string> Mounted { get; } = [];

        public static IMounter Create() => DispatchProxy.Create<IMounter, MounterProxy>();

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => targetMethod!.Name switch
        {
            nameof(IMounter.FormatAsync) or nameof(IMounter.GrowUnmountedAsync) or nameof(IMounter.GrowAsync) or nameof(IMounter.UnmountAsync) => Task.FromResult(Done.Ok),
            nameof(IMounter.MountAsync) => Task.FromResult<AttachResult<MountEntry>>(Mount((MountRequest)args![0]!)),
            nameof(IMounter.ProbeAsync) => Task.FromResult<AttachResult<DeviceProbe>>(new DeviceProbe(Holds == FileSystemKind.Unset ? DeviceContent.Blank : DeviceContent.FileSystem, Holds, "")),
            nameof(IMounter.MountsOf) or nameof(IMounter.BindsOf) => new AttachResult<IReadOnlyList<MountEntry>>(AttachStatus.Ok, [], ""),
            nameof(IMounter.MountedAt) => AttachResult<MountEntry>.Error(AttachStatus.NotFound, "nothing"),
            _ => throw new NotSupportedException(targetMethod.Name),
        };

        private MountEntry Mount(MountRequest request)
        {
            Mounted.Add(FileSystems.NameOf(request.FileSystem));
            return new MountEntry(1, 1, 1, "/", request.Path, Mounted[^1], "/dev/x", false, "", "");
        }
    }
}
