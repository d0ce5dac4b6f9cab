using System.Net;
using System.Text;
using Cluster.Csi.Attach;
using Cluster.Csi.Csi;
using Cluster.Csi.Docker;
using Cluster.Csi.Kernel;
using Cluster.Csi.Nbd;
using Cluster.Node.Hosting.Devices;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Node.Hosting.Volumes;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting;

// Volumes as devices of this host.
public sealed partial class NodeHost
{
    /// <summary>The kernel's bound.</summary>
    private const int SocketPathBytesMax = 107;

    /// <summary>
    /// Devices outlive the process: what is found of an earlier one goes on. Their daemons come in by a socket of their own, which no other user of the host can open.
    /// </summary>
    private async Task StartDevicesAsync(DataDirectory directory, DeviceUsers users, NbdServer nbd, OwnerGateway gateway, CancellationToken cancellation)
    {
        var address = ListenForDevices(directory, nbd);
        var reconnects = _metrics.AddCounter("myrmidon_device_reconnects_total", "New connections for devices of the kernel's NBD client that had lost theirs, as after each start of the node.");
        var attacher = new ChosenAttacher(_options.Attacher,
            new KernelNbdAttacher(Path.Combine(directory.Attach, "kernel"), address, nbd, DeviceProcess.Command, _loggers, () => reconnects.Add()),
            new FuseLoopAttacher(directory.Attach, address, DeviceProcess.Command, _loggers));
        var mounter = new ApartMounter(DeviceProcess.Command, address, Path.Combine(directory.Attach, "scratch"));
        var volumes = new HostVolumes(_control, gateway);
        var devices = new VolumeDevices(volumes, attacher, mounter, users);
        var staged = new StagingNotes(Path.Combine(directory.Attach, "staged"), BootId.ToString());
        foreach (var swept in (AttachResult<Done>[])[users.Sweep(), staged.Sweep()])
        {
            if (!swept.IsOk) LogNotRecovered(swept.Reason);
        }
        _devices.Open(devices, _options.Name);
        _csiDevices = new HostDevices(attacher, mounter, users, staged) { Locks = devices.Locks };
        LogAttacher(attacher.Kind == AttacherKind.KernelNbd ? "the kernel's NBD client" : "FUSE and loop devices");
        // Beside the start: what is stuck in the kernel may take its time to go.
        var recovery = new CancellationTokenSource();
        var recovering = RecoverAsync(attacher, recovery.Token);
        _parts.Add("the devices", async () =>
        {
            _csiDevices = null;
            _devices.Close();
            await recovery.CancelAsync();
            await recovering;
            recovery.Dispose();
        });
        await StartDockerAsync(directory, devices, volumes, cancellation);
    }

    private async Task RecoverAsync(ChosenAttacher attacher, CancellationToken cancellation)
    {
        // What waits for a connection is not to wait for what takes its time to go.
        var watching = Task.Run(() => attacher.WatchAsync(cancellation), CancellationToken.None);
        try
        {
            var recovered = await attacher.RecoverAsync(cancellation);
            if (!recovered.IsOk) LogNotRecovered(recovered.Reason);
        }
        catch (OperationCanceledException)
        {
            // The node stops; its next start looks again.
        }
        await watching;
    }

    /// <summary>Like the API, from the first moment: it says that the node starts until it can serve.</summary>
    private async Task StartCsiAsync(DataDirectory directory, CancellationToken cancellation)
    {
        if (_options.CsiSocket == "off") return;
        var socket = _options.CsiSocket.Length > 0 ? Path.GetFullPath(_options.CsiSocket) : Path.Combine(Path.GetFullPath(directory.Root), "csi.sock");
        if (Encoding.UTF8.GetByteCount(socket) > SocketPathBytesMax && _options.CsiSocket.Length == 0)
        {
            // The default of a data directory far down.
            LogNoCsi(socket);
            return;
        }
        try
        {
            _parts.Add("the CSI driver", await CsiServer.StartAsync(socket, _csi, () => _csiDevices, new CsiMetrics(_metrics).Count, _loggers, cancellation));
        }
        catch (IOException e)
        {
            throw new NodeStartException($"The CSI driver does not start (myrmidon.csi-socket): {e.Message}", e);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "CSI is not served: the path {Path} is too long for a socket; set myrmidon.csi-socket")]
    private partial void LogNoCsi(string path);

    private async Task StartDockerAsync(DataDirectory directory, VolumeDevices devices, HostVolumes volumes, CancellationToken cancellation)
    {
        if (_options.DockerSocket == "off") return;
        var socket = _options.DockerSocket.Length > 0 ? _options.DockerSocket : Path.Combine(Path.GetFullPath(directory.Root), "docker.sock");
        if (Encoding.UTF8.GetByteCount(socket) > SocketPathBytesMax)
        {
            // The default of a data directory far down; a path that was given is checked with the settings.
            LogNoDocker(socket);
            return;
        }
        try
        {
            _parts.Add("the Docker plug-in",
                await DockerPlugin.StartAsync(socket, directory.Docker, BootId.ToString(), devices, volumes, new DockerMetrics(_metrics).Count, _loggers, cancellation));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.Net.Sockets.SocketException)
        {
            throw new NodeStartException($"Docker's volume plug-in can't listen on {socket} (myrmidon.docker-socket): {e.Message}", e);
        }
    }

    private NbdAddress ListenForDevices(DataDirectory directory, NbdServer nbd)
    {
        Directory.CreateDirectory(directory.Attach);
        if (OperatingSystem.IsLinux()) File.SetUnixFileMode(directory.Attach, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var path = Path.Combine(Path.GetFullPath(directory.Attach), "nbd.sock");
        if (Encoding.UTF8.GetByteCount(path) > SocketPathBytesMax)
        {
            var tcp = (IPEndPoint)nbd.EndPoint!;
            var address = tcp.Address.Equals(IPAddress.Any) ? IPAddress.Loopback : tcp.Address.Equals(IPAddress.IPv6Any) ? IPAddress.IPv6Loopback : tcp.Address;
            return new NbdAddress(null, address.ToString(), tcp.Port);
        }
        try
        {
            nbd.Start(null, path);
            return new NbdAddress(path);
        }
        catch (System.Net.Sockets.SocketException e)
        {
            throw new NodeStartException($"NBD can't listen on {path}: {e.Message}", e);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Docker's volume plug-in does not listen: the path {Socket} is too long for a socket; set myrmidon.docker-socket")]
    private partial void LogNoDocker(string socket);

    [LoggerMessage(Level = LogLevel.Information, Message = "new devices of this host are made by {Attacher}")]
    private partial void LogAttacher(string attacher);

    [LoggerMessage(Level = LogLevel.Warning, Message = "devices of an earlier run could not be looked after: {Reason}")]
    private partial void LogNotRecovered(string reason);
}
