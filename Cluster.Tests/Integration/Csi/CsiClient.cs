using System.Net.Sockets;
using Cluster.Csi.Csi.V1;
using Grpc.Core;
using Grpc.Net.Client;
using NodeClient = Cluster.Csi.Csi.V1.Node.NodeClient;

namespace Cluster.Tests.Integration.Csi;

/// <summary>What an orchestrator has of a node's driver: the services over its Unix socket.</summary>
internal sealed class CsiClient : IDisposable
{
    private readonly GrpcChannel _channel;

    public CsiClient(string path)
    {
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                try
                {
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancellation);
                    return new NetworkStream(socket, ownsSocket: true);
                }
                catch
                {
                    socket.Dispose();
                    throw;
                }
            },
        };
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true });
        (Identity, Controller, Node, Groups, Metadata) = (new(_channel), new(_channel), new(_channel), new(_channel), new(_channel));
    }

    public Identity.IdentityClient Identity { get; }

    public Controller.ControllerClient Controller { get; }

    public NodeClient Node { get; }

    public GroupController.GroupControllerClient Groups { get; }

    public SnapshotMetadata.SnapshotMetadataClient Metadata { get; }

    public void Dispose() => _channel.Dispose();

    /// <summary>Checks that the call fails with that code, and answers the message.</summary>
    public static async Task<string> FailsAsync<T>(StatusCode code, AsyncUnaryCall<T> call)
    {
        var failure = await Assert.ThrowsAsync<RpcException>(async () => await call);
        Assert.True(failure.StatusCode == code, $"{failure.StatusCode} instead of {code}: {failure.Status.Detail}");
        // A deadline is noticed by the client itself, which says no more than that.
        if (code != StatusCode.DeadlineExceeded) Assert.NotEmpty(failure.Status.Detail);
        return failure.Status.Detail;
    }
}
