using System.Diagnostics;
using Akka.Actor;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Journal;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Control;

/// <summary>
/// The way to the catalogue. Its singleton answers; a question that it is silent to (its node hangs, or the next one takes over just now) is answered from the journal,
/// through a quorum, which has all that any change was ever confirmed with. What the singleton alone knows, how nodes are, is "unknown" then. Any thread.
/// </summary>
/// <param name="host">Name of the node that hosts the singleton, or null.</param>
/// <param name="isReachable">Whether this node hears from the node with that name: from its I/O loop, and from its actors. One that it does not hear from is not waited for alone.</param>
internal sealed partial class Catalogue(ICanTell singleton, JournalFolds folds, Func<string?> host, Func<string, bool> isReachable, ILogger<Catalogue> logger)
{
    /// <summary>The node with that name is waited for in vain (<see cref="NodeDoubts"/>).</summary>
    public Action<string> Doubt { get; init; } = _ => { };

    /// <summary>So long the singleton alone is waited for.</summary>
    private static readonly TimeSpan SoonMax = TimeSpan.FromMilliseconds(500);

    /// <summary>So long it is when how nodes are is asked for, which no other knows, unless its node is known to be unreachable.</summary>
    private static readonly TimeSpan StatesMax = TimeSpan.FromSeconds(3);

    /// <summary>So long the journal is waited for where it has the last word on a change.</summary>
    private static readonly TimeSpan LookMax = TimeSpan.FromSeconds(2);

    /// <summary>Between two looks at whether the singleton is still waited for alone.</summary>
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(100);

    /// <summary>After a question that it was silent to, the journal is asked along with it at once for so long: who asks one thing after the other waits once.</summary>
    private static readonly TimeSpan SilentFor = TimeSpan.FromSeconds(2);

    private long _silentSince = long.MinValue;
    private long _journalAnswers;
    private int _foldFailed;

    /// <summary>Questions that the journal has answered.</summary>
    public long JournalAnswers => Interlocked.Read(ref _journalAnswers);

    /// <summary>The answer, or null when none came in time: an operating error, not an exception.</summary>
    /// <param name="needsStates">Of nodes: also how they are, which only the singleton knows.</param>
    public async Task<object?> AskAsync(IPlacementCommand question, TimeSpan atMost, CancellationToken cancellation, bool needsStates = true)
    {
        Invariant.That(IsQuestion(question), "only what changes nothing may be answered by the journal");
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        end.CancelAfter(atMost);
        var answer = await FirstAsync(question, needsStates && question is PlacementProtocol.ListNodes, atMost, end.Token, cancellation);
        // The journal is waited for no more.
        await end.CancelAsync();
        cancellation.ThrowIfCancellationRequested();
        return answer;
    }

    private async Task<object?> FirstAsync(
        IPlacementCommand question, bool needsStates, TimeSpan atMost, CancellationToken end, CancellationToken cancellation)
    {
        var asked = AskSingletonAsync(question, atMost, cancellation);
        if (await SoonAsync(asked, needsStates) is { } soon) return soon;
        var read = ReadAsync(question, end);
        if (await Task.WhenAny(asked, read) == asked && await asked is { } late) return late;
        return await read ?? await asked;
    }

    /// <summary>Not ended by the journal's answer: one that comes later says that the singleton is not silent any more.</summary>
    private async Task<object?> AskSingletonAsync(IPlacementCommand question, TimeSpan atMost, CancellationToken cancellation)
    {
        var answer = await Asking.OnceAsync(singleton, question, atMost, cancellation);
        if (answer is not null) Volatile.Write(ref _silentSince, long.MinValue);
        return answer;
    }

