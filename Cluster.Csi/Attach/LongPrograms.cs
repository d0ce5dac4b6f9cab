using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace Cluster.Csi.Attach;

/// <summary>
/// Programs that change a file system and take as long as it is large: checks and growth. A caller that gives up, its deadline, and the end of this process do not end one: half a change is worse than
/// none. Each is a session of its own with its output in files, so that any later call, of a later process too, finds it running or finds how it ended. One per device at a time, without a limit of
/// time. Any thread.
/// </summary>
/// <param name="root">Has a directory per device (its file's name) that a program runs on, or has run on unheard: job (which one, for what), process (its number and start), output, progress, exit (program and code; the last to be written).</param>
/// <param name="answerMs">A call waits so long for the end.</param>
/// <param name="find">A program's file, or null.</param>
internal sealed class LongPrograms(string root, int answerMs, Func<string, string?> find)
{
    /// <summary>Of a progress that is shown.</summary>
    private const int ProgressChars = 80;

    // The end is written under another name first: who finds it finds all of it. 3 is where e2fsck tells how far it is (-C).
    private const string Begin = "cd \"$1\" || exit 1; shift; finish() { echo \"$1 $2\" >exit.new; mv exit.new exit; exit; }; ";
    private const string Check = Begin + "\"$1\" -p -C 3 \"$2\" 3>progress; finish e2fsck $?";
    private const string GrowOffline = Begin + "\"$1\" -f -p -C 3 \"$3\" 3>progress; code=$?; [ $((code & ~3)) -eq 0 ] || finish e2fsck $code; \"$2\" -p \"$3\" >>progress; finish resize2fs $?";
    private const string GrowExt4 = Begin + "\"$1\" \"$2\"; finish resize2fs $?";
    private const string GrowXfs = Begin + "\"$1\" -d \"$2\"; finish xfs_growfs $?";

    private readonly KeyedLocks<string> _locks = new();

    public LongPrograms(string root)
        : this(root, AttachLimits.AnswerMs, HostPrograms.Find)
    {
    }

    /// <summary>e2fsck -p of a device that is mounted nowhere.</summary>
    public Task<AttachResult<ProgramRun>> CheckAsync(AttachedDevice device, CancellationToken cancellation) =>
        RunAsync(device.Path, new Job("check", device.Identity.ToString()), Check, ["e2fsck"], [device.Path], cancellation);

    /// <summary>e2fsck -f -p, which resize2fs wants, and that; of a device that is mounted nowhere.</summary>
    public Task<AttachResult<ProgramRun>> GrowExt4OfflineAsync(AttachedDevice device, CancellationToken cancellation) =>
        RunAsync(device.Path, new Job("growth", device.Identity.ToString()), GrowOffline, ["e2fsck", "resize2fs"], [device.Path], cancellation);

    public Task<AttachResult<ProgramRun>> GrowAsync(MountEntry mount, FileSystemKind kind, CancellationToken cancellation) => kind == FileSystemKind.Ext4
        ? RunAsync(mount.Source, Job.Of(mount), GrowExt4, ["resize2fs"], [mount.Source], cancellation)
        : RunAsync(mount.Source, Job.Of(mount), GrowXfs, ["xfs_growfs"], [mount.Path], cancellation);

    /// <summary>Waits for what runs on a device, which is in use until then. Null: nothing does.</summary>
    public async Task<AttachResult<Done>?> SettleAsync(string device, CancellationToken cancellation)
    {
        var run = Of(device);
        return await run.EndsAsync(answerMs, cancellation).ConfigureAwait(false) ? null : AttachResult<Done>.Error(AttachStatus.Running, run.Told(device));
    }

    private async Task<AttachResult<ProgramRun>> RunAsync(string device, Job job, string script, string[] programs, string[] arguments, CancellationToken cancellation)
    {
        var files = programs.Select(find).ToArray();
        if (Array.IndexOf(files, null) is >= 0 and var absent) return AttachResult<ProgramRun>.Error(AttachStatus.NotSupported, HostProgram.Missing(programs[absent]) ?? $"there is no {programs[absent]}");
        using var held = await _locks.EnterAsync(device, cancellation).ConfigureAwait(false);
        var run = Of(device);
        if (!await run.EndsAsync(answerMs, cancellation).ConfigureAwait(false)) return AttachResult<ProgramRun>.Error(AttachStatus.Running, run.Told(device));
        // What has failed while nobody waited is told once: made again it might take as long again, and nobody would ever hear of it. What went well is quick when it is made again.
        if (run.Take(job) is { Value.IsOk: false } unheard) return unheard;
        try
        {
            run.Start(job, [script, .. files!, .. arguments]);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or System.ComponentModel.Win32Exception)
        {
            return AttachResult<ProgramRun>.Error(AttachStatus.Failed, $"{programs[0]} can't be started: {e.Message}");
        }
        if (!await run.EndsAsync(answerMs, cancellation).ConfigureAwait(false)) return AttachResult<ProgramRun>.Error(AttachStatus.Running, run.Told(device));
        return run.Take(job) ?? AttachResult<ProgramRun>.Error(AttachStatus.Failed, $"{programs[0]} was killed, or could not write to {root}; ask again");
    }

    private LongRun Of(string device) => new(Path.Combine(root, Path.GetFileName(device)));

    /// <summary>What is done for whom: an end is told to nobody else, as a device's name may be another volume's by then.</summary>
    private sealed record Job(string What, string For)
    {
        public static Job Of(MountEntry mount) => new("growth", string.Create(CultureInfo.InvariantCulture, $"{mount.Id} {mount.Major}:{mount.Minor}"));

