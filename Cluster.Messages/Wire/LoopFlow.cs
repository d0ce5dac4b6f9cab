namespace Cluster.Messages.Wire;

/// <summary>
/// The sockets of one user of a loop: the clients of one volume, however many connections they have. In a turn in which others read too they may read so much together, so that a turn is as long for the
/// others as if they were one. What they make the loop do beyond that (bytes that are answered) is counted against their next turns. Loop thread only.
/// </summary>
public sealed class LoopFlow
{
    /// <summary>Of one turn: 32 blocks of 4 KiB, about what one connection has on its way.</summary>
    public const int TurnBytesMax = 128 * 1024;

    /// <summary>Turns that are counted ahead at most: after that many a flow goes on, whatever it has done before.</summary>
    public const int TurnsAheadMax = 8;

    private ulong _turn;
    private long _bytes;

    /// <summary>Bytes that may still be read in this turn.</summary>
    public int Room => (int)Math.Max(0, TurnBytesMax - _bytes);

    /// <summary>Whether this is the first time in the turn.</summary>
    public bool Begin(ulong turn)
    {
        if (turn == _turn) return false;
        _bytes = (long)Math.Max(0, _bytes - ((double)(turn - _turn) * TurnBytesMax));
        _turn = turn;
        return true;
    }

    public void Charge(long bytes) => _bytes = Math.Min(_bytes + bytes, (long)TurnsAheadMax * TurnBytesMax);
}
