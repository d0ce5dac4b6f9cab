using System.Diagnostics;
using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting.Volumes;
using Cluster.Node.Owner;

namespace Cluster.Node.Hosting;

/// <summary>Asks actors at the borders. Any thread.</summary>
internal static class Asking
{
    /// <summary>Between two looks at whether to ask again.</summary>
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(100);

    /// <summary>Before a volume is asked again that is on its way from one owner to the next.</summary>
    internal static readonly TimeSpan HandOffPause = TimeSpan.FromMilliseconds(200);

    /// <summary>A volume that is not served after so long waits for more than its next owner: who asks is told what for.</summary>
    internal static readonly TimeSpan HandOffMax = TimeSpan.FromSeconds(10);

    /// <summary>For one answer as many are asked at most: each one was told to be in the place of the one before.</summary>
    private const int AsksMax = 10;

    /// <summary>The answer, or null when none came in time: an operating error, not an exception.</summary>
    public static async Task<object?> OnceAsync(ICanTell whom, object what, TimeSpan atMost, CancellationToken cancellation)
    {
        try
        {
            return await whom.Ask<object>(what, atMost, cancellation);
        }
        catch (Exception e) when (e is AskTimeoutException or OperationCanceledException)
        {
            return null;
        }
    }

    /// <summary>
    /// A question to a volume's owner. It is asked again when another one is known: who was asked first may never answer.
    /// </summary>
    /// <param name="ownerOf">Who is known to serve a volume.</param>
    /// <param name="doubt">See <see cref="UntilAnsweredAsync"/>; of the owner that is known.</param>
    public static Task<object?> OwnerAsync(
        ICanTell owners, IVolumeCommand question, TimeSpan atMost, Func<VolumeId, ServedBy?> ownerOf, CancellationToken cancellation, Action<NodeId>? doubt = null)
    {
        var asked = ownerOf(question.Volume);
        return UntilAnsweredAsync(owners, question, atMost, () =>
        {
            if (ownerOf(question.Volume) is var now && now == asked) return false;
            asked = now;
            return true;
        }, cancellation, doubt: () => Doubt(ownerOf(question.Volume), doubt));
    }

    /// <summary>
    /// Asks again while who was asked says that it is not the volume's owner, or not yet (<see cref="IoStatus.NotOwner"/>): nothing was done there, and in a moment it is, or sharding has the way to another one.
    /// The last answer when that takes longer than <see cref="HandOffMax"/>, or null when none came in time.
    /// </summary>
    public static async Task<object?> PastHandOffsAsync(Func<TimeSpan, Task<object?>> ask, TimeSpan atMost, CancellationToken cancellation)
    {
        var (started, askUntil) = (Stopwatch.GetTimestamp(), atMost < HandOffMax ? atMost : HandOffMax);
        for (var left = atMost; ; left = atMost - Stopwatch.GetElapsedTime(started))
        {
            var answer = await ask(left);
            // The next ask is to have some time after the pause.
            if (answer is not VolumeProtocol.Refused { Status: IoStatus.NotOwner } || askUntil - Stopwatch.GetElapsedTime(started) < 2 * HandOffPause) return answer;
            await Task.Delay(HandOffPause, cancellation);
        }
    }

    public static void Doubt(ServedBy? owner, Action<NodeId>? doubt)
    {
        if (owner is { } known) doubt?.Invoke(known.Node);
    }

    /// <summary>The first answer, or null when none came in time. Asks again while <paramref name="again"/> says so: who was asked first may never answer, and another one be in its place.</summary>
    /// <param name="isAnswer">What it is false for is passed over, and the others that were asked are waited for. Null: anything is an answer.</param>
    /// <param name="doubt">Called while there is no answer, as <see cref="NodeDoubts.IsDue"/> says.</param>
    public static async Task<object?> UntilAnsweredAsync(
        ICanTell whom, object what, TimeSpan atMost, Func<bool> again, CancellationToken cancellation, Func<object, bool>? isAnswer = null, Action? doubt = null)
    {
        var (started, asks, doubts) = (Stopwatch.GetTimestamp(), 1, 0);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        end.CancelAfter(atMost);
        var asked = new List<Task<object?>> { OnceAsync(whom, what, atMost, end.Token) };
        while (asked.Count > 0)
        {
            var pause = Task.Delay(LookEvery, CancellationToken.None);
            var done = await Task.WhenAny([.. asked, pause]);
            if (done is Task<object?> one)
            {
                asked.Remove(one);
                if (await one is not { } answer || isAnswer?.Invoke(answer) == false) continue;
                await end.CancelAsync();
                return answer;
            }
            if (end.IsCancellationRequested) continue;
            if (NodeDoubts.IsDue(Stopwatch.GetElapsedTime(started), doubts))
            {
                doubts++;
                doubt?.Invoke();
            }
            if (asks == AsksMax || !again()) continue;
            asks++;
            asked.Add(OnceAsync(whom, what, atMost, end.Token));
        }
        cancellation.ThrowIfCancellationRequested();
        return null;
    }
}