        public override string ToString() => $"{What} {For}";
    }

    private sealed class LongRun(string directory)
    {
        private const int RoundsPerLook = 25;
        private const int SettleMs = 200;

        private string Mark => $"--long={directory}";

        public void Start(Job job, string[] command)
        {
            Directory.CreateDirectory(directory);
            File.WriteAllText(In("job"), job.ToString());
            using var process = DaemonProcess.Start(["/bin/sh", "-c", command[0], Mark, directory, .. command[1..]], directory, In("output"));
            if (ProcessStart.Of(process.Id) is not { } began) return;
            File.WriteAllText(In("process.new"), began.ToString());
            File.Move(In("process.new"), In("process"));
        }

        /// <summary>False when it still runs after the time. True also when nothing ever ran.</summary>
        public async Task<bool> EndsAsync(int withinMs, CancellationToken cancellation)
        {
            if (!Directory.Exists(directory)) return true;
            var waited = Stopwatch.StartNew();
            for (var round = 0; ; round++)
            {
                if (File.Exists(In("exit"))) return true;
                if (!Runs(round % RoundsPerLook == 0) && await HasGoneAsync(cancellation).ConfigureAwait(false)) return true;
                if (waited.ElapsedMilliseconds >= withinMs) return false;
                await Task.Delay(AttachLimits.PollMs, cancellation).ConfigureAwait(false);
            }
        }

        /// <summary>How it ended, which is then forgotten. Null if that is not known, or was for somebody else.</summary>
        public AttachResult<ProgramRun>? Take(Job job)
        {
            var (asked, exit, output) = (Read("job"), Read("exit").Trim().Split(' '), Read("output"));
            if (Directory.Exists(directory)) Directory.Delete(directory, recursive: true);
            if (asked != job.ToString() || exit.Length != 2 || !int.TryParse(exit[1], NumberStyles.None, CultureInfo.InvariantCulture, out var code)) return null;
            var run = new ProgramRun(exit[0], code, "", output);
            return new AttachResult<ProgramRun>(AttachStatus.Ok, run, "");
        }

        /// <summary>One sentence for whoever asks.</summary>
        public string Told(string device)
        {
            var what = Read("job").Split(' ')[0];
            var seconds = (long)(DateTime.UtcNow - File.GetLastWriteTimeUtc(In("job"))).TotalSeconds;
            var progress = Progress();
            return string.Create(CultureInfo.InvariantCulture,
                $"the {what} of the file system on {device} has run for {seconds} s{(progress.Length > 0 ? $" ({progress})" : "")} and goes on; ask again, it is not begun anew");
        }

        private string Progress()
        {
            var last = Read("progress").Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).LastOrDefault() ?? "";
            // "pass now max device", as e2fsck(8) has it.
            if (last.Split(' ') is [var pass, var now, var max, _] && int.TryParse(pass, out _) && int.TryParse(now, out _) && int.TryParse(max, out _)) return $"pass {pass}, {now} of {max}";
            var text = new string([.. last.Where(one => one is >= ' ' and <= '~')]);
            return text.Length <= ProgressChars ? text : text[..ProgressChars];
        }

        /// <summary>By its number and when it began; where whoever started it died before writing these down, by its arguments, for which all processes are looked through: not in each round.</summary>
        private bool Runs(bool looks) => ProcessStart.TryParse(Read("process"), out var began) ? ProcessStart.Of(began.Id) == began : !looks || DaemonProcess.Find(Mark).Count > 0;

        /// <summary>A process that is just turning into another program shows no arguments for a moment.</summary>
        private async Task<bool> HasGoneAsync(CancellationToken cancellation)
        {
            if (File.Exists(In("process"))) return true;
            await Task.Delay(SettleMs, cancellation).ConfigureAwait(false);
            return DaemonProcess.Find(Mark).Count == 0;
        }

        private string In(string file) => Path.Combine(directory, file);

        private string Read(string file)
        {
            try
            {
                using var reader = new StreamReader(new FileStream(In(file), FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete), Encoding.UTF8);
                var kept = new char[AttachLimits.ProgramOutputChars];
                return new string(kept, 0, reader.ReadBlock(kept));
            }
            catch (IOException)
            {
                // Not written yet.
                return "";
            }
        }
    }
    /// <summary>A process for ever: no other one has its number and its start, in clock ticks since the boot (proc(5), stat: starttime).</summary>
    private sealed record ProcessStart(int Id, ulong Ticks)
    {
        private const int StateField = 0;
        private const int StartField = 19;

        /// <summary>Null: there is none, or it has ended and is only not forgotten yet.</summary>
        public static ProcessStart? Of(int id)
        {
            try
            {
                var stat = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{id}/stat"));
                // Its name is in brackets, and may have any in it itself.
                var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
                return fields[StateField] is "Z" or "X" ? null : new ProcessStart(id, ulong.Parse(fields[StartField], CultureInfo.InvariantCulture));
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return null;
            }
        }

        public static bool TryParse(string text, out ProcessStart process)
        {
            process = new ProcessStart(0, 0);
            if (text.Split(' ') is not [var id, var ticks] || !int.TryParse(id, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                || !ulong.TryParse(ticks, NumberStyles.None, CultureInfo.InvariantCulture, out var start)) return false;
            process = new ProcessStart(number, start);
            return true;
        }

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Id} {Ticks}");
    }
}
