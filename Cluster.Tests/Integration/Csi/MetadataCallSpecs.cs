using Cluster.Csi.Csi.V1;
using Cluster.Node.Cli;
using Grpc.Core;
using static Cluster.Tests.Integration.Csi.CsiNode;

namespace Cluster.Tests.Integration.Csi;

/// <summary>GetMetadataAllocated and GetMetadataDelta.</summary>
public class MetadataCallSpecs(CsiNode node) : IClassFixture<CsiNode>
{
    private const long Block = 4096;

    [Fact(DisplayName = "The streams tell where a snapshot holds data and where two of one volume differ, in messages as short as asked for, from any offset on")]
    public async Task Streams()
    {
        var volume = (await node.CreateAsync()).VolumeId;
        var empty = await SnapshotAsync(volume);
        await WriteAsync(volume, 0, 5 * Block, 100 * Block, Gibibyte - Block);
        var first = await SnapshotAsync(volume);
        await WriteAsync(volume, 6 * Block, 100 * Block);
        var second = await SnapshotAsync(volume);

        var nothing = Assert.Single(await ReadAsync(Allocated(empty)));
        Assert.Equal((Gibibyte, 0, BlockMetadataType.VariableLength), (nothing.VolumeCapacityBytes, nothing.BlockMetadata.Count, nothing.BlockMetadataType));
        Assert.Equal([(0, Block), (5 * Block, Block), (100 * Block, Block), (Gibibyte - Block, Block)], await RunsAsync(Allocated(first)));
        Assert.Equal([(6 * Block, Block), (100 * Block, Block)], await RunsAsync(Delta(first, second)));
        Assert.Equal(await RunsAsync(Allocated(first)), await RunsAsync(Delta(empty, first)));
        Assert.Equal([(100 * Block, Block), (Gibibyte - Block, Block)], await RunsAsync(Allocated(first, (6 * Block) + 1)));
        Assert.Equal([(5 * Block, Block), (100 * Block, Block), (Gibibyte - Block, Block)], await RunsAsync(Allocated(first, (5 * Block) + 17)));
        Assert.Empty(await RunsAsync(Allocated(first, Gibibyte)));

        var one = Allocated(first);
        one.MaxResults = 1;
        var messages = await ReadAsync(one);
        Assert.Equal(4, messages.Count);
        Assert.All(messages, message => Assert.Equal((Gibibyte, 1), (message.VolumeCapacityBytes, message.BlockMetadata.Count)));
        var delta = Delta(first, second);
        (delta.StartingOffset, delta.MaxResults) = (7 * Block, 1);
        Assert.Equal([(100 * Block, Block)], await RunsAsync(delta));
        foreach (var snapshot in new[] { empty, first, second }) await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = snapshot });
        await node.DeleteAsync(volume);
    }

    [Fact(DisplayName = "What is not there is NOT_FOUND, what makes no sense INVALID_ARGUMENT, an offset outside of the volume OUT_OF_RANGE")]
    public async Task Refusals()
    {
        var (volume, other) = ((await node.CreateAsync()).VolumeId, (await node.CreateAsync()).VolumeId);
        var (first, second, foreign) = (await SnapshotAsync(volume), await SnapshotAsync(volume), await SnapshotAsync(other));
        await Refused(StatusCode.InvalidArgument, Allocated(""));
        await Refused(StatusCode.NotFound, Allocated("non-existing-snapshot-id"));
        await Refused(StatusCode.NotFound, Allocated($"{volume}@none"));
        await Refused(StatusCode.NotFound, Allocated("no-such-volume@none"));
        await Refused(StatusCode.OutOfRange, Allocated(first, -1));
        await Refused(StatusCode.OutOfRange, Allocated(first, Gibibyte + 1));
        await Refused(StatusCode.InvalidArgument, new GetMetadataAllocatedRequest { SnapshotId = first, MaxResults = -1 });
        await RefusedDelta(StatusCode.InvalidArgument, Delta("", second));
        await RefusedDelta(StatusCode.InvalidArgument, Delta(first, ""));
        await RefusedDelta(StatusCode.InvalidArgument, Delta(second, first));
        await RefusedDelta(StatusCode.InvalidArgument, Delta(foreign, second));
        await RefusedDelta(StatusCode.NotFound, Delta($"{volume}@none", second));
        await RefusedDelta(StatusCode.NotFound, Delta(first, $"{volume}@none"));
        var beyond = Delta(first, second);
        beyond.StartingOffset = Gibibyte + 1;
        await RefusedDelta(StatusCode.OutOfRange, beyond);
        foreach (var snapshot in new[] { first, second, foreign }) await node.Controller.DeleteSnapshotAsync(new DeleteSnapshotRequest { SnapshotId = snapshot });
        foreach (var each in new[] { volume, other }) await node.DeleteAsync(each);

        async Task Refused(StatusCode code, GetMetadataAllocatedRequest request) =>
            Assert.Equal(code, (await Assert.ThrowsAsync<RpcException>(() => ReadAsync(request))).StatusCode);

        async Task RefusedDelta(StatusCode code, GetMetadataDeltaRequest request) =>
            Assert.Equal(code, (await Assert.ThrowsAsync<RpcException>(() => RunsAsync(request))).StatusCode);
    }

    private static GetMetadataAllocatedRequest Allocated(string snapshot, long offset = 0) => new() { SnapshotId = snapshot, StartingOffset = offset };

    private static GetMetadataDeltaRequest Delta(string from, string to) => new() { BaseSnapshotId = from, TargetSnapshotId = to };

    private async Task<string> SnapshotAsync(string volume) =>
        (await node.Controller.CreateSnapshotAsync(new CreateSnapshotRequest { SourceVolumeId = volume, Name = node.NewName("snap") })).Snapshot.SnapshotId;

    private async Task WriteAsync(string volume, params long[] offsets)
    {
        var (_, shown) = await node.Nodes.GetAsync(0, "/v1/nodes/node-0");
        using var client = await NbdClient.ConnectAsync(new Uri($"{shown.GetProperty("nbd").GetString()}/{volume}"), CancellationToken.None);
        var data = new byte[Block];
        data.AsSpan().Fill(7);
        foreach (var offset in offsets) await client.WriteAsync((ulong)offset, data, CancellationToken.None);
        await client.DisconnectAsync(CancellationToken.None);
    }

    private async Task<List<GetMetadataAllocatedResponse>> ReadAsync(GetMetadataAllocatedRequest request)
    {
        using var call = node.Client.Metadata.GetMetadataAllocated(request);
        var messages = new List<GetMetadataAllocatedResponse>();
        await foreach (var message in call.ResponseStream.ReadAllAsync()) messages.Add(message);
        return messages;
    }

    private async Task<(long, long)[]> RunsAsync(GetMetadataAllocatedRequest request) => [.. (await ReadAsync(request)).SelectMany(message => message.BlockMetadata).Select(Of)];

    private async Task<(long, long)[]> RunsAsync(GetMetadataDeltaRequest request)
    {
        using var call = node.Client.Metadata.GetMetadataDelta(request);
        var runs = new List<(long, long)>();
        await foreach (var message in call.ResponseStream.ReadAllAsync()) runs.AddRange(message.BlockMetadata.Select(Of));
        return [.. runs];
    }

    private static (long, long) Of(BlockMetadata run) => (run.ByteOffset, run.SizeBytes);
}
