using System.Net.Sockets;
using System.Threading.Channels;
using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.Net;

/// <summary>The other side said no, with its reason: another cluster, another era, not a member.</summary>
public sealed class JournalRefusedException(string message) : Exception(message);

/// <summary>Connects and shakes hands within a time limit.</summary>
internal sealed class JournalDialer(Func<HelloPurpose, Hello> hello, int timeoutMs)
{
    /// <summary>
    /// Whether a question over such a connection ended so because it had no answer, or none to go by: anything else is a fault of this program. A connection that breaks, or is given up by a stop, in the middle of a call may be
    /// closed already for that call.
    /// </summary>
    public static bool IsNoAnswer(Exception e) =>
        e is IOException or SocketException or JournalFormatException or JournalRefusedException or ObjectDisposedException or ChannelClosedException;

    /// <summary>
    /// A connection that was welcomed, and the answer. Throws on refusal, malformed bytes, socket errors and the time limit.
    /// </summary>
    public async Task<(JournalConnection Connection, HelloAnswer Answer)> ConnectAsync(
        JournalAddress address, HelloPurpose purpose, CancellationToken ct)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(ct);
        limit.CancelAfter(timeoutMs);
        try
        {
            var connection = await JournalConnection.ConnectAsync(address, limit.Token).ConfigureAwait(false);
            try
            {
                var answer = await ShakeHandsAsync(connection, purpose, limit.Token).ConfigureAwait(false);
                return (connection, answer);
            }
            catch
            {
                await connection.DisposeAsync().ConfigureAwait(false);
                throw;
            }
        }
        catch (OperationCanceledException) when (!ct.IsCancellationRequested)
        {
            throw new IOException($"{address} did not answer within {timeoutMs} ms");
        }
    }

    private async Task<HelloAnswer> ShakeHandsAsync(JournalConnection connection, HelloPurpose purpose, CancellationToken ct)
    {
        await connection.SendAsync(JournalFrameKind.Hello, 0, hello(purpose).Encode(), ct).ConfigureAwait(false);
        var frame = await connection.ReadAsync(JournalLimits.FrameBytesMax, ct).ConfigureAwait(false)
            ?? throw new IOException($"{connection.Remote} closed during the handshake");
        if (frame.Kind != JournalFrameKind.HelloAnswer)
            throw new JournalFormatException($"{connection.Remote} answered a hello with a {frame.Kind}");
        var answer = HelloAnswer.Decode(frame.Body);
        if (answer.Refusal.Length > 0) throw new JournalRefusedException($"{connection.Remote} refused: {answer.Refusal}");
        return answer;
    }
}
