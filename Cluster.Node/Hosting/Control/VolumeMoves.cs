using System.Collections.Immutable;
using System.Globalization;
using System.Text;
using Cluster.Messages.Model;
using Cluster.Node.Journal;
using Cluster.Node.Placement;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Control;

/// <summary>
/// Moves of owners that were asked for and not yet made: keys "move/VOLUME" of the journal with a node's name. And what operators asked for last, so that no owner is moved by itself against
/// it: keys "pin/VOLUME" with "GENERATION UNIX-MS NODE": the attachment's generation then, when, and where to. Any thread.
/// </summary>
public sealed partial class VolumeMoves(IMetaLog log, TimeProvider? time = null) : IFollowMoves
{
    /// <summary>An operator's move counts for so long, or until the volume is attached or detached.</summary>
    public static readonly TimeSpan PinnedFor = TimeSpan.FromHours(1);

    private readonly TimeProvider _time = time ?? TimeProvider.System;

    private const string Prefix = "move/";
    private const string PinPrefix = "pin/";
    private static readonly TimeSpan AskMax = TimeSpan.FromSeconds(10);

    /// <summary>For an owner that wants to leave: a request that the journal does not take is logged, and the owner asks again.</summary>
    public Action<VolumeId, string> AskTo(ILogger logger) => (volume, node) => _ = AskAsync(volume, node, logger);

    private async Task AskAsync(VolumeId volume, string node, ILogger logger)
    {
        using var limit = new CancellationTokenSource(AskMax);
        try
        {
            await RequestAsync(volume, node, limit.Token);
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            LogNotTaken(logger, volume, node, e.Message);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "volume {Volume}: the journal did not take the move of its owner to {Node} now: {Reason}")]
    private static partial void LogNotTaken(ILogger logger, VolumeId volume, string node, string reason);

    /// <summary>The newest request wins. Throws <see cref="MetaLogUnavailableException"/>.</summary>
    public async Task RequestAsync(VolumeId volume, string node, CancellationToken cancellation)
    {
        MetaAnswer answer;
        do
        {
            var known = await log.ReadKeyAsync(Prefix + volume, cancellation);
            var command = new MetaCommand.SetKey(Prefix + volume, known?.Version ?? 0, Encoding.UTF8.GetBytes(node));
            answer = await log.ProposeAsync(command, cancellation);
        }
        while (answer.Status == MetaAnswerStatus.Conflict);
        if (!answer.IsOk) throw new MetaLogUnavailableException($"the journal did not take the move of volume {volume}: {answer.Status}");
    }

    /// <summary>An operator moves the owner there, which counts before any move that is made by itself. Throws <see cref="MetaLogUnavailableException"/>.</summary>
    public async Task PinAsync(VolumeId volume, string node, ulong generation, CancellationToken cancellation)
    {
        var pin = string.Create(CultureInfo.InvariantCulture, $"{generation} {_time.GetUtcNow().ToUnixTimeMilliseconds()} {node}");
        MetaAnswer answer;
        do
        {
            var known = await log.ReadKeyAsync(PinPrefix + volume, cancellation);
            answer = await log.ProposeAsync(new MetaCommand.SetKey(PinPrefix + volume, known?.Version ?? 0, Encoding.UTF8.GetBytes(pin)), cancellation);
        }
        while (answer.Status == MetaAnswerStatus.Conflict);
        if (!answer.IsOk) throw new MetaLogUnavailableException($"the journal did not take the move of volume {volume}: {answer.Status}");
    }

    public async Task<FollowAnswer> AskAsync(VolumeId volume, ulong generation, string owner, string node)
    {
        using var limit = new CancellationTokenSource(AskMax);
        try
        {
            // In this order: an operator journals the pin first, so that one of the two is seen, or the last step fails.
            if (await log.ReadKeyAsync(Prefix + volume, limit.Token) is not null) return FollowAnswer.Taken;
            if (await log.ReadKeyAsync(PinPrefix + volume, limit.Token) is { } pin)
            {
                if (Pins(Encoding.UTF8.GetString(pin.Value), generation, owner)) return FollowAnswer.Pinned;
                await log.ProposeAsync(new MetaCommand.SetKey(PinPrefix + volume, pin.Version, null), limit.Token);
            }
            var answer = await log.ProposeAsync(new MetaCommand.SetKey(Prefix + volume, 0, Encoding.UTF8.GetBytes(node)), limit.Token);
            return answer.IsOk ? FollowAnswer.Asked : FollowAnswer.Taken;
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            return FollowAnswer.Unavailable;
        }
    }

    /// <summary>Where the owner is now is where an operator has put it, lately and under this attachment. A time from further in the future was written by a clock that was wrong, and does not count.</summary>
    private bool Pins(string pin, ulong generation, string owner)
    {
        var parts = pin.Split(' ', 3);
        return parts.Length == 3 && parts[0] == generation.ToString(CultureInfo.InvariantCulture) && parts[2] == owner
            && long.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out var atMs)
            && (_time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(Math.Clamp(atMs, 0, DateTimeOffset.MaxValue.ToUnixTimeMilliseconds()))).Duration() < PinnedFor;
    }

    public async Task WithdrawAsync(VolumeId volume, string node)
    {
        using var limit = new CancellationTokenSource(AskMax);
        try
        {
            await ForgetAsync(volume, node, limit.Token);
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            // It stays a wish, and is fulfilled once it can be.
        }
    }

    public async Task ForgetVolumeAsync(VolumeId volume)
    {
        using var limit = new CancellationTokenSource(AskMax);
        try
        {
            foreach (var key in (string[])[Prefix + volume, PinPrefix + volume])
            {
                if (await log.ReadKeyAsync(key, limit.Token) is { } known) await log.ProposeAsync(new MetaCommand.SetKey(key, known.Version, null), limit.Token);
            }
        }
        catch (Exception e) when (e is MetaLogUnavailableException or OperationCanceledException)
        {
            // Some bytes of a volume that is gone stay in the journal.
        }
    }

    public async Task<ImmutableDictionary<VolumeId, string>> ListAsync(CancellationToken cancellation)
    {
        var moves = ImmutableDictionary.CreateBuilder<VolumeId, string>();
        foreach (var key in await log.ReadKeysAsync(Prefix, cancellation))
        {
            if (VolumeId.TryParse(key.Key[Prefix.Length..], out var volume)) moves[volume] = Encoding.UTF8.GetString(key.Value);
        }
        return moves.ToImmutable();
    }

    /// <summary>Forgets the move to this node; a newer one stays.</summary>
    public async Task ForgetAsync(VolumeId volume, string node, CancellationToken cancellation)
    {
        var known = await log.ReadKeyAsync(Prefix + volume, cancellation);
        if (known is null || Encoding.UTF8.GetString(known.Value) != node) return;
        await log.ProposeAsync(new MetaCommand.SetKey(Prefix + volume, known.Version, null), cancellation);
    }
}