    /// <summary>The answer of the singleton if it comes in the time that it alone has, else null.</summary>
    private async Task<object?> SoonAsync(Task<object?> asked, bool needsStates)
    {
        var started = Stopwatch.GetTimestamp();
        while (!asked.IsCompleted && IsWaitedFor(Stopwatch.GetElapsedTime(started), needsStates))
        {
            await Task.WhenAny(asked, Task.Delay(LookEvery, CancellationToken.None));
            if (Stopwatch.GetElapsedTime(started) >= NodeDoubts.After) DoubtHost(asked);
        }
        DoubtHost(asked);
        return asked.IsCompleted ? await asked : null;
    }

    private void DoubtHost(Task asked)
    {
        if (!asked.IsCompleted && host() is { } node) Doubt(node);
    }

    private bool IsWaitedFor(TimeSpan elapsed, bool needsStates)
    {
        if (host() is { } node && !isReachable(node)) return false;
        return needsStates ? elapsed < StatesMax : !IsSilent && elapsed < SoonMax;
    }

    /// <summary>A change, told to each singleton that takes the place of one that is silent; what comes of it is <see cref="ChangeMachine"/>'s to say.</summary>
    public async Task<object?> ChangeAsync(IPlacementCommand command, TimeSpan atMost, CancellationToken cancellation)
    {
        var change = new ChangeMachine(command, host());
        object? outcome = null;
        await Asking.UntilAnsweredAsync(singleton, command, atMost, () => change.TellsNext(host()), cancellation,
            said => (outcome = change.OnAnswer(said)) is not null, () =>
            {
                if (host() is { } node) Doubt(node);
            });
        return outcome is ChangeMachine.ToLook look ? ChangeMachine.OnLooked(look, await IsGoneAsync(look.Volume, cancellation)) : outcome ?? change.OnEnd();
    }

    /// <summary>Null: the journal did not answer.</summary>
    private async Task<bool?> IsGoneAsync(VolumeId volume, CancellationToken cancellation)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        end.CancelAfter(LookMax);
        var state = await StateAsync(end.Token);
        cancellation.ThrowIfCancellationRequested();
        return state is null ? null : !state.Volumes.ContainsKey(volume);
    }

    public static bool IsQuestion(object what) => what is PlacementProtocol.GetVolume or PlacementProtocol.ListVolumes or PlacementProtocol.ListNodes;

    /// <summary>The journal is asked along with it at once.</summary>
    public bool IsSilent => Volatile.Read(ref _silentSince) is not long.MinValue and var since && Stopwatch.GetElapsedTime(since) < SilentFor;

    private async Task<object?> ReadAsync(IPlacementCommand question, CancellationToken cancellation)
    {
        if (cancellation.IsCancellationRequested) return null;
        if (!IsSilent)
        {
            // Once: questions that are answered from here do not prove that the singleton is still silent.
            LogSilent(host() ?? "-");
            Volatile.Write(ref _silentSince, Stopwatch.GetTimestamp());
        }
        if (await StateAsync(cancellation) is not { } state) return null;
        Interlocked.Increment(ref _journalAnswers);
        return question switch
        {
            PlacementProtocol.GetVolume get => PlacementMachine.Get(state, get).Answer,
            PlacementProtocol.ListVolumes list => PlacementMachine.List(state, list),
            _ => NodeBoard.Unknown(state),
        };
    }

    /// <summary>The catalogue as a quorum of the journal has it; null when none answers.</summary>
    private async Task<PlacementState?> StateAsync(CancellationToken cancellation)
    {
        try
        {
            return await folds.ReadPlacementAsync(cancellation);
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            return null;
        }
        catch (Exception e) when (e is EventFormatException or InvariantException)
        {
            // The singleton may still answer.
            if (Interlocked.Exchange(ref _foldFailed, 1) == 0) LogNotFolded(e);
            return null;
        }
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "what the journal says of the catalogue is not understood, so that it answers no questions while the catalogue is silent")]
    private partial void LogNotFolded(Exception e);

    [LoggerMessage(Level = LogLevel.Warning, Message = "the catalogue on node {Host} does not answer: questions to it are answered from the journal")]
    private partial void LogSilent(string host);
}
