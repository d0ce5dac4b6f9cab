namespace Cluster.Node.Cli.Dev;

/// <summary>
/// The ports of node number `Index` of a local cluster: ten apart, so that node-0 has the documented ones. `Offset` moves them
/// all.
/// </summary>
internal readonly record struct DevPorts(int Offset, int Index)
{
    public const int Stride = 10;

    public const int NodesMax = 7;

    /// <summary>The lowest port stays above those that a system keeps for itself.</summary>
    public const int OffsetMin = -4000;

    /// <summary>The highest port of the highest node must stay below 65536.</summary>
    public const int OffsetMax = 65535 - 10809 - (Stride * NodesMax);

    public int Api => 5705 + Shift;

    public int Mesh => 5707 + Shift;

    public int Remote => 5708 + Shift;

    public int Journal => 5709 + Shift;

    public int Nbd => 10809 + Shift;

    public IEnumerable<int> All => [Api, Mesh, Remote, Journal, Nbd];

    private int Shift => Offset + (Stride * Index);
}
