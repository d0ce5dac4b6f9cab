namespace Cluster.Tests.Simulation.Journal;

public sealed class RaftMutantSpecs
{
    /// <summary>Seeds within which each planted bug has to be seen.</summary>
    private const ulong SeedsMax = 3000;

    public static TheoryData<string> Bugs => [.. Planted.Keys];

    private static readonly Dictionary<string, SimBugs> Planted = new(StringComparer.Ordinal)
    {
        ["learners count as voters"] = new() { Machine = (s, d, seed, now) => new RaftMutants.LearnersCount(s, d, seed, now) },
        ["a leader changes the members before it has committed an entry of its own term"] =
            new() { Machine = (s, d, seed, now) => new RaftMutants.ChangesBeforeOwnCommit(s, d, seed, now) },
        ["a change of the members does not wait for the one before it"] =
            new() { Machine = (s, d, seed, now) => new RaftMutants.ChangesOverlap(s, d, seed, now) },
        ["votes are given to logs that lack committed entries"] =
            new() { Machine = (s, d, seed, now) => new RaftMutants.VotesForAnyLog(s, d, seed, now) },
        ["reads are confirmed by one voice less than a majority"] =
            new() { Machine = (s, d, seed, now) => new RaftMutants.ReadsOneVoiceShort(s, d, seed, now) },
        ["a compaction forgets who the members are"] = new() { ForgetsMembers = true },
        ["a node that lost its disk votes as its old self"] = new() { KeepsIdentity = true },
        ["acknowledgements and votes leave before the sync"] = new() { SendsBeforeSync = true },
    };

    [Theory(DisplayName = "The simulation notices a planted bug")]
    [MemberData(nameof(Bugs))]
    public void Planted_bugs_are_seen(string bug)
    {
        for (ulong seed = 1; seed <= SeedsMax; seed++)
        {
            try
            {
                RaftRun.Changing(seed, Planted[bug]);
            }
            catch (InvalidOperationException)
            {
                return;
            }
        }
        Assert.Fail($"'{bug}' was not seen in {SeedsMax} runs");
    }
}
