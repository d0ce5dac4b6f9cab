using System.Collections.Immutable;
using System.Globalization;
using Cluster.Messages.Events;
using Cluster.Messages.Model;
using Cluster.Node.Placement;
using Cluster.Node.Repair;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>What a run is made of. All of it follows from the seed; scenarios choose for themselves.</summary>
internal sealed record SimProfile
{
    public int Replicas { get; init; } = 3;

    public FailureModeKind FailureMode { get; init; } = FailureModeKind.Soft;

    public int FailureThreshold { get; init; } = 1;

    public int Clients { get; init; } = 3;

    public int OperationsPerClient { get; init; } = 180;

    public ulong Blocks { get; init; } = 24;

    /// <summary>Front ends also run on the nodes with replicas, and die with them.</summary>
    public bool ClientsOnNodes { get; init; }

    /// <summary>Hosts lose power: only what was flushed is promised then.</summary>
    public bool PowerLoss { get; init; }

    public bool LosesDisks { get; init; }

    /// <summary>Owners have little memory, every other moment.</summary>
    public bool TightMemory { get; init; }

    /// <summary>Reads are covered by leases, not confirmed one by one.</summary>
    public bool ReadLease { get; init; } = true;

    public RepairOptions Repair { get; init; } = new();

    /// <summary>A store that promised room has it, also when its disk is full. Else somebody else fills the file system under it.</summary>
    public bool KeepsRoom { get; init; } = true;

    /// <summary>What the model of a store promises room for (R21).</summary>
    public long CreditBytes { get; init; } = Limits.CreditBytesMax;

    public int PassedIntervalMs { get; init; } = int.MaxValue;

    /// <summary>So that there is time to break one (<see cref="Repair"/> says how slowly).</summary>
    public bool CatchesUpSlowly { get; init; }

    public long CatchUpMarkBytes { get; init; } = 16 << 20;

    /// <summary>The volume is attached to one front end after the other, which fences those before (R11).</summary>
    public bool Attaches { get; init; }

    /// <summary>The attachment changes every few seconds.</summary>
    public bool AttachesOften { get; init; }

    /// <summary>The number of copies and the failure mode change while the run goes on, and nodes lose their names.</summary>
    public bool ChangesCopies { get; init; }

    /// <summary>Nodes with a copy watch the owner and replace one that they have lost sight of.</summary>
    public bool ClaimsEarly { get; init; }

    /// <summary>The program's own store on a simulated disk, in place of the model.</summary>
    public bool RealStore { get; init; }

    /// <summary>Bytes of single blocks rot, on one copy at a time. A write needs all copies then: one good copy of each block is always there.</summary>
    public bool Rots { get; init; }

    /// <summary>Of each block as written.</summary>
    public int EncodedBytes { get; init; } = SimRecords.EncodedBytesMin;

    /// <summary>Snapshots are made, deleted and gone back to while the run goes on, and stores give their changes in the stages of the contract.</summary>
    public bool TakesSnapshots { get; init; }

    /// <summary>The volume gets smaller and larger while the run goes on.</summary>
    public bool Resizes { get; init; }

    /// <summary>Volumes are cloned from the volume's snapshots, written to, and deleted, while the run goes on.</summary>
    public bool Clones { get; init; }

    /// <summary>The volume has this limit (label iops-max); 0: none.</summary>
    public int IopsMax { get; init; }

    /// <summary>Front ends keep what they read (label cache).</summary>
    public bool Caches { get; init; }

    /// <summary>Start and move owners without being told to.</summary>
    public bool Directed { get; init; } = true;
}

/// <summary>One volume on simulated nodes: virtual time, one thread, one seed.</summary>
internal sealed class SimWorld
{
    /// <summary>Of the volume. Short, so that it can be put back to a snapshot soon after a takeover; the simulated clients hold their requests for ever.</summary>
    private const int HoldMs = 2000;

    public static readonly VolumeId Volume = new(7);

    private const int LookUs = 2_000;

    private readonly PriorityQueue<SimEvent, (long TimeUs, long Order)> _events = new();
    private long _order;

