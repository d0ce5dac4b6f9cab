using Cluster.Csi.Nbd;

namespace Cluster.Csi.Fuse;

/// <summary>Error numbers of the host, and what an NBD error is as one.</summary>
internal static class Errno
{
    public const int NotPermitted = 1;
    public const int InputOutput = 5;
    public const int Invalid = 22;
    public const int TooBig = 27;
    public const int NoSpace = 28;
    public const int NotImplemented = 38;
    public const int Protocol = 71;
    public const int NotSupported = 95;

    public static int Of(uint nbd) => (NbdError)nbd switch
    {
        NbdError.NotPermitted => NotPermitted,
        NbdError.NoSpace => NoSpace,
        NbdError.Invalid => Invalid,
        _ => InputOutput,
    };
}
