using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Fakes;

/// <summary>A request whose end the test looks at.</summary>
internal sealed class ProbeRequest : BlockRequest
{
    public IoStatus Status { get; private set; }

    public bool IsDone => Status != IoStatus.Unset;

    public Action<ProbeRequest>? Then { get; set; }

    public static ProbeRequest Of(BlockOperation operation, ulong offsetBytes, ulong lengthBytes, bool forced = false) => new()
    {
        Operation = operation,
        OffsetBytes = offsetBytes,
        LengthBytes = lengthBytes,
        ForceUnitAccess = forced,
        Data = operation is BlockOperation.Read or BlockOperation.Write ? GC.AllocateArray<byte>((int)lengthBytes, pinned: true) : default,
        Extents = operation == BlockOperation.Status ? [] : null,
        ExtentsMax = 1024,
    };

    public static ProbeRequest Write(ulong offsetBytes, byte[] bytes, bool forced = false)
    {
        var request = Of(BlockOperation.Write, offsetBytes, (ulong)bytes.Length, forced);
        bytes.CopyTo(request.Data);
        return request;
    }

    public override void Complete(IoStatus status)
    {
        Assert.Equal(IoStatus.Unset, Status);
        Assert.NotEqual(IoStatus.Unset, status);
        Status = status;
        Then?.Invoke(this);
    }
}
