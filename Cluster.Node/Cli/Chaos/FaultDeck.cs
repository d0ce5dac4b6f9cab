namespace Cluster.Node.Cli.Chaos;

/// <summary>Every fault of a list comes once, in any order, before one comes again: short runs have all of them, long ones each as often.</summary>
internal sealed class FaultDeck
{
    /// <summary>Times that a fault may say that it can't strike now before it is left out for this round.</summary>
    public const int RefusalsMax = 20;

    private readonly ChaosFault[] _faults;
    private readonly Random _random;
    private int _next;
    private int _refusals;

    public FaultDeck(IReadOnlyList<ChaosFault> faults, Random random)
    {
        (_faults, _random) = ([.. faults], random);
        random.Shuffle(_faults);
    }

    /// <summary>How often every fault has come.</summary>
    public int Rounds { get; private set; }

    /// <summary>The one that comes next, until it is told to advance.</summary>
    public ChaosFault Present => _faults[_next];

    public void Advance()
    {
        _refusals = 0;
        if (++_next < _faults.Length) return;
        Rounds++;
        _next = 0;
        _random.Shuffle(_faults);
    }

    /// <summary>It could not strike: it is asked again, some times.</summary>
    public void Refuse()
    {
        if (++_refusals == RefusalsMax) Advance();
    }
}
