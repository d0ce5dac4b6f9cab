namespace Cluster.Csi.Attach;

/// <summary>Where this node's own NBD server listens: a Unix socket, or a TCP port of this host.</summary>
public sealed record NbdAddress(string? UnixPath, string Host = "", int Port = 0);
