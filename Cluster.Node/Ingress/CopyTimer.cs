using System.Diagnostics;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Node.Ingress;

/// <summary>How long records take to another node's copy and back: one at a time is timed (<see cref="LoopWait.Replica"/>). Loop thread only.</summary>
internal sealed class CopyTimer(LoopStages stages)
{
    /// <summary>A record that is not answered for so long never is: another one is timed.</summary>
    private static readonly long ForgetTicks = 10 * Stopwatch.Frequency;

    private VolumeId _volume;
    private ulong _sequence;
    private long _began;

    public void OnSent(VolumeId volume, ulong sequence)
    {
        if (_began != 0 && Stopwatch.GetTimestamp() - _began < ForgetTicks) return;
        (_volume, _sequence, _began) = (volume, sequence, stages.Now());
    }

    public void OnAnswer(VolumeId volume, ulong appendedSequence)
    {
        if (_began == 0 || volume != _volume || appendedSequence < _sequence) return;
        stages.Ended(LoopWait.Replica, _began);
        _began = 0;
    }
}
