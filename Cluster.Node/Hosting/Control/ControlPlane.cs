using Akka.Actor;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Api;
using Cluster.Node.Journal;
using Cluster.Node.Owner;
using Cluster.Node.Placement;

namespace Cluster.Node.Hosting.Control;

/// <summary>What the control plane works with once the node has joined its cluster.</summary>
/// <param name="Volumes">The way to the volumes' owners.</param>
/// <param name="PlacementHost">Name of the node that hosts the singleton, or null.</param>
internal sealed record ControlParts(
    string NodeName, Guid ClusterId, IActorRef Volumes, IMetaLog Log, VolumeMoves Moves, Func<string?> PlacementHost)
{
    /// <summary>Full names of the volumes that this node's front ends have open.</summary>
    public Func<IReadOnlyList<string>> OpenVolumes { get; init; } = () => [];

    /// <summary>Whether the operator or Docker has a volume on this host. Reads the table of mounts.</summary>
    public Func<IReadOnlyDictionary<string, ulong?>> OutsideCsi { get; init; } = () => new Dictionary<string, ulong?>();

    /// <summary>A group snapshot of these volumes was made, or failed for that reason. For the log and for metrics.</summary>
    public Action<string, IEnumerable<string>, string?> OnGroup { get; init; } = (_, _, _) => { };

    /// <summary>A group of these volumes was swept: what was done (finished, undone or retired), and why not, if it was not. For the log and for metrics.</summary>
    public Action<string, IEnumerable<string>, string, string?> OnSweptGroup { get; init; } = (_, _, _, _) => { };

    /// <summary>The way to the disks of the node with this address.</summary>
    public Func<string, ICanTell> DisksAt { get; init; } = _ => ActorRefs.Nobody;

    /// <summary>Whether this node hears from the node with that name, as its failure detector has it.</summary>
    public Func<string, bool> IsReachable { get; init; } = _ => true;

    /// <summary>The node is waited for in vain.</summary>
    public Action<NodeId> Doubt { get; init; } = _ => { };

    /// <summary>Who is known to serve a volume.</summary>
    public Func<VolumeId, ServedBy?> OwnerOf { get; init; } = _ => null;

    /// <summary>What the journal says of volumes.</summary>
    internal JournalFolds Folds { get; } = new(Log);

    /// <summary>The way to the catalogue.</summary>
    public required Catalogue Catalogue { get; init; }
}

/// <summary>
/// REST's way to the actors: here, at the border, actors are asked, each with a limit; what does not answer in time is an answer too. Any
/// thread.
/// </summary>
public sealed partial class ControlPlane : IControlPlane
{
    /// <summary>One question to placement or to an owner.</summary>
    private static readonly TimeSpan AskMax = TimeSpan.FromSeconds(5);

    /// <summary>A change that an owner has to confirm; a takeover may be under way.</summary>
    private static readonly TimeSpan ChangeMax = TimeSpan.FromSeconds(30);

    private const string PlacementSentence = "The placement service";

    /// <summary>Owners that are asked to describe their volumes at one time.</summary>
    private const int DescribesMax = 32;

    private volatile ControlParts? _parts;
    private volatile IMetaLog? _journal;

    private ControlFailure NotReady => new(ControlStatus.Unavailable, _journal is { } journal && JournalText.WhyNoLeader(journal.Status, null) is { } why
        ? $"This node has not joined its cluster yet. {why}"
        : "This node has not joined its cluster yet; try again in a moment.");

    /// <summary>From here on requests that come too early hear whether it is the journal that the node waits for.</summary>
    public void Watch(IMetaLog journal) => _journal = journal;

    /// <summary>From here on requests are carried out.</summary>
    internal void Open(ControlParts parts) => _parts = parts;

    /// <summary>From here on requests are refused: the node stops.</summary>
    public void Close() => _parts = null;

    /// <summary>The answer, or why there is none. Refusals of both protocols become failures.</summary>
    private static async Task<ControlResult<T>> AskAsync<T>(
        ControlParts parts, ICanTell whom, object what, string whomSentence, TimeSpan atMost, CancellationToken cancellation)
        where T : class
    {
        var answer = MayWaitForOwner(what) ? await Asking.PastHandOffsAsync(AnswerAsync, atMost, cancellation) : await AnswerAsync(atMost);
        return AnswerOf<T>(answer, parts, what, whomSentence, atMost);

        // Of a volume whose owner hangs another node becomes the owner: a question goes to that one too.
        Task<object?> AnswerAsync(TimeSpan left) => what is IVolumeCommand question && IsShort(what) ? Asking.OwnerAsync(whom, question, left, parts.OwnerOf, cancellation, parts.Doubt)
            : Asking.UntilAnsweredAsync(whom, what, left, () => false, cancellation, doubt: () => DoubtOwner(parts, what));
    }

