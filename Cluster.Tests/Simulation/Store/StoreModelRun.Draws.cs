using Cluster.Messages.Model;

namespace Cluster.Tests.Simulation.Store;

/// <summary>What the seed makes of the state: each step is drawn as a value, kept, and then done. The streams of random numbers are what planted bugs are found with: they stay as they are.</summary>
public sealed partial class StoreModelRun
{
    private ulong _headers;

    public void Step()
    {
        var id = Ids[_random.Next(Ids.Length)];
        if (!_now.Volumes.TryGetValue(id, out var model))
        {
            Draw(_random.Next(3) == 0 ? Of(StoreStepKind.Create, id, DrawHeader(9000)) : DrawClone(id));
            return;
        }
        Draw(_random.Next(100) switch
        {
            < 4 => DrawMark(id, model),
            < 45 => DrawAppend(id),
            < 53 => DrawTrim(id),
            < 68 => Of(StoreStepKind.Commit, id, DrawNumber(model.Tail.Count + 1)),
            < 72 => Of(StoreStepKind.Truncate, id, DrawNumber(model.Tail.Count + 1)),
            < 78 => DrawResync(id, model),
            < 79 => Of(StoreStepKind.SetPosition, id, DrawNumber(20), DrawNumber(2), _random.Next(2) == 0 ? 1UL : 0),
            < 83 => Of(StoreStepKind.SaveHeader, id, DrawHeader(300)),
            < 84 => Of(StoreStepKind.Delete, id),
            < 92 => Of(StoreStepKind.Turn, id),
            _ => Of(StoreStepKind.Flush, id),
        });
    }

    private void Draw(StoreStep? step)
    {
        if (step is not null) Take(step);
    }

    private void Take(StoreStep step)
    {
        _taken.Add(step);
        Do(step);
    }

    private static StoreStep Of(StoreStepKind kind, VolumeId id, params ulong[] numbers) => new(kind, id.Value, numbers);

    private ulong DrawNumber(int below) => (ulong)_random.Next(below);

    /// <summary>The bytes are drawn as ever, for the stream; those of a header come from its number.</summary>
    private ulong[] DrawHeader(int below)
    {
        var header = new byte[_random.Next(1, below)];
        _random.NextBytes(header);
        return [(ulong)header.Length, _headers++];
    }

    private StoreStep? DrawClone(VolumeId id)
    {
        var origins = _now.Volumes.Where(pair => pair.Value.Snapshots.Count > 0).Select(pair => pair.Key).Order().ToList();
        if (origins.Count == 0) return null;
        var origin = origins[_random.Next(origins.Count)];
        return Of(StoreStepKind.Clone, id, [origin.Value, DrawNumber(_now.Volumes[origin].Snapshots.Count), .. DrawHeader(9000)]);
    }

    private StoreStep DrawAppend(VolumeId id)
    {
        var (first, contents) = DrawBlocks();
        return Of(StoreStepKind.Append, id, [DrawNumber(2), first, .. contents]);
    }

    private StoreStep DrawTrim(VolumeId id)
    {
        // A record is made with its epoch first.
        var epoch = DrawNumber(2);
        var range = DrawRange();
        return Of(StoreStepKind.Trim, id, epoch, range.First, range.Count);
    }

    /// <summary>A snapshot more, some less, or back to one: of those that there will be once the tail is committed.</summary>
    private StoreStep DrawMark(VolumeId id, ModelVolume model)
    {
        var after = model.Clone();
        after.CommitUpTo(after.Last);
        var gone = Enumerable.Range(0, after.Snapshots.Count).Where(_ => _random.Next(6) == 0).Select(index => (ulong)index).ToArray();
        var kept = after.Snapshots.Count - gone.Length;
        var restores = kept > 0 && _random.Next(4) == 0;
        var creates = !restores && _random.Next(5) > 0;
        var restored = restores ? 1 + DrawNumber(kept) : 0;
        return Of(StoreStepKind.Mark, id, [DrawNumber(2), creates ? 1UL : 0, restored, DrawPart(restores), DrawPart(restores), .. gone]);

        // Of a part, by its places in the domain; twice the same: all of it.
        ulong DrawPart(bool isDrawn) => isDrawn ? DrawNumber(StoreModel.Domain.Length) : 0;
    }

    private StoreStep? DrawResync(VolumeId id, ModelVolume model)
    {
        if (model.Watermark == 0 || model.Watermark == model.SharedUpTo) return null;
        var sequence = (ulong)_random.Next((int)model.SharedUpTo + 1, (int)model.Watermark + 1);
        var isTrim = _random.Next(3) == 0;
        var (first, contents) = DrawBlocks();
        if (!isTrim) return Of(StoreStepKind.Resync, id, [model.Watermark - sequence, first, .. contents]);
        var range = DrawRange();
        return Of(StoreStepKind.ResyncTrim, id, model.Watermark - sequence, range.First, range.Count);
    }

    private (ulong First, ulong[] Contents) DrawBlocks()
    {
        var at = _random.Next(StoreModel.Domain.Length);
        var room = Math.Min(8 - (at % 8), _random.Next(1, 5));
        return (StoreModel.Domain[at], [.. Enumerable.Range(0, room).SelectMany(_ => DrawContent())]);
    }

    private ulong[] DrawContent()
    {
        var kind = _random.Next(10);
        if (kind == 0) return [0, 0];
        return [_contents++, kind < 6 ? (ulong)_random.Next(1, 2000) : Limits.BlockBytes];
    }

    private BlockRange DrawRange() => _random.Next(4) == 0
        ? new BlockRange(StoreModel.Domain[_random.Next(24)], _random.Next(2) == 0 ? uint.MaxValue : 600)
        : new BlockRange(StoreModel.Domain[_random.Next(StoreModel.Domain.Length)], (uint)_random.Next(1, 12));
}
