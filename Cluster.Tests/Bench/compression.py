#!/usr/bin/env python3
"""
Measures what compression costs and saves: the same jobs on two volumes of three copies, one with the label myrmidon.dev/compression=on, one with off, in turn, in one run.

    Cluster.Tests/Bench/compression.py                                  every job, 5 times each in turn (6 minutes)
    Cluster.Tests/Bench/compression.py --reps 1 --seconds 2 --no-postgres

It runs a cluster of three nodes of its own (`myrmidon dev`, default settings). fio's buffers are half compressible in each 512 bytes, or not at all. Then a database is made (initdb, pgbench -i), its
data directory is put into an ext4 image, and that is copied into both volumes; it is what a running database leaves behind, not zeroes and not text. Ratio: bytes used by bytes stored on each copy. "CPU" is the whole
machine's busy time per I/O, client and kernel included: on a machine that is used by others, look at it and at the ratios, which are of neighbouring runs, and not at the rates.

Needs the packages fio, libnbd-bin, e2fsprogs and, but for --no-postgres, postgresql, as root. Exit code 0 when every job ran without an error, 1 when one did not, 2 on wrong use.
"""
import argparse
import datetime
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from compare import busy_ticks, fio, machine, spread, TICKS_PER_S  # noqa: E402
from failover import ROOT, Cluster, wait_for  # noqa: E402

ON, OFF = "on", "off"
LABEL = "myrmidon.dev/compression"
HALF = ["--buffer_compress_percentage=50", "--buffer_compress_chunk=512"]
JOBS = {
    "half-w4k": ("4 KiB random write, depth 32, half compressible", ["--rw=randwrite", "--bs=4k", "--iodepth=32", *HALF]),
    "half-r4k": ("4 KiB random read, depth 32, of that", ["--rw=randread", "--bs=4k", "--iodepth=32"]),
    "half-w128k": ("128 KiB sequential write, depth 8, half compressible", ["--rw=write", "--bs=128k", "--iodepth=8", *HALF]),
    "none-w4k": ("4 KiB random write, depth 32, incompressible", ["--rw=randwrite", "--bs=4k", "--iodepth=32"]),
    "none-w128k": ("128 KiB sequential write, depth 8, incompressible", ["--rw=write", "--bs=128k", "--iodepth=8"]),
}
# A job of incompressible data leaves it behind: its volumes are not those whose ratio is told.
VOLUMES = {"half": "half", "none": "none"}


def volume(kind, label):
    return f"{kind}-{label}"


def space(cluster, name):
    """Bytes used and stored on each copy, once what was written is counted."""
    last = {}

    def settled():
        now = cluster.volume(name)
        same = now and last.get("stored") == now.get("storedBytes") and now.get("storedBytes")
        last["stored"] = now and now.get("storedBytes")
        return now if same else None

    found = wait_for(f"{name} tells what it stores", settled)
    return found["usedBytes"], found["storedBytes"]


def row(what, runs):
    whole = "{:,.0f}".format
    ratios = [on["iops"] / off["iops"] for on, off in zip(runs[ON], runs[OFF])]
    cpus = [on["cpu"] / off["cpu"] for on, off in zip(runs[ON], runs[OFF])]
    cpu = " / ".join(f"{statistics.median(run['cpu'] for run in runs[label]):.0f}" for label in (OFF, ON))
    return f"| {what} | {spread(runs[OFF], 'iops', whole)} | {spread(runs[ON], 'iops', whole)} | {statistics.median(ratios):.2f} | {cpu} | {statistics.median(cpus):.2f} |"


def measure(cluster, arguments):
    uris = {}
    for kind in VOLUMES:
        for label in (OFF, ON):
            name = volume(kind, label)
            if cluster.call("POST", "/v1/volumes", {"name": name, "sizeBytes": 4 * arguments.size, "replicas": 3, "labels": {LABEL: label}}) is None:
                raise RuntimeError(f"the volume {name} could not be created")
            uris[name] = f"{cluster.running()[0]['nbd']}/{name}"
            print(f"filling {name}", file=sys.stderr)
            fio("fill", uris[name], arguments.size, 0, ["--rw=write", "--bs=1M", "--iodepth=8", *(HALF if kind == "half" else [])])
    rows = []
    for name, (what, job) in JOBS.items():
        runs = {OFF: [], ON: []}
        for repetition in range(arguments.reps):
            order = (OFF, ON) if repetition % 2 == 0 else (ON, OFF)
            for label in order:
                run = fio(name, uris[volume(name.split("-")[0], label)], arguments.size, arguments.seconds, job)
                runs[label].append(run)
                print(f"{name} {repetition + 1}/{arguments.reps} {label}: {run['iops']:,.0f} IOPS, {run['mb']:.0f} MB/s, {run['cpu']:.0f} us of CPU", file=sys.stderr)
        rows.append(row(what, runs))
    ratios = []
    for kind in VOLUMES:
        used, stored = space(cluster, volume(kind, ON))
        ratios.append(f"| fio, {'half compressible' if kind == 'half' else 'incompressible'} | {used / 1e6:,.0f} | {stored / 1e6:,.0f} | {used / stored:.2f} |")
    return rows, ratios