    /// <summary>
    /// A list describes many volumes, and is not held up by those that are on their way: it tells that they are. While a group's snapshot is prepared the writes of its other volumes are held, which
    /// is not to last longer because one of them moves.
    /// </summary>
    private static bool MayWaitForOwner(object what) => what is IVolumeCommand and not (VolumeProtocol.Describe or VolumeProtocol.PrepareSnapshot);

    private static void DoubtOwner(ControlParts parts, object what)
    {
        if (what is IVolumeCommand command) Asking.Doubt(parts.OwnerOf(command.Volume), parts.Doubt);
    }

    private static ControlResult<T> AnswerOf<T>(object? answer, ControlParts parts, object what, string whomSentence, TimeSpan atMost)
        where T : class => answer switch
        {
            null => Silence(parts, what, whomSentence, atMost),
            T expected => expected,
            PlacementProtocol.Refused refused => new ControlFailure(StatusOf(refused.Kind), refused.Reason),
            VolumeProtocol.Refused refused => new ControlFailure(StatusOf(refused.Status), refused.Reason),
            ChangeMachine.Undecided undecided => new ControlFailure(ControlStatus.TimedOut,
                $"{whomSentence} was told again on another node, which refuses what the first may have done: {undecided.Refusal} Look whether it was done, then try again."),
            _ => throw new InvariantException($"{what.GetType().Name} was answered by {answer.GetType().Name}"),
        };

    /// <summary>Nobody answered. Without a leader of the journal nothing is decided anywhere: then that is what to mend, not who was asked.</summary>
    private static ControlFailure Silence(ControlParts parts, object what, string whomSentence, TimeSpan atMost)
    {
        var why = JournalText.WhyNoLeader(parts.Log.Status, parts.IsReachable) ?? $"{whomSentence} did not answer within {atMost.TotalSeconds} s.";
        return new ControlFailure(ControlStatus.TimedOut, IsQuestion(what) ? $"{why} Try again." : $"{why} Look whether it was done, then try again.");
    }

    /// <summary>It changes nothing, so that it need not be looked whether it was done.</summary>
    private static bool IsQuestion(object what) => Catalogue.IsQuestion(what)
        || IsShort(what) || what is VolumeProtocol.ChangedBlocks or VolumeProtocol.Scrub { Start: false };

    /// <summary>A question that costs an owner nothing to answer twice.</summary>
    private static bool IsShort(object what) => what is VolumeProtocol.Describe or VolumeProtocol.Locate or VolumeProtocol.ListSnapshots or VolumeProtocol.ListShared;

    private static async Task<ControlResult<T>> AskPlacementAsync<T>(
        ControlParts parts, IPlacementCommand command, TimeSpan atMost, CancellationToken cancellation)
        where T : class => AnswerOf<T>(
            IsQuestion(command) ? await parts.Catalogue.AskAsync(command, atMost, cancellation) : await parts.Catalogue.ChangeAsync(command, atMost, cancellation),
            parts, command, PlacementSentence, atMost);

    private static Task<ControlResult<T>> AskOwnerAsync<T>(
        ControlParts parts, VolumeName name, IVolumeCommand command, TimeSpan atMost, CancellationToken cancellation)
        where T : class => AskAsync<T>(parts, parts.Volumes, command, $"The owner of volume {name}", atMost, cancellation);

    private static ControlStatus StatusOf(RefusalKind kind) => kind switch
    {
        RefusalKind.Invalid => ControlStatus.Invalid,
        RefusalKind.NotFound => ControlStatus.NotFound,
        RefusalKind.Conflict => ControlStatus.Conflict,
        RefusalKind.Impossible => ControlStatus.Impossible,
        RefusalKind.Stale => ControlStatus.Stale,
        _ => ControlStatus.Unavailable,
    };

    private static ControlStatus StatusOf(IoStatus status) => status switch
    {
        IoStatus.Missing or IoStatus.Deleted => ControlStatus.NotFound,
        IoStatus.OutOfRange or IoStatus.Malformed or IoStatus.Unsupported => ControlStatus.Invalid,
        IoStatus.Conflict => ControlStatus.Conflict,
        IoStatus.StaleSession => ControlStatus.Stale,
        _ => ControlStatus.Unavailable,
    };
}
