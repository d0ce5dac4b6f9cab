using System.Diagnostics;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Cluster.Csi.Csi;

/// <summary>One call as it is logged and locked.</summary>
/// <param name="Volume">What it is about; "" when nothing.</param>
/// <param name="Lock">The name under which no two calls run at one time; null: it changes nothing.</param>
internal sealed record CsiCall(string Method, string Volume = "", string Node = "", string? Lock = null);

/// <summary>
/// The border between gRPC and the driver: every call is locked, bounded by its deadline, counted and logged here, and a result becomes a response or a
/// status. Any thread.
/// </summary>
/// <param name="onCall">Told the method and the code of every call that ended.</param>
internal sealed class CsiCalls(ILogger logger, Action<string, StatusCode> onCall)
{
    private readonly VolumeLocks _locks = new();

    public async Task<T> RunAsync<T>(CsiCall call, ServerCallContext context, Func<CancellationToken, Task<CsiResult<T>>> work)
        where T : class
    {
        var started = Stopwatch.GetTimestamp();
        var result = await LockedAsync(call, context, started, work).ConfigureAwait(false);
        var code = result.Error?.Code ?? StatusCode.OK;
        onCall(call.Method, code);
        var ms = (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds;
        if (result.Error is { } error)
        {
            CsiLog.Failed(logger, call.Method, call.Volume, call.Node, error.Code, ms, error.Message);
            throw new RpcException(new Status(error.Code, error.Message));
        }
        if (call.Lock is null) CsiLog.Looked(logger, call.Method, ms);
        else CsiLog.Done(logger, call.Method, call.Volume, call.Node, ms);
        return result.Value!;
    }

    /// <summary>Of a publication that was answered while the catalogue hung.</summary>
    public void OnLateNote(string volume, CsiError? refused, Exception? broken)
    {
        const string Method = "ControllerPublishVolume";
        if (broken is not null) CsiLog.NoteBroken(logger, broken, Method, volume);
        else if (refused is not null) CsiLog.NotNoted(logger, Method, volume, refused.Code, refused.Message);
        else CsiLog.NotedLate(logger, Method, volume);
    }

    private async Task<CsiResult<T>> LockedAsync<T>(
        CsiCall call, ServerCallContext context, long started, Func<CancellationToken, Task<CsiResult<T>>> work)
        where T : class
    {
        using var hold = call.Lock is null ? null : _locks.TryEnter(call.Lock);
        if (call.Lock is not null && hold is null)
            return CsiError.Aborted($"Another call for {call.Volume} is under way; make this one again when it has ended.");
        try
        {
            return await work(context.CancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (context.CancellationToken.IsCancellationRequested)
        {
            return context.Deadline <= DateTime.UtcNow
                ? new CsiError(StatusCode.DeadlineExceeded, "The call took longer than its deadline; made again it goes on where it was.")
                : new CsiError(StatusCode.Cancelled, "The call was cancelled; made again it goes on where it was.");
        }
        catch (Exception e)
        {
            // A broken invariant of one call must not look like an answer, and must not end the others.
            CsiLog.Broken(logger, e, call.Method, call.Volume, call.Node, (long)Stopwatch.GetElapsedTime(started).TotalMilliseconds);
            return new CsiError(StatusCode.Internal, $"{call.Method} failed unexpectedly; the log of this node says why.");
        }
    }
}
