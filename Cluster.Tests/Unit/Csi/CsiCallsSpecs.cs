using Cluster.Csi.Csi;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Cluster.Tests.Unit.Csi;

/// <summary>What happens to every call at the border.</summary>
public class CsiCallsSpecs
{
    private readonly List<(string Method, StatusCode Code)> _counted = [];
    private readonly Lines _log = new();

    [Fact(DisplayName = "A call's end is counted and logged once, with its volume and node, whatever it is")]
    public async Task Ends()
    {
        var calls = Calls();
        var call = new CsiCall("NodeStageVolume", "pg", "node-0", "pg");
        Assert.Equal("done", await calls.RunAsync(call, new Context(), _ => Task.FromResult<CsiResult<string>>("done")));
        Assert.Equal(StatusCode.NotFound, await FailsAsync(calls, call, new Context(), _ => Task.FromResult<CsiResult<string>>(CsiError.NotFound("It is gone."))));
        Assert.Equal(StatusCode.Internal, await FailsAsync(calls, call, new Context(), _ => throw new InvalidOperationException("broken")));
        Assert.Equal([StatusCode.OK, StatusCode.NotFound, StatusCode.Internal], _counted.Select(counted => counted.Code));
        Assert.All(_counted, counted => Assert.Equal("NodeStageVolume", counted.Method));
        Assert.Contains(_log.Written, line => line.Contains("volume pg node node-0: done", StringComparison.Ordinal));
        Assert.Contains(_log.Written, line => line.Contains("volume pg node node-0: NotFound", StringComparison.Ordinal) && line.EndsWith("It is gone.", StringComparison.Ordinal));
    }

    [Fact(DisplayName = "A call that the caller gave up is CANCELLED, one that is out of time DEADLINE_EXCEEDED; neither keeps its lock")]
    public async Task Given_up()
    {
        var calls = Calls();
        var call = new CsiCall("CreateVolume", "pg", Lock: "pg");
        foreach (var (deadline, code) in new[] { (DateTime.MaxValue, StatusCode.Cancelled), (DateTime.UnixEpoch, StatusCode.DeadlineExceeded) })
        {
            using var cancellation = new CancellationTokenSource();
            var context = new Context(cancellation.Token, deadline);
            var started = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            var failing = FailsAsync(calls, call, context, async token =>
            {
                started.SetResult();
                await Task.Delay(Timeout.Infinite, token);
                return "never";
            });
            await started.Task;
            await cancellation.CancelAsync();
            Assert.Equal(code, await failing);
            Assert.Equal("free", await calls.RunAsync(call, new Context(), _ => Task.FromResult<CsiResult<string>>("free")));
        }
    }

    [Fact(DisplayName = "While a call for a volume is under way another one is ABORTED; calls for other volumes and those that only look are not")]
    public async Task Locked()
    {
        var calls = Calls();
        var call = new CsiCall("CreateVolume", "pg", Lock: "pg");
        var end = new TaskCompletionSource<CsiResult<string>>(TaskCreationOptions.RunContinuationsAsynchronously);
        var first = calls.RunAsync(call, new Context(), _ => end.Task);
        Assert.Equal(StatusCode.Aborted, await FailsAsync(calls, call, new Context(), _ => Task.FromResult<CsiResult<string>>("both")));
        Assert.Equal("other", await calls.RunAsync(call with { Lock = "other" }, new Context(), _ => Task.FromResult<CsiResult<string>>("other")));
        Assert.Equal("look", await calls.RunAsync(call with { Lock = null }, new Context(), _ => Task.FromResult<CsiResult<string>>("look")));
        end.SetResult("first");
        Assert.Equal("first", await first);
    }

    private CsiCalls Calls() => new(_log, (method, code) => _counted.Add((method, code)));

    private static async Task<StatusCode> FailsAsync(CsiCalls calls, CsiCall call, Context context, Func<CancellationToken, Task<CsiResult<string>>> work) =>
        (await Assert.ThrowsAsync<RpcException>(() => calls.RunAsync(call, context, work))).StatusCode;

    private sealed class Lines : ILogger
    {
        public List<string> Written { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Written.Add(formatter(state, exception));
    }

    private sealed class Context(CancellationToken cancellation = default, DateTime? deadline = null) : ServerCallContext
    {
        protected override string MethodCore => "";

        protected override string HostCore => "";

        protected override string PeerCore => "";

        protected override DateTime DeadlineCore => deadline ?? DateTime.MaxValue;

        protected override Metadata RequestHeadersCore => [];

        protected override CancellationToken CancellationTokenCore => cancellation;

        protected override Metadata ResponseTrailersCore => [];

        protected override Status StatusCore { get; set; }

        protected override WriteOptions? WriteOptionsCore { get; set; }

        protected override AuthContext AuthContextCore => throw new NotSupportedException();

        protected override ContextPropagationToken CreatePropagationTokenCore(ContextPropagationOptions? options) => throw new NotSupportedException();

        protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders) => Task.CompletedTask;
    }
}
