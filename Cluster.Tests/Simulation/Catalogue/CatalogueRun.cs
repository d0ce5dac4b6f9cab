using System.Collections.Immutable;
using Cluster.Messages.Model;
using Cluster.Messages.Protocol;
using Cluster.Node.Placement;
using Cluster.Tests.Simulation.Volumes;

namespace Cluster.Tests.Simulation.Catalogues;

/// <summary>What one seed came to.</summary>
internal sealed record CatalogueResult(int Done, int Refused, int Undecided, int Silent, int ToldAgain, int Moves, int LostSets, ulong Trace);

/// <summary>
/// One seed: a caller makes, changes and deletes a volume, one after the other, through <see cref="ChangeMachine"/>, while the catalogue's singletons hang, die and move, and messages and answers are lost. After each
/// answer, and until the next change is told, the catalogue must be as the answer says, whatever is told again or comes late.
/// </summary>
internal sealed class CatalogueRun
{
    private const string Name = "db";
    private const string Label = "csi.example/operation";
    private const int Operations = 40;

    /// <summary>As a caller waits (ControlPlane), and between two looks of it (Asking).</summary>
    private const int WaitMsMax = 30_000;
    private const int LookMs = 100;
    private const int AsksMax = 10;

    private readonly SimRandom _random;
    private readonly CatalogueWorld _world;
    private readonly ulong _seed;
    private int _operation;
    private int _toldAgain;
    private int _done;
    private int _refused;
    private int _undecided;
    private int _silent;
    private ulong _trace;

    /// <summary>The volume as the last answer has it; null: there is none.</summary>
    private (VolumeId Id, string Operation)? _model;

    /// <summary>A volume that the caller had once.</summary>
    private VolumeId _former;

    private CatalogueRun(ulong seed)
    {
        (_seed, _random) = (seed, new SimRandom(seed));
        _world = new CatalogueWorld(_random);
    }

    public static CatalogueResult Run(ulong seed)
    {
        var run = new CatalogueRun(seed);
        for (run._operation = 1; run._operation <= Operations; run._operation++) run.DoOne();
        run._world.Settle();
        run.CheckModel("at the end");
        return new CatalogueResult(run._done, run._refused, run._undecided, run._silent, run._toldAgain, run._world.Moves, run._world.LostSets, run._trace);
    }

    private void DoOne()
    {
        var command = Choose();
        var change = new ChangeMachine(command, _world.Host);
        var outcome = Ask(command, change) ?? change.OnEnd();
        if (outcome is ChangeMachine.ToLook look) outcome = ChangeMachine.OnLooked(look, _random.Percent(10) ? null : !_world.State.Volumes.ContainsKey(look.Volume));
        Take(command, outcome);
        _trace = (_trace * 31) + (ulong)(_world.Sequence + (outcome?.GetType().Name.Length ?? 0));
        for (var ticks = _random.Below(100); ticks > 0; ticks--)
        {
            _world.Tick();
            CheckModel("after its answer");
        }
    }

    private IPlacementCommand Choose()
    {
        var labels = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal).Add(Label, $"{_operation}");
        if (_model is not { } known)
        {
            if (_former.IsValid && _random.Percent(25)) return new PlacementProtocol.ChangeVolume(Name, 0, labels, null, false, _former);
            return new PlacementProtocol.CreateVolume("default", Name, 1UL << 30, labels, null, []);
        }
        var seen = _random.Percent(50) && _world.State.Find(Name) is { } volume ? new VolumeRevision(volume.Revision, 0) : null;
        return _random.Below(4) switch
        {
            0 => new PlacementProtocol.DeleteVolume(Name, null, false, known.Id),
            1 => new PlacementProtocol.CreateVolume("default", Name, 1UL << 30, labels, null, []),
            _ => new PlacementProtocol.ChangeVolume(Name, 0, labels, seen, false, known.Id),
        };
    }

    /// <summary>As Asking does it: told, and told again when the machine says so, until there is an outcome or the time is over.</summary>
    private object? Ask(IPlacementCommand command, ChangeMachine change)
    {
        var answers = new Queue<IControlMessage>();
        var (untilMs, asks) = (_world.NowMs + WaitMsMax, 1);
        _world.Tell(_operation, command, answers.Enqueue);
        for (var ticks = 1; _world.NowMs < untilMs; ticks++)
        {
            _world.Tick();
            while (answers.TryDequeue(out var said))
            {
                if (change.OnAnswer(said) is { } outcome) return outcome;
            }
            if (ticks % (LookMs / 10) != 0 || asks == AsksMax || !change.TellsNext(_world.Host)) continue;
            (asks, _toldAgain) = (asks + 1, _toldAgain + 1);
            _world.Tell(_operation, command, answers.Enqueue);
        }
        return null;
    }

    private void Take(IPlacementCommand command, object? outcome)
    {
        switch (outcome)
        {
            case PlacementProtocol.Found found:
                Promise(command is not PlacementProtocol.DeleteVolume, "a deletion was answered by a volume");
                _done++;
                (_model, _former) = ((found.Volume.Id, $"{_operation}"), found.Volume.Id);
                break;
            case PlacementProtocol.Removed:
                Promise(command is PlacementProtocol.DeleteVolume, "what deletes nothing was answered by a deletion");
                _done++;
                _model = null;
                break;
            case PlacementProtocol.Refused refused:
                _refused++;
                Promise(_world.AppliedOf(_operation) == 0, $"it was answered as refused ({refused.Kind}) and was done");
                break;
            default:
                // Nobody knows: the caller looks, once nothing that was told is under way.
                if (outcome is null) _silent++;
                else _undecided++;
                _world.Settle();
                _model = _world.State.Find(Name) is { } volume ? (volume.Spec.Id, volume.Spec.Labels[Label]) : null;
                break;
        }
        CheckModel("with its answer");
    }

    private void CheckModel(string when)
    {
        var there = _world.State.Find(Name) is { } volume ? (volume.Spec.Id, volume.Spec.Labels[Label]) : ((VolumeId, string)?)null;
        Promise(there == _model, $"the catalogue has {Text(there)} {when}, and {Text(_model)} was answered");
        Promise(_world.AppliedOf(_operation) <= 1, $"it was done {_world.AppliedOf(_operation)} times");
    }

    private static string Text((VolumeId Id, string Operation)? volume) => volume is { } one ? $"volume {one.Id} of operation {one.Operation}" : "no volume";

    private void Promise(bool holds, string otherwise)
    {
        if (!holds) throw new BrokenPromiseException($"seed {_seed}, operation {_operation}, at {_world.NowMs} ms: {otherwise}");
    }
}
