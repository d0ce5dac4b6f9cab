#!/usr/bin/env python3
"""
Measures a volume of three copies beside `qemu-nbd` on a raw file (one copy, no network replication): the same fio jobs, in turn, in one run.

    Cluster.Tests/Bench/compare.py                                   every job, 5 times each in turn (15 minutes)
    Cluster.Tests/Bench/compare.py --reps 1 --jobs w4k-qd1,w4k-qd32
    Cluster.Tests/Bench/compare.py --out docs/performance.md         writes the page as well as printing it

It runs a cluster of three nodes of its own (`myrmidon dev`, default settings) and a qemu-nbd server in a temporary directory, first looks at
the idle nodes, then fills both and runs the jobs one system after the other. A row is the median of the repetitions, with the least and the greatest; the ratio is
the median of the ratios of neighbouring runs. "CPU" is the whole machine's busy time per I/O, client and kernel included. Run it while nothing else runs.

Needs the packages fio, qemu-utils and python3-libnbd. Exit code 0 when every job ran without an error, 1 when one did not, 2 on wrong use.
"""
import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from failover import ROOT, Cluster, wait_for  # noqa: E402

JOBS = {
    "w4k-qd1": ["--rw=randwrite", "--bs=4k", "--iodepth=1"],
    "w4k-qd32": ["--rw=randwrite", "--bs=4k", "--iodepth=32"],
    "r4k-qd1": ["--rw=randread", "--bs=4k", "--iodepth=1"],
    "r4k-qd32": ["--rw=randread", "--bs=4k", "--iodepth=32"],
    "w128k-qd8": ["--rw=write", "--bs=128k", "--iodepth=8"],
    "r128k-qd8": ["--rw=read", "--bs=128k", "--iodepth=8"],
    "w4k-fsync": ["--rw=randwrite", "--bs=4k", "--iodepth=1", "--fsync=1"],
    "mix70": ["--rw=randrw", "--rwmixread=70", "--bs=4k", "--iodepth=32"],
}
WHAT = {
    "w4k-qd1": "4 KiB random write, depth 1", "w4k-qd32": "4 KiB random write, depth 32",
    "r4k-qd1": "4 KiB random read, depth 1", "r4k-qd32": "4 KiB random read, depth 32",
    "w128k-qd8": "128 KiB sequential write, depth 8", "r128k-qd8": "128 KiB sequential read, depth 8",
    "w4k-fsync": "4 KiB random write + fsync, depth 1", "mix70": "4 KiB random, 70 % reads, depth 32",
}
REFERENCE, OURS = "qemu-nbd", "myrmidon"
QEMU_PORT = 10999
RAMP_S = 1
FIO_SLACK_S = 60
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def busy_ticks():
    """Ticks that any core was busy: user, nice, system, irq, softirq."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return fields[0] + fields[1] + fields[2] + fields[5] + fields[6]


def process_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def resident_mib(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def fio(name, uri, size, seconds, arguments):
    """One job: I/O per second, latencies in us, busy us per I/O. Fails loudly when fio reports an error."""
    before, started = busy_ticks(), time.monotonic()
    command = ["fio", f"--name={name}", "--output-format=json", "--ioengine=nbd", f"--uri={uri}", f"--size={size}", "--randrepeat=0",
               "--buffer_compress_percentage=0", "--refill_buffers", *arguments]
    if seconds:
        command += ["--time_based", f"--runtime={seconds}", f"--ramp_time={RAMP_S}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=(seconds or 300) + FIO_SLACK_S)
    elapsed = time.monotonic() - started
    busy = (busy_ticks() - before) / TICKS_PER_S / elapsed
    if done.returncode != 0:
        raise RuntimeError(f"fio {name} at {uri}: {done.stderr.strip()[-300:] or done.stdout[-300:]}")
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    parts = [job[side] for side in ("read", "write") if job[side]["iops"] > 0]
    iops = sum(part["iops"] for part in parts)
    latency = max(parts, key=lambda part: part["iops"])["clat_ns"]["percentile"]
    return {"iops": iops, "mb": sum(part["bw_bytes"] for part in parts) / 1e6, "p50": latency["50.000000"] / 1e3,
            "p99": latency["99.000000"] / 1e3, "cpu": busy * 1e6 / iops}


class Qemu:
    """One raw file behind qemu-nbd with the page cache, as its users run it."""

    def __init__(self, directory, size):
        image = Path(directory) / "reference.raw"
        with open(image, "wb") as file:
            file.truncate(size)
        self.process = subprocess.Popen(["qemu-nbd", "-f", "raw", "-x", "reference", "--cache=writeback", "-t", "-e", "8", "-b", "127.0.0.1",
                                         "-p", str(QEMU_PORT), str(image)])
        self.uri = f"nbd://127.0.0.1:{QEMU_PORT}/reference"
        wait_for("qemu-nbd answers", lambda: subprocess.run(["nbdinfo", "--size", self.uri], capture_output=True).returncode == 0)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)


def idle_table(cluster, seconds):
    """Each node's CPU in percent of one core and its resident memory while nothing is asked of it."""
    pids = {node["name"]: node["pid"] for node in cluster.running()}
    before = {name: process_ticks(pid) for name, pid in pids.items()}
    time.sleep(seconds)  # a rate needs a span of time
    rows = ["| node | CPU, % of one core | resident, MiB |", "|---|---|---|"]
    for name, pid in pids.items():
        rows.append(f"| {name} | {(process_ticks(pid) - before[name]) / TICKS_PER_S / seconds * 100:.1f} | {resident_mib(pid):.0f} |")
    return rows


