using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Cli.Output;
using Cluster.Node.Store;

namespace Cluster.Node.Cli.Stores;

/// <summary>`myrmidon store …`: a look into the store of a node that does not run.</summary>
internal static class StoreCommands
{
    private static readonly string[] VolumeColumns = ["ID", "NAME", "COPY", "STATE", "COMMITTED", "TAIL", "BLOCKS", "STORED", "SET", "DAMAGE"];
    private static readonly string[] SegmentColumns = ["NUMBER", "LIVE", "BLOCKS", "TAIL", "DISK", "FILE"];
    private static readonly string[] EntryColumns = ["POSITION", "KIND", "VOLUME", "EPOCH", "SEQUENCE", "BLOCKS", "BYTES", "COMMITTED", "FLUSHED", "PAYLOAD"];

    public static Command Build() => new("store", "Look into the store of a node that does not run, without changing it; measure the store by itself.") { BuildShow(), StoreCheckCommand.Build(), BuildForget(), StoreBenchCommand.Build() };

    internal static Option<string> Data() => new("--data")
    {
        Description = "Data directory of the node, as in 'myrmidon node --data'",
        HelpName = "DIR",
        Required = true,
    };

    /// <summary>Of show and check.</summary>
    internal static Option<string?> Disks() => new("--disks")
    {
        Description = "Where further disks of the store are now, with commas between: they are known by their labels. Default: where each was last",
        HelpName = "PATHS",
    };

