using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// What sessions were answered, under losses of power (R13): it is there, at the sequence that it had, or its session is told so and never answered again. Writes that
/// every copy has lost are there again once they were presented; from what was read meanwhile it shows whether anybody looked in between.
/// </summary>
internal sealed class SimAnswers
{
    private readonly Dictionary<SimRequest, Answer> _held = [];
    private readonly Dictionary<SimRequest, Answer> _lost = [];
    private readonly List<(SimRequest Request, ulong Block, ulong AsOf)> _reads = [];

    /// <summary>The newest write that a session has read; of another session, maybe.</summary>
    private readonly Dictionary<SessionId, (SimRequest Write, Answer Answer)> _seen = [];

    /// <param name="LostIn">The epoch that began without it.</param>
    private readonly record struct Answer(ulong Sequence, long AtUs, ulong LostIn = 0);

    public readonly record struct Restored(bool IsRestored, string? Wrong = null);

    public void OnAcknowledged(SimRequest request, ulong sequence, long nowUs) => _held[request] = new Answer(sequence, nowUs);

    public void OnTakeover(ulong start, ulong epoch)
    {
        foreach (var (session, (write, answer)) in _seen.ToList())
        {
            if (answer.LostIn == 0 && answer.Sequence > start) _seen[session] = (write, answer with { LostIn = epoch });
        }
        foreach (var (request, answer) in _held.Where(pair => pair.Value.Sequence > start).ToList())
        {
            _held.Remove(request);
            _lost[request] = answer with { LostIn = epoch };
        }
    }

    public Restored OnCommitted(SimRequest request, in RecordHeader record)
    {
        foreach (var (session, (write, seen)) in _seen.ToList())
        {
            if (write == request && seen.LostIn != 0 && record.Epoch >= seen.LostIn && record.Sequence == seen.Sequence) _seen[session] = (write, seen with { LostIn = 0 });
        }
        if (!_lost.TryGetValue(request, out var answer) || record.Epoch < answer.LostIn) return default;
        if (record.Sequence != answer.Sequence)
            return new Restored(true, $"{request.Client.Name}'s request {request.Id} was answered as {answer.Sequence}, was lost, and is applied again as {record.Sequence}");
        _lost.Remove(request);
        _held[request] = answer;
        foreach (var (read, block, asOf) in _reads)
        {
            if (read.StartedUs > answer.AtUs && request.Range.Contains(block) && asOf < answer.Sequence)
                return new Restored(true, $"{read.Client.Name} read block {block} as of {asOf} before the lost write {answer.Sequence}, answered earlier, was presented");
        }
        return new Restored(true);
    }

    /// <summary>Why the session may not be answered in that epoch.</summary>
    public string? GoesOnWithout(SessionId session, ulong epoch)
    {
        if (_seen.TryGetValue(session, out var seen) && seen.Answer.LostIn != 0 && epoch >= seen.Answer.LostIn)
            return $"though write {seen.Answer.Sequence}, which it had read, is gone since epoch {seen.Answer.LostIn}";
        foreach (var (request, answer) in _lost)
        {
            if (request.Session == session && epoch >= answer.LostIn) return $"though write {answer.Sequence}, answered to it, is gone since epoch {answer.LostIn}";
        }
        return null;
    }

    /// <summary>The session was shown that write.</summary>
    public void OnSeen(SessionId session, SimRequest write, ulong sequence)
    {
        if (!_seen.TryGetValue(session, out var seen) || seen.Answer.Sequence < sequence) _seen[session] = (write, new Answer(sequence, 0));
    }

    public void OnToldOfLoss(SessionId session)
    {
        _seen.Remove(session);
        foreach (var request in _lost.Keys.Where(request => request.Session == session).ToList()) _lost.Remove(request);
    }

    /// <summary>What was answered before the read began, and is not lost, bounds what it may show.</summary>
    public string? OnRead(SimRequest read, ulong block, ulong asOf, ulong value)
    {
        _reads.Add((read, block, asOf));
        foreach (var (write, answer) in _held)
        {
            if (!write.Range.Contains(block)) continue;
            if (answer.AtUs < read.StartedUs && asOf < answer.Sequence) return $"though {answer.Sequence} was answered before";
            if (asOf == answer.Sequence && value != write.Value) return $"as {value}, which is not what was written then: {write.Value}";
        }
        return null;
    }
}
