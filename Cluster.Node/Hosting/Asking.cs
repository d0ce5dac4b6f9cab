using Akka.Actor;

namespace Cluster.Node.Hosting;

/// <summary>Asks actors at the borders. Any thread.</summary>
internal static class Asking
{
    /// <summary>Between two looks at whether to ask again; so an actor is asked at most ten times in five seconds.</summary>
    private static readonly TimeSpan AgainEvery = TimeSpan.FromMilliseconds(500);

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

    /// <summary>The first answer, or null when none came in time. Asks again while <paramref name="again"/> says so: who was asked first may never answer, and another one be in its place.</summary>
    public static async Task<object?> UntilAnsweredAsync(ICanTell whom, object what, TimeSpan atMost, Func<bool> again, CancellationToken cancellation)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        end.CancelAfter(atMost);
        var asked = new List<Task<object?>> { OnceAsync(whom, what, atMost, end.Token) };
        while (asked.Count > 0)
        {
            var pause = Task.Delay(AgainEvery, CancellationToken.None);
            var done = await Task.WhenAny([.. asked, pause]);
            if (done is Task<object?> one)
            {
                asked.Remove(one);
                if (await one is not { } answer) continue;
                await end.CancelAsync();
                return answer;
            }
            if (!end.IsCancellationRequested && again()) asked.Add(OnceAsync(whom, what, atMost, end.Token));
        }
        cancellation.ThrowIfCancellationRequested();
        return null;
    }
}
