using System.Diagnostics;
using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Journal;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Control;

/// <summary>
/// The way to the catalogue. Its singleton answers; a question that it is silent to (its node hangs, or the next one takes over just now) is answered from the journal,
/// through a quorum, which has all that any change was ever confirmed with. What the singleton alone knows, how nodes are, is "unknown" then. Any thread.
/// </summary>
/// <param name="host">Name of the node that hosts the singleton, or null.</param>
internal sealed partial class Catalogue(ICanTell singleton, JournalFolds folds, Func<string?> host, ILogger<Catalogue> logger)
{
    /// <summary>So long the singleton alone is waited for.</summary>
    private static readonly TimeSpan SoonMax = TimeSpan.FromMilliseconds(500);

    /// <summary>After a question that it was silent to, the journal is asked along with it at once for so long: who asks one thing after the other waits once.</summary>
    private static readonly TimeSpan SilentFor = TimeSpan.FromSeconds(2);

    private long _silentSince = long.MinValue;
    private long _journalAnswers;

    /// <summary>Questions that the journal has answered.</summary>
    public long JournalAnswers => Interlocked.Read(ref _journalAnswers);

    /// <summary>The answer, or null when none came in time: an operating error, not an exception.</summary>
    public async Task<object?> AskAsync(IPlacementCommand question, TimeSpan atMost, CancellationToken cancellation)
    {
        Invariant.That(IsQuestion(question), "only what changes nothing may be answered by the journal");
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        end.CancelAfter(atMost);
        var answer = await FirstAsync(question, atMost, end.Token);
        // Whoever has not answered is waited for no more.
        await end.CancelAsync();
        cancellation.ThrowIfCancellationRequested();
        return answer;
    }

    private async Task<object?> FirstAsync(IPlacementCommand question, TimeSpan atMost, CancellationToken cancellation)
    {
        var asked = Asking.OnceAsync(singleton, question, atMost, cancellation);
        if (!IsSilent && await Task.WhenAny(asked, Task.Delay(SoonMax, CancellationToken.None)) == asked && await asked is { } soon) return soon;
        var read = ReadAsync(question, cancellation);
        if (await Task.WhenAny(asked, read) != asked || await asked is not { } late) return await read ?? await asked;
        Volatile.Write(ref _silentSince, long.MinValue);
        return late;
    }

    /// <summary>
    /// A change. The singleton that takes over from one whose node hangs does not know what that was told, so it is told too: all commands are idempotent.
    /// </summary>
    public Task<object?> ChangeAsync(IPlacementCommand command, TimeSpan atMost, CancellationToken cancellation)
    {
        var told = host();
        return Asking.UntilAnsweredAsync(singleton, command, atMost, () =>
        {
            if (host() is not { } now || now == told) return false;
            told = now;
            return true;
        }, cancellation);
    }

    public static bool IsQuestion(object what) => what is PlacementProtocol.GetVolume or PlacementProtocol.ListVolumes or PlacementProtocol.ListNodes;

    private bool IsSilent => Volatile.Read(ref _silentSince) is not long.MinValue and var since && Stopwatch.GetElapsedTime(since) < SilentFor;

    private async Task<object?> ReadAsync(IPlacementCommand question, CancellationToken cancellation)
    {
        if (!IsSilent) LogSilent(host() ?? "-");
        Volatile.Write(ref _silentSince, Stopwatch.GetTimestamp());
        try
        {
            var state = await folds.ReadPlacementAsync(cancellation);
            Interlocked.Increment(ref _journalAnswers);
            return question switch
            {
                PlacementProtocol.GetVolume get => PlacementMachine.Get(state, get).Answer,
                PlacementProtocol.ListVolumes list => PlacementMachine.List(state, list),
                _ => NodeBoard.Unknown(state),
            };
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "the catalogue on node {Host} does not answer: questions to it are answered from the journal")]
    private partial void LogSilent(string host);
}