    internal static string[] PathsOf(string? disks) =>
        [.. (disks ?? "").Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(path => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)))];

    private static VerbCommand BuildShow()
    {
        var data = Data();
        var disks = Disks();
        var segments = new Option<bool>("--segments") { Description = "Show the segments instead, in the order of the log" };
        var log = new Option<bool>("--log") { Description = "Show the entries of the log instead, oldest first, as far as its segments are not used anew" };
        var volume = new Option<string>("--volume") { Description = "With --log: only entries of this volume, by id (v7)", HelpName = "ID" };
        volume.Validators.Add(result =>
        {
            if (!VolumeId.TryParse(result.Tokens[0].Value, out _)) result.AddError($"'{result.Tokens[0].Value}' is not a volume's id: write one such as v7 ('store show' lists them).");
        });
        var command = new VerbCommand("show", "What the store of a node holds: volumes, segments, or the log. Refused while the node runs.",
            "myrmidon store show --data /var/lib/myrmidon", "myrmidon store show --data /var/lib/myrmidon --log --volume v7")
        {
            data, disks, segments, log, volume,
        };
        var format = ClientOptions.AddFormat(command);
        command.SetAction((parsed, cancellation) =>
        {
            var printer = new Printer(parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error, parsed.GetValue(format));
            var directory = parsed.GetRequiredValue(data);
            return StoreDirectory.InspectAsync(directory, PathsOf(parsed.GetValue(disks)), printer, store =>
            {
                if (parsed.GetValue(log)) ShowLog(store, parsed.GetValue(volume), printer, cancellation);
                else if (parsed.GetValue(segments)) ShowSegments(store, printer);
                else Show(StoreResource.Of(store, directory), printer);
                return ExitCode.Ok;
            });
        });
        return command;
    }

    private static VerbCommand BuildForget()
    {
        var data = Data();
        var disk = new Argument<string>("DISK") { Description = "Id of the disk, as 'store show' lists it" };
        disk.Validators.Add(result =>
        {
            if (!Guid.TryParse(result.Tokens[0].Value, out _)) result.AddError($"'{result.Tokens[0].Value}' is not a disk's id: write one as 'store show' lists it.");
        });
        var command = new VerbCommand("forget",
            "Take a disk out of the list of a store that goes on without it: one that is gone for good, that failed and is to be tried again, or whose empty directory is to be taken into use. Blocks "
            + "that were only there are given up on this node: copies that miss some are made anew. Refused while the node runs, and for a disk that is in use.",
            "myrmidon store forget 0f1e2d3c4b5a69788796a5b4c3d2e1f0 --data /var/lib/myrmidon")
        {
            disk, data,
        };
        var format = ClientOptions.AddFormat(command);
        command.SetAction(parsed =>
        {
            var printer = new Printer(parsed.InvocationConfiguration.Output, parsed.InvocationConfiguration.Error, parsed.GetValue(format));
            return StoreDirectory.Forget(parsed.GetRequiredValue(data), Guid.Parse(parsed.GetRequiredValue(disk)), printer);
        });
        return command;
    }

    private static void Show(StoreResource store, Printer printer)
    {
        printer.PrintOne(JsonSerializer.SerializeToNode(store, ApiClient.Json), () => Lines(store));
        if (printer.Format != OutputFormat.Table || store.Volumes.Count == 0) return;
        printer.Hint("");
        printer.PrintTable(store.Volumes.Select(Row), VolumeColumns);
    }

    private static IEnumerable<(string Name, string Value)> Lines(StoreResource store)
    {
        yield return ("Store", store.StoreId.ToString());
        yield return ("Cluster", store.ClusterId == Guid.Empty ? "none yet" : store.ClusterId.ToString());
        yield return ("Node", store.NodeId == Guid.Empty ? "not noted yet" : store.NodeId.ToString());
        yield return ("Opened", string.Create(CultureInfo.InvariantCulture, $"{store.OpenCount} times"));
        yield return ("Last stop", store.CleanStop ? "in order" : "not in order");
        if (store.SyncFailed) yield return ("Disk", "an fdatasync failed: what was not flushed may be gone");
        if (store.Suspect) yield return ("Suspect", "what was not flushed may be gone (the host booted since, or the disk failed)");
        yield return ("Segments", string.Create(CultureInfo.InvariantCulture,
            $"{store.Segments} of {SizeText.Format(store.SegmentBytes)}, {store.FreeSegments} free; {SizeText.Format((ulong)store.LiveBytes)} live"));
        foreach (var disk in store.Disks) yield return ("Disk", DiskLine(disk));
        if (store.MissingBytes > 0) yield return ("Missing", $"{SizeText.Format((ulong)store.MissingBytes)} of blocks lie on disks that are missing");
        if (store.ClonesOnlyBytes > 0) yield return ("Clones", $"{SizeText.Format((ulong)store.ClonesOnlyBytes)} of that is of volumes that are gone and whose clones are not");
        foreach (var volume in store.Volumes.Where(volume => volume.SharesWith is not null)) yield return ("", $"{volume.Id} shares blocks of {volume.SharesWith}");
        yield return ("Maps", string.Create(CultureInfo.InvariantCulture, $"{store.MapPages} pages of {SizeText.Format(MapPageFile.SlotBytes)}, {store.SnapshotPages} of them of what only snapshots keep"));
        yield return ("Checkpoint", store.Checkpoint == 0 ? "none" : store.Checkpoint.ToString(CultureInfo.InvariantCulture));
        yield return ("Log", $"ends at {store.LogEnd}{(store.TornTail ? ", behind it a torn record" : "")}; {SizeText.Format((ulong)store.ReplayBytes)} to replay");
    }

    private static string DiskLine(StoreDiskResource disk) => disk.Problem.Length > 0 ? $"{disk.Id} at {disk.Path}: {disk.State}, {disk.Problem}"
        : string.Create(CultureInfo.InvariantCulture, $"{disk.Id} at {disk.Path}: {disk.Segments} segments, {SizeText.Format((ulong)disk.FreeBytes)} free");

    private static string[] Row(StoreVolumeResource volume) =>
    [
        volume.Id, volume.Name.Length > 0 ? volume.Name : "?", volume.Replica,
        !volume.HeaderIsGood ? "bad header" : volume.CatchingUp ? "catching up" : volume.InSyncEpoch == 0 ? "never in sync" : "whole",
        volume.CommittedSequence.ToString(CultureInfo.InvariantCulture), (volume.LastSequence - volume.CommittedSequence).ToString(CultureInfo.InvariantCulture),
        volume.Blocks.ToString(CultureInfo.InvariantCulture), SizeText.Format((ulong)volume.StoredBytes),
        volume.InSyncEpoch == 0 ? "-" : $"{volume.InSyncEpoch}/{volume.InSyncVersion}: {string.Join(' ', volume.Members)}", volume.Damage.Length > 0 ? volume.Damage : "-",
    ];

    private static void ShowSegments(StoreInspection store, Printer printer)
    {
        var rows = store.Segments;
        printer.Print(JsonSerializer.SerializeToNode(rows, ApiClient.Json), () => rows.Select(segment => new[]
        {
            segment.Number == 0 ? "free" : segment.Number.ToString(CultureInfo.InvariantCulture), SizeText.Format((ulong)segment.LiveBytes),
            segment.LiveBlocks.ToString(CultureInfo.InvariantCulture), segment.TailRecords.ToString(CultureInfo.InvariantCulture),
            segment.Disk == Guid.Empty ? "missing" : store.Disks.First(disk => disk.Id == segment.Disk).Path, segment.Name,
        }), SegmentColumns);
    }

    /// <summary>Line by line: a log is longer than what should be in memory at one time.</summary>
    private static void ShowLog(StoreInspection store, string? onlyOf, Printer printer, CancellationToken cancellation)
    {
        VolumeId? only = onlyOf is not null && VolumeId.TryParse(onlyOf, out var parsed) ? parsed : null;
        var entries = store.ReadLog().Where(entry => only is null || entry.Header.Volume == only);
        if (printer.Format == OutputFormat.Table) printer.Output.WriteLine(string.Join('\t', EntryColumns));
        foreach (var entry in entries)
        {
            cancellation.ThrowIfCancellationRequested();
            var cells = Cells(entry);
            if (printer.Format == OutputFormat.Table) printer.Output.WriteLine(string.Join('\t', cells));
            else printer.PrintDone(new JsonObject(EntryColumns.Zip(cells, (name, cell) => KeyValuePair.Create(name.ToLowerInvariant(), (JsonNode?)cell))), "");
        }
    }

    private static string[] Cells(EntryFacts entry)
    {
        var header = entry.Header;
        if (entry.Kind != EntryKind.Record) return [entry.Position.ToString(), "Watermark", "-", "-", "-", "-", "-", "-", entry.Durable.ToString(), "-"];
        var range = header.Range.Count == 0 ? "-" : string.Create(CultureInfo.InvariantCulture, $"{header.Range.First}+{header.Range.Count}");
        return
        [
            entry.Position.ToString(), NameOf(header.Kind) + ((header.Flags & RecordFlags.Resync) != 0 ? ", catch-up" : ""), header.Volume.ToString(),
            header.Epoch.ToString(CultureInfo.InvariantCulture), header.Sequence.ToString(CultureInfo.InvariantCulture), range,
            header.PayloadLength.ToString(CultureInfo.InvariantCulture), header.CommitWatermark.ToString(CultureInfo.InvariantCulture), entry.Durable.ToString(),
            entry.Status.ToString(),
        ];
    }

    private static string NameOf(RecordKind kind) => kind switch
    {
        StoreRecordKind.ReplicaHeader => nameof(StoreRecordKind.ReplicaHeader),
        StoreRecordKind.Truncate => nameof(StoreRecordKind.Truncate),
        StoreRecordKind.SetPosition => nameof(StoreRecordKind.SetPosition),
        StoreRecordKind.Windows => nameof(StoreRecordKind.Windows),
        StoreRecordKind.Delete => nameof(StoreRecordKind.Delete),
        StoreRecordKind.Relocate => nameof(StoreRecordKind.Relocate),
        StoreRecordKind.Snapshots => nameof(StoreRecordKind.Snapshots),
        StoreRecordKind.Clone => nameof(StoreRecordKind.Clone),
        StoreRecordKind.Pack => nameof(StoreRecordKind.Pack),
        _ => kind.ToString(),
    };
}
