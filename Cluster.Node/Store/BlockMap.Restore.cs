using Cluster.Messages.Model;

namespace Cluster.Node.Store;

// A restore in place (R19): part by part, each by a marker of its own, so that none takes long. Between two of them the map is like any other.
public sealed partial class BlockMap
{
    /// <summary>Pages that one part of a restore changes, what each newer snapshot keeps of one counted for itself: what a turn of the loop may spend on it, some 10 ms. At least one page.</summary>
    private const int RestoreLooksAtPagesMax = 640;

    private const int RestorePagesMax = 32;

    /// <summary>Pages of the volume in which nothing changed, over which the look for the end of a part passes.</summary>
    private const int RestoreLooksMax = 1 << 16;

    /// <summary>
    /// Where the part of a restore that begins at this block ends: there is as much to put back in it as one turn may. <see cref="ulong.MaxValue"/>: there is nothing behind it.
    /// </summary>
    /// <param name="looks">Fewer than <see cref="RestoreLooksMax"/> are for tests, which have few pages.</param>
    public ulong RestoreEnd(ulong snapshot, ulong from, int looks = RestoreLooksMax)
    {
        var number = from >> MapPage.BlocksLog2;
        var kept = NextKept(snapshot, number);
        var pages = Math.Clamp(RestoreLooksAtPagesMax / (_layers.Count - FirstAtOrAfter(snapshot) + 1), 1, RestorePagesMax);
        for (var changed = 0; changed < pages && looks > 0; changed++)
        {
            number = NextToRestore(snapshot, number, ref kept, ref looks);
            if (number == ulong.MaxValue) return ulong.MaxValue;
            number++;
            Yield();
        }
        return number << MapPage.BlocksLog2;
    }

    /// <summary>As of a record of this sequence those blocks are again what they are in the snapshot. What it costs follows what has changed in them since.</summary>
    public void Restore(ulong snapshot, BlockSpan part, ulong sequence)
    {
        var numbers = new List<ulong>();
        var (next, kept, looks) = (part.First >> MapPage.BlocksLog2, NextKept(snapshot, part.First >> MapPage.BlocksLog2), int.MaxValue);
        while ((next = NextToRestore(snapshot, next, ref kept, ref looks)) != ulong.MaxValue && next << MapPage.BlocksLog2 < part.End)
        {
            numbers.Add(next++);
            Yield();
        }
        ulong[] all = [.. numbers];
        for (var at = 0; at < all.Length; at++)
        {
            Yield();
            AskAhead(all, at);
            RestorePage(all[at], snapshot, part, sequence);
        }
    }

    /// <summary>The next page, from that number on, of which some blocks may be others in the snapshot, or the one at which there were no looks left.</summary>
    /// <param name="kept">The next one of which snapshots from this one on keep something, as of the number that was looked from last.</param>
    private ulong NextToRestore(ulong snapshot, ulong from, ref ulong kept, ref int looks)
    {
        if (kept < from) kept = NextKept(snapshot, from);
        var own = PageNumbersWithGone();
        var at = own.BinarySearch(from);
        for (at = at < 0 ? ~at : at; at < own.Length && own[at] < kept; at++)
        {
            if (--looks <= 0 || (_pages.TryGetValue(own[at], out var page) && page.SequenceMax > snapshot)) return own[at];
        }
        return kept;
    }

    private ulong NextKept(ulong snapshot, ulong from)
    {
        var next = ulong.MaxValue;
        for (var index = FirstAtOrAfter(snapshot); index < _layers.Count; index++)
        {
            next = Math.Min(next, _layers[index].NextPage(from));
            Yield();
        }
        return next;
    }

    private void RestorePage(ulong number, ulong snapshot, BlockSpan part, ulong sequence)
    {
        var first = number << MapPage.BlocksLog2;
        // Neighbours that were not there then are trimmed together.
        uint trimmed = 0;
        for (var index = 0U; index <= MapPage.Blocks; index++)
        {
            var isTrimmed = false;
            if (index < MapPage.Blocks && part.Contains(first + index))
            {
                var isSeen = FindVersion(snapshot, first + index, out var then);
                var isThere = Find(first + index, out var now, out _);
                isTrimmed = isThere && !isSeen;
                if (isSeen && (!isThere || now.Sequence != then.Sequence)) Put(first + index, then with { Sequence = sequence });
            }
            if (isTrimmed) trimmed++;
            else if (trimmed > 0)
            {
                Trim(new BlockRange(first + index - trimmed, trimmed), sequence);
                trimmed = 0;
            }
        }
    }
}
