using Akka.Actor;
using Akka.TestKit.Xunit2;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Hosting;

namespace Cluster.Tests.Unit.Hosting;

public sealed class AskingSpecs : TestKit
{
    private static readonly VolumeId Volume = new(0xa1);
    private static readonly VolumeProtocol.Detach Question = new(Volume);
    private static readonly VolumeProtocol.Refused Moved = new(Volume, IoStatus.NotOwner, "Volume a: its owner moves; try again in a moment.");

    [Fact(DisplayName = "A volume on its way from one owner to the next is asked again until one has it; any other answer is passed on at once")]
    public async Task Moves_on()
    {
        var answer = AskAsync(TimeSpan.FromSeconds(20));
        for (var i = 0; i < 3; i++)
        {
            await ExpectMsgAsync(Question);
            LastSender.Tell(Moved);
        }
        await ExpectMsgAsync(Question);
        var done = new VolumeProtocol.Done(Volume);
        LastSender.Tell(done);
        Assert.Same(done, await answer);

        answer = AskAsync(TimeSpan.FromSeconds(20));
        await ExpectMsgAsync(Question);
        var offline = Moved with { Status = IoStatus.Offline };
        LastSender.Tell(offline);
        Assert.Equal(offline, await answer);
        await ExpectNoMsgAsync(2 * Asking.HandOffPause);
    }

    [Fact(DisplayName = "One that stays on its way for as long as the question may take is the answer, with its reason; the last ask has only what is left of that time")]
    public async Task Gives_up()
    {
        var (atMost, left) = (4 * Asking.HandOffPause, new List<TimeSpan>());
        var answer = await Asking.PastHandOffsAsync(now =>
        {
            left.Add(now);
            return Task.FromResult<object?>(Moved);
        }, atMost, CancellationToken.None);
        Assert.Same(Moved, answer);
        Assert.Equal(atMost, left[0]);
        Assert.InRange(left.Count, 2, 4);
        Assert.All(left.Zip(left.Skip(1)), pair => Assert.True(TimeSpan.Zero < pair.Second && pair.Second < pair.First));
    }

    private Task<object?> AskAsync(TimeSpan atMost) =>
        Asking.PastHandOffsAsync(left => Asking.OnceAsync(TestActor, Question, left, CancellationToken.None), atMost, CancellationToken.None);
}
