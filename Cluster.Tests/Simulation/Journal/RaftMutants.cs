using Cluster.Node.Journal.Raft;

namespace Cluster.Tests.Simulation.Journal;

/// <summary>Machines with one rule of Raft taken out, so that the simulation can show that it would notice.</summary>
internal static class RaftMutants
{
    public sealed class LearnersCount(RaftSettings settings, RaftDurable durable, ulong seed, long now)
        : RaftMachine(settings, durable, seed, now)
    {
        private protected override bool Counts(RaftMember member) => true;
    }

    public sealed class ChangesBeforeOwnCommit(RaftSettings settings, RaftDurable durable, ulong seed, long now)
        : RaftMachine(settings, durable, seed, now)
    {
        private protected override bool IsTermCommitted() => true;
    }

    public sealed class ChangesOverlap(RaftSettings settings, RaftDurable durable, ulong seed, long now)
        : RaftMachine(settings, durable, seed, now)
    {
        private protected override bool AreMembersCommitted() => true;
    }

    public sealed class ReadsOneVoiceShort(RaftSettings settings, RaftDurable durable, ulong seed, long now)
        : RaftMachine(settings, durable, seed, now)
    {
        private protected override int ReadQuorum => base.ReadQuorum - 1;
    }

    public sealed class VotesForAnyLog(RaftSettings settings, RaftDurable durable, ulong seed, long now)
        : RaftMachine(settings, durable, seed, now)
    {
        private protected override bool IsUpToDate(long lastIndex, long lastTerm) => true;
    }
}
