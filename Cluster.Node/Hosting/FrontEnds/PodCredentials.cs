using System.Buffers;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Cluster.Csi.Csi;
using Grpc.Core;

namespace Cluster.Node.Hosting.FrontEnds;

/// <summary>
/// The files `token` and `ca.crt` that the kubelet keeps current in a pod. Read anew for each use, since they are replaced now and then; checked before they are believed, and named in
/// each error: what is wrong with them is mended by the operator, not by another try. Any thread.
/// </summary>
public sealed class PodCredentials(string directory)
{
    /// <summary>Of either file. A token has about 1 KiB, a bundle of authorities some dozens.</summary>
    public const int FileBytesMax = 1 << 20;

    /// <summary>What RFC 6750 (2.1) lets a bearer token be made of: no space, no line break, nothing that would end the header it goes into.</summary>
    private static readonly SearchValues<char> TokenCharacters = SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=");

    public string TokenFile { get; } = Path.Combine(directory, "token");

    public string AuthoritiesFile { get; } = Path.Combine(directory, "ca.crt");

    public CsiResult<string> Token()
    {
        var read = Read(TokenFile, "the service account's token");
        if (read.Value is null) return read.Error!;
        var token = read.Value.Trim();
        if (token.Length == 0) return Wrong(TokenFile, "is empty", "the service account's token");
        return token.AsSpan().ContainsAnyExcept(TokenCharacters)
            ? Wrong(TokenFile, "holds something else than one token", "the service account's token: letters, digits and -._~+/= in one line")
            : token;
    }

    /// <summary>Those that may have signed the API server's certificate, at least one. The caller disposes of them.</summary>
    public CsiResult<X509Certificate2Collection> Authorities()
    {
        const string Right = "the certificates that sign the API server's, in PEM";
        var read = Read(AuthoritiesFile, Right);
        if (read.Value is null) return read.Error!;
        var authorities = new X509Certificate2Collection();
        try
        {
            authorities.ImportFromPem(read.Value);
        }
        catch (CryptographicException e)
        {
            return Wrong(AuthoritiesFile, $"can't be understood ({e.Message.TrimEnd('.')})", Right);
        }
        return authorities.Count > 0 ? authorities : Wrong(AuthoritiesFile, "holds no certificate", Right);
    }

    private static CsiResult<string> Read(string file, string right)
    {
        try
        {
            using var stream = new FileStream(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
            if (stream.Length > FileBytesMax) return Wrong(file, $"has more than {FileBytesMax >> 20} MiB", right);
            using var reader = new StreamReader(stream);
            return reader.ReadToEnd();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return Wrong(file, $"can't be read ({e.Message.TrimEnd('.')})", right);
        }
    }

    private static CsiError Wrong(string file, string what, string right) =>
        new(StatusCode.FailedPrecondition, $"The file {file} {what}; it must hold {right} (myrmidon.kubernetes-credentials names its directory).");
}