def loaded_row(cluster):
    return "Resident after the jobs: " + ", ".join(f"{node['name']} {resident_mib(node['pid']):.0f} MiB" for node in cluster.running()) + "."


def spread(runs, key, form):
    values = sorted(run[key] for run in runs)
    return form(statistics.median(values)) + (f" ({form(values[0])}-{form(values[-1])})" if len(values) > 1 else "")


def job_row(name, runs):
    whole = "{:,.0f}".format
    reference, ours = runs[REFERENCE], runs[OURS]
    ratios = [mine["iops"] / other["iops"] for mine, other in zip(ours, reference)]
    cells = [WHAT[name], spread(reference, "iops", whole), spread(ours, "iops", whole), f"{statistics.median(ratios):.2f}"]
    for key in ("p50", "p99", "cpu"):
        cells.append(f"{statistics.median(run[key] for run in reference):.0f} / {statistics.median(run[key] for run in ours):.0f}")
    return "| " + " | ".join(cells) + " |"


def measure(cluster, arguments):
    qemu = Qemu(cluster.directory, 2 * arguments.size)
    try:
        if cluster.call("POST", "/v1/volumes", {"name": "bench", "sizeBytes": 2 * arguments.size, "replicas": 3}) is None:
            raise RuntimeError("the volume could not be created")
        uris = {REFERENCE: qemu.uri, OURS: cluster.running()[0]["nbd"] + "/bench"}
        for system, uri in uris.items():
            print(f"filling {system}", file=sys.stderr)
            fio("fill", uri, arguments.size, 0, ["--rw=write", "--bs=1M", "--iodepth=8"])
        rows = []
        for name in arguments.jobs:
            runs = {system: [] for system in uris}
            for repetition in range(arguments.reps):
                for system, uri in uris.items():
                    run = fio(name, uri, arguments.size, arguments.seconds, JOBS[name])
                    runs[system].append(run)
                    print(f"{name} {repetition + 1}/{arguments.reps} {system}: {run['iops']:,.0f} IOPS, p50 {run['p50']:.0f} us, "
                          f"p99 {run['p99']:.0f} us, {run['cpu']:.0f} us of CPU", file=sys.stderr)
            rows.append(job_row(name, runs))
        return rows
    finally:
        qemu.stop()


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, {subprocess.check_output(['fio', '--version'], text=True).strip()}"


def page(arguments, load, idle, rows, loaded):
    words = " ".join(argument for argument in sys.argv[1:])
    return "\n".join([
        "# Performance", "",
        "Three nodes, three copies, default settings, checksums on, all nodes and the client on one machine, through NBD. Beside it `qemu-nbd` on a raw file:",
        "one copy, no replication, the page cache. Made by:", "", "```", f"Cluster.Tests/Bench/compare.py {words}".rstrip(), "```", "",
        f"{datetime.date.today().isoformat()}, {machine()}; load average at the start {load:.2f}. {arguments.reps} runs of {arguments.seconds} s each, in turn;",
        "median (least-greatest). Ratios are medians of neighbouring runs. CPU: busy microseconds of the whole machine per I/O, client included.", "",
        f"| job | {REFERENCE}, IOPS | {OURS}, IOPS | ratio | p50, us | p99, us | CPU, us |", "|---|---|---|---|---|---|---|", *rows, "",
        f"p50, p99 and CPU: {REFERENCE} / {OURS}.", "", "## Idle", "",
        f"Over {arguments.idle} s, no volume, nothing asked:", "", *idle, "", loaded, ""])


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5, help="runs of each job on each system; default: 5")
    parser.add_argument("--seconds", type=int, default=5, help="how long a run takes; default: 5")
    parser.add_argument("--idle", type=int, default=30, help="seconds over which the idle nodes are watched; default: 30")
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes that the jobs work on; default: 1 GiB")
    parser.add_argument("--jobs", default=",".join(JOBS), help="which, with commas between them; default: all")
    parser.add_argument("--out", type=Path, help="also write the page to this file")
    parser.add_argument("--port-offset", type=int, default=0, help="added to every port of the cluster; default: 0")
    arguments = parser.parse_args()
    arguments.jobs = [job for job in arguments.jobs.split(",") if job]
    for job in arguments.jobs:
        if job not in JOBS:
            parser.error(f"'{job}' is not a job: use some of {', '.join(JOBS)}")
    if min(arguments.reps, arguments.seconds, arguments.idle) < 1:
        parser.error("--reps, --seconds and --idle must be at least 1")
    return arguments


def main():
    arguments = parse()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="myrmidon-bench-") as directory:
        cluster = Cluster(str(ROOT / "myrmidon"), directory, arguments.port_offset)
        try:
            idle = idle_table(cluster, arguments.idle)
            rows = measure(cluster, arguments)
            text = page(arguments, load, idle, rows, loaded_row(cluster))
        except RuntimeError as error:
            print(f"compare: {error}", file=sys.stderr)
            return 1
        finally:
            cluster.stop()
    print(text)
    if arguments.out:
        arguments.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