    public SimWorld(ulong seed, SimProfile profile)
    {
        (Seed, Profile, Random) = (seed, profile, new SimRandom(seed));
        Spec = new VolumeSpec(Volume, VolumeSpec.DefaultNamespace, "simulated", profile.Blocks * Limits.BlockBytes, profile.Replicas,
            profile.FailureMode, profile.FailureThreshold, HoldMs, false, Labels(profile));
        History = new SimHistory(this);
        Network = new SimNetwork(this);
        for (var index = 0; index < profile.Replicas; index++) Nodes.Add(new SimNode(this, index, hasDisk: true));
        for (var index = 0; index < profile.Clients; index++) Nodes.Add(new SimNode(this, profile.Replicas + index, hasDisk: false));
        Journal = new SimJournal(this, Created());
        Director = new SimDirector(this);
        Placement = new SimPlacement(this);
        Snapshots = new SimSnapshots(this);
        Resizes = new SimResizes(this);
        Clones = new SimClones(this);
        foreach (var node in Nodes) node.Start();
        foreach (var node in Nodes.Skip(profile.Replicas)) node.AddClient(new SimClient(node, profile.OperationsPerClient));
        if (profile.ClientsOnNodes)
        {
            foreach (var node in Replicas) node.AddClient(new SimClient(node, profile.OperationsPerClient / 4));
        }
        Network.Start();
        if (profile.Directed) Director.Start();
        if (profile.ChangesCopies) Placement.Start();
        if (profile is { Directed: true, TakesSnapshots: true }) Snapshots.Start();
        if (profile is { Directed: true, Resizes: true }) Resizes.Start();
        if (profile is { Directed: true, Clones: true }) Clones.Start();
    }

    public static ImmutableSortedDictionary<string, string> Labels(bool readLease) => readLease
        ? ImmutableSortedDictionary<string, string>.Empty
        : ImmutableSortedDictionary<string, string>.Empty.Add(VolumeSpec.ReadLeaseLabel, "off");

    private static ImmutableSortedDictionary<string, string> Labels(SimProfile profile)
    {
        var labels = Labels(profile.ReadLease);
        if (profile.IopsMax > 0) labels = labels.Add(VolumeLabels.IopsMax, profile.IopsMax.ToString(CultureInfo.InvariantCulture));
        return profile.Caches ? labels.Add(VolumeSpec.CacheLabel, "on") : labels;
    }

    public ulong Seed { get; }

    public SimProfile Profile { get; }

    public SimRandom Random { get; }

    public VolumeSpec Spec { get; }

    public SimHistory History { get; }

    public SimNetwork Network { get; }

    public SimJournal Journal { get; }

    public SimDirector Director { get; }

    public SimPlacement Placement { get; }

    public SimSnapshots Snapshots { get; }

    public SimResizes Resizes { get; }

    public SimClones Clones { get; }

    /// <summary>None in a scenario, which breaks things itself.</summary>
    public SimFaults? Faults { get; set; }

    public List<SimNode> Nodes { get; } = [];

    public IEnumerable<SimNode> Replicas => Nodes.Take(Profile.Replicas);

    public IEnumerable<SimClient> Clients => Nodes.SelectMany(node => node.Clients);

    public long NowUs { get; private set; }

    public long NowMs => NowUs / 1000;

    /// <summary>Of all that happened, in order: the same seed gives the same.</summary>
    public ulong TraceHash { get; private set; } = 14695981039346656037UL;

    public List<string> Log { get; } = [];

    public bool KeepsLog { get; init; } = Environment.GetEnvironmentVariable("SIM_LOG") is not null;

    public void Say(string who, string what)
    {
        if (KeepsLog) Log.Add($"{NowUs / 1000.0,10:F3} {who,-8} {what}");
    }

    public void Trace(ulong value) => TraceHash = (TraceHash ^ value ^ (ulong)NowUs) * 1099511628211UL;

    public void At(long delayUs, SimEvent e) => _events.Enqueue(e, (NowUs + Math.Max(delayUs, 0), _order++));

    public void At(long delayUs, Action run) => At(delayUs, new SimEvent(run, null));

    public void Every(long intervalUs, Action run) => At(intervalUs, () =>
    {
        run();
        Every(intervalUs, run);
    });

    /// <summary>
    /// Runs until the condition holds, which is looked at every few milliseconds; false when the virtual time is over before.
    /// </summary>
    public bool RunUntil(Func<bool> condition, long limitMs)
    {
        var endUs = NowUs + (limitMs * 1000);
        while (!condition())
        {
            if (NowUs >= endUs) return false;
            var lookUs = Math.Min(NowUs + LookUs, endUs);
            while (_events.TryPeek(out _, out var next) && next.TimeUs <= lookUs) Step();
            NowUs = lookUs;
        }
        return true;
    }

    public void Run(long forMs) => RunUntil(() => false, forMs);

    /// <summary>Ends every process and drops all that is on its way: every buffer is then back in the pool, or it leaked.</summary>
    public void End()
    {
        foreach (var client in Clients) client.End();
        Clones.Drop();
        foreach (var node in Nodes) node.Kill();
        while (_events.TryDequeue(out var e, out _)) e.Drop();
    }

    private void Step()
    {
        _events.TryDequeue(out var e, out var at);
        NowUs = at.TimeUs;
        if (e!.Node is { } node) node.Take(e);
        else e.Run();
    }

    public VolumeCreated Created() => new(Volume, Spec,
        [.. Replicas.Select(node => new ReplicaPlacement(node.Replica, node.Id, node.Name, node.Identity))]);
}