def postgres_image(directory, scale):
    """An ext4 image with the data directory of a database that pgbench filled and a checkpoint closed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        raise RuntimeError("no PostgreSQL is installed; give --no-postgres to go without")
    bin_directory, data = programs[-1], Path(directory) / "pgdata"
    data.mkdir()
    shutil.chown(data, "postgres")
    os.chmod(directory, 0o755)

    def run(*command):
        done = subprocess.run(["runuser", "-u", "postgres", "--", *command], capture_output=True, text=True, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(f"{command}: {done.stderr[-300:]}")

    run(str(bin_directory / "initdb"), "-D", str(data))
    run(str(bin_directory / "pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log"), "-o", f"-c listen_addresses= -c unix_socket_directories={data}", "start")
    try:
        run(str(bin_directory / "pgbench"), "-h", str(data), "-i", "-q", "-s", str(scale), "postgres")
    finally:
        run(str(bin_directory / "pg_ctl"), "-D", str(data), "-w", "-m", "fast", "stop")
    image = Path(directory) / "postgres.img"
    kilobytes = int(subprocess.check_output(["du", "-sk", str(data)], text=True).split()[0])
    subprocess.run(["mkfs.ext4", "-q", "-F", "-d", str(data), str(image), f"{kilobytes * 5 // 4 + (64 << 10)}k"], check=True)
    return image


def copy_postgres(cluster, arguments):
    with tempfile.TemporaryDirectory(prefix="myrmidon-postgres-") as directory:
        image = postgres_image(directory, arguments.scale)
        size = image.stat().st_size // 4096 * 4096 + 4096
        seconds, cpu = {OFF: [], ON: []}, {OFF: [], ON: []}
        for label in (OFF, ON):
            if cluster.call("POST", "/v1/volumes", {"name": volume("pg", label), "sizeBytes": size, "replicas": 3, "labels": {LABEL: label}}) is None:
                raise RuntimeError("the volume for the database could not be created")
        for repetition in range(arguments.reps):
            for label in ((OFF, ON) if repetition % 2 == 0 else (ON, OFF)):
                before, started = busy_ticks(), datetime.datetime.now()
                subprocess.run(["nbdcopy", "--flush", str(image), f"{cluster.running()[0]['nbd']}/{volume('pg', label)}"], check=True)
                seconds[label].append((datetime.datetime.now() - started).total_seconds())
                cpu[label].append((busy_ticks() - before) / TICKS_PER_S)
                print(f"postgres {repetition + 1}/{arguments.reps} {label}: {seconds[label][-1]:.1f} s, {cpu[label][-1]:.1f} s of CPU", file=sys.stderr)
        used, stored = space(cluster, volume("pg", ON))
        times = " / ".join(f"{statistics.median(seconds[label]):.1f} s ({statistics.median(cpu[label]):.1f} s of CPU)" for label in (OFF, ON))
        return (f"| PostgreSQL, `pgbench -i -s {arguments.scale}`, as an ext4 image | {used / 1e6:,.0f} | {stored / 1e6:,.0f} | {used / stored:.2f} |",
                f"Copying that image in with `nbdcopy --flush`: {times}, off / on.")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5, help="runs of each job on each volume; default: 5")
    parser.add_argument("--seconds", type=int, default=5, help="how long a run takes; default: 5")
    parser.add_argument("--size", type=int, default=256 << 20, help="bytes that the jobs work on; default: 256 MiB")
    parser.add_argument("--scale", type=int, default=10, help="of pgbench: 15 MB of tables each; default: 10")
    parser.add_argument("--no-postgres", action="store_true", help="leave the database out")
    parser.add_argument("--port-offset", type=int, default=0, help="added to every port of the cluster; default: 0")
    arguments = parser.parse_args()
    if min(arguments.reps, arguments.seconds, arguments.scale) < 1:
        parser.error("--reps, --seconds and --scale must be at least 1")
    return arguments


def main():
    arguments = parse()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="myrmidon-bench-") as directory:
        cluster = Cluster(str(ROOT / "myrmidon"), directory, arguments.port_offset)
        try:
            rows, ratios = measure(cluster, arguments)
            copied = ""
            if not arguments.no_postgres:
                ratio, copied = copy_postgres(cluster, arguments)
                ratios.append(ratio)
        except (RuntimeError, subprocess.CalledProcessError) as error:
            print(f"compression: {error}", file=sys.stderr)
            return 1
        finally:
            cluster.stop()
    print("\n".join([
        f"`Cluster.Tests/Bench/compression.py {' '.join(sys.argv[1:])}`".replace(" `", "`") + f"; {datetime.date.today().isoformat()}, {machine()}; load average at the start {load:.2f}.", "",
        "| job | off, IOPS | on, IOPS | ratio | CPU, us per I/O, off / on | CPU ratio |", "|---|--:|--:|--:|--:|--:|", *rows, "",
        "| data | used, MB | stored on each copy, MB | ratio |", "|---|--:|--:|--:|", *ratios, "", copied]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
