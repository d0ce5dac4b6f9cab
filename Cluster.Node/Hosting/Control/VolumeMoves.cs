using System.Collections.Immutable;
using System.Text;
using Cluster.Messages.Model;
using Cluster.Node.Journal;
using Microsoft.Extensions.Logging;

namespace Cluster.Node.Hosting.Control;

/// <summary>
/// Moves of owners that were asked for and not yet made: keys "move/VOLUME" of the journal with a node's name. Any thread.
/// </summary>
public sealed partial class VolumeMoves(IMetaLog log)
{
    private const string Prefix = "move/";
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
