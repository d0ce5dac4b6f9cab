using Microsoft.Extensions.Logging;

namespace Cluster.Node.Journal.Recovery;

/// <summary>
/// Fills a recovered journal before anything else uses it. Every node that holds the image does the same at the same time: all writes are compare and set on places
/// that follow from the image alone, so that what one has done the others find done. The key says when all of it is there.
/// </summary>
public sealed partial class RecoveryImport(IMetaLog log, ILogger logger)
{
    private const string Key = "recovery";
    private const string Writer = "recovery";

    /// <summary>Of one append; well below the limit of a command.</summary>
    private const int BatchBytesMax = JournalLimits.CommandBytesMax / 4;

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(200);

    /// <summary>Completes once the journal of this era holds what was recovered; waits as long as that takes. Without an image others do it.</summary>
    public async Task RunAsync(Guid era, RecoveryImage? image, CancellationToken ct)
    {
        while (!await IsDoneAsync(era, ct).ConfigureAwait(false))
        {
            try
            {
                if (image is not null && image.Era == era) await FillAsync(image, ct).ConfigureAwait(false);
                else await Task.Delay(Pause, ct).ConfigureAwait(false);
            }
            catch (MetaLogUnavailableException e)
            {
                LogWaits(e.Message);
            }
        }
    }

    private async Task<bool> IsDoneAsync(Guid era, CancellationToken ct)
    {
        try
        {
            return await log.ReadKeyAsync(Key, ct).ConfigureAwait(false) is { } found && found.Value.AsSpan().SequenceEqual(era.ToByteArray());
        }
        catch (MetaLogUnavailableException e)
        {
            LogWaits(e.Message);
            return false;
        }
    }

    private async Task FillAsync(RecoveryImage image, CancellationToken ct)
    {
        foreach (var stream in image.Streams) await FillAsync(image, stream, ct).ConfigureAwait(false);
        var version = (await log.ReadKeyAsync(Key, ct).ConfigureAwait(false))?.Version ?? 0;
        await log.ProposeAsync(new MetaCommand.SetKey(Key, version, image.Era.ToByteArray()), ct).ConfigureAwait(false);
        LogFilled(image.Streams.Count, image.Era);
    }

    private async Task FillAsync(RecoveryImage image, RecoveredStream stream, CancellationToken ct)
    {
        var events = stream.Events.Select(e => new MetaNewEvent(image.TimestampTicks, e)).ToArray();
        var at = await log.HighestSequenceNrAsync(stream.PersistenceId, ct).ConfigureAwait(false);
        while (at < events.Length)
        {
            var batch = Batch(events, (int)at);
            var answer = await log.ProposeAsync(new MetaCommand.AppendEvents(stream.PersistenceId, at, Writer, batch), ct).ConfigureAwait(false);
            if (answer.Status == MetaAnswerStatus.Full) throw new MetaLogUnavailableException("the metadata journal is full");
            // A conflict: another node was faster with the very same events.
            at = await log.HighestSequenceNrAsync(stream.PersistenceId, ct).ConfigureAwait(false);
        }
    }

    private static MetaNewEvent[] Batch(MetaNewEvent[] events, int from)
    {
        var (to, bytes) = (from, 0L);
        while (to < events.Length && to - from < JournalLimits.EventsPerAppendMax && (to == from || bytes + events[to].Payload.Bytes.Length <= BatchBytesMax))
            bytes += events[to++].Payload.Bytes.Length;
        return events[from..to];
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "the recovered journal waits for a leader: {Why}")]
    private partial void LogWaits(string why);

    [LoggerMessage(Level = LogLevel.Information, Message = "the journal of recovery era {Era} holds what was recovered, {Streams} streams")]
    private partial void LogFilled(int streams, Guid era);
}
