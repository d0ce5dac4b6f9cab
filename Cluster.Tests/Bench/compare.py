#!/usr/bin/env python3
"""
Measures a volume of three copies beside `qemu-nbd` on a raw file (one copy, no network replication), and beside Ceph RBD where one runs: the same fio jobs, in turn, in one run.

    Cluster.Tests/Bench/compare.py                                   every job, 5 times each in turn (15 minutes)
    Cluster.Tests/Bench/compare.py --reps 1 --jobs w4k-qd1,w4k-qd32
    Cluster.Tests/Bench/compare.py --p99-max 3 --out docs/performance.md   also rewrites that page between its markers
    CEPH_CONF=DIR/ceph.conf Cluster.Tests/Bench/compare.py --ceph-pool rbd3

It runs a cluster of three nodes of its own (`myrmidon dev`, default settings) and a qemu-nbd server in a temporary directory, first looks at
the idle nodes, then fills all systems and runs each job on one after the other, in the opposite order every other time. A row is the median of the repetitions, with the least
and the greatest; a ratio is the median of the ratios of neighbouring runs. "CPU" is the whole machine's busy time per I/O, client, kernel and idle systems included. Run it while nothing else runs.

Ceph takes part when `rbd` is installed, fio has its engine and the cluster of --ceph-conf (default: $CEPH_CONF, else /etc/ceph/ceph.conf) answers: with an image of its own in
--ceph-pool, removed at the end. Its number of copies is the pool's, and told. Its servers must run on this machine to be compared in CPU.

Needs the packages fio, qemu-utils, libnbd-bin and python3-libnbd. Exit code 0 when every job ran without an error and no p99 was above its target, 1 else, 2 on wrong use.
"""
import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
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
# Least share of the reference's IOPS, and most CPU of the whole machine per I/O in us.
LEAST = {"w4k-qd1": 0.5, "w4k-qd32": 0.9, "r4k-qd1": 0.8, "r4k-qd32": 1.0, "w128k-qd8": 0.25, "r128k-qd8": 0.7, "w4k-fsync": 0.6}
CPU_MOST_US = {"w4k-qd32": 80}
# The same of Ceph with as many copies, and the jobs whose p99 by p50 is to be smaller than Ceph's.
LEAST_OF_CEPH = {"w4k-qd1": 8, "w4k-qd32": 12, "r4k-qd1": 3, "r4k-qd32": 5, "w128k-qd8": 6, "r128k-qd8": 3, "w4k-fsync": 4}
STEADIER_THAN_CEPH = ["w4k-qd32"]
# And however steady Ceph is.
TAIL_MOST = {"w4k-qd32": 4}
REFERENCE, OURS, CEPH = "qemu-nbd", "myrmidon", "ceph"
CEPH_IMAGE = "myrmidon-compare"
CEPH_ANSWER_S = 10
# What this script writes of a page; all else is left as it is.
BEGIN, END = "<!-- compare.py writes from here -->", "<!-- to here -->"
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


def fio(name, target, size, seconds, arguments):
    """One job on an NBD URI, or with the arguments of another engine: I/O per second, latencies in us, busy us per I/O. Fails loudly when fio reports an error."""
    engine = ["--ioengine=nbd", f"--uri={target}"] if isinstance(target, str) else target
    before, started = busy_ticks(), time.monotonic()
    command = ["fio", f"--name={name}", "--output-format=json+", *engine, f"--size={size}", "--randrepeat=0",
               "--buffer_compress_percentage=0", "--refill_buffers", *arguments]
    if seconds:
        command += ["--time_based", f"--runtime={seconds}", f"--ramp_time={RAMP_S}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=(seconds or 300) + FIO_SLACK_S)
    elapsed = time.monotonic() - started
    busy = (busy_ticks() - before) / TICKS_PER_S / elapsed
    if done.returncode != 0:
        raise RuntimeError(f"fio {name} with {' '.join(engine)}: {done.stderr.strip()[-300:] or done.stdout[-300:]}")
    job = json.loads(done.stdout[done.stdout.index("{"):])["jobs"][0]
    parts = [job[side] for side in ("read", "write") if job[side]["iops"] > 0]
    iops = sum(part["iops"] for part in parts)
    latency = max(parts, key=lambda part: part["iops"])["clat_ns"]["percentile"]
    return {"iops": iops, "mb": sum(part["bw_bytes"] for part in parts) / 1e6, "p50": latency["50.000000"] / 1e3,
            "p99": latency["99.000000"] / 1e3, "p999": latency["99.900000"] / 1e3, "max": max(part["clat_ns"]["max"] for part in parts) / 1e3, "cpu": busy * 1e6 / iops,
            "bins": max(parts, key=lambda part: part["iops"])["clat_ns"].get("bins", {})}


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


class Ceph:
    """An image of a pool of a running cluster, made for this run."""

    def __init__(self, conf, pool, size):
        self.environment, self.pool = {**os.environ, "CEPH_CONF": str(conf)}, pool
        # fio is told the configuration the same way.
        os.environ["CEPH_CONF"] = str(conf)
        self.rbd("create", f"{pool}/{CEPH_IMAGE}", "--size", f"{size}B", "--image-feature", "layering")
        self.target = ["--ioengine=rbd", "--clientname=admin", f"--pool={pool}", f"--rbdname={CEPH_IMAGE}", "--direct=1"]

    @staticmethod
    def find(arguments):
        """The configuration of a cluster that answers, or None and why there is none."""
        conf = arguments.ceph_conf or Path(os.environ.get("CEPH_CONF", "/etc/ceph/ceph.conf"))
        if arguments.no_ceph:
            return None, "--no-ceph"
        if shutil.which("rbd") is None:
            return None, "rbd (package ceph-common) is not installed"
        if not conf.exists():
            return None, f"there is no {conf}; name another one with --ceph-conf"
        if "rbd" not in subprocess.run(["fio", "--enghelp"], capture_output=True, text=True).stdout.split():
            return None, "this fio has no engine rbd"
        try:
            asked = subprocess.run(["rbd", "-c", str(conf), "ls", arguments.ceph_pool], capture_output=True, text=True, timeout=CEPH_ANSWER_S)
        except subprocess.TimeoutExpired:
            return None, f"the cluster of {conf} does not answer within {CEPH_ANSWER_S} s"
        if asked.returncode != 0:
            return None, f"the pool {arguments.ceph_pool} of {conf} can't be used: {asked.stderr.strip()[-200:]}"
        if CEPH_IMAGE in asked.stdout.split():
            return None, f"the pool {arguments.ceph_pool} has an image {CEPH_IMAGE}, left by a killed run: remove it"
        return conf, ""

    def rbd(self, *words):
        done = subprocess.run(["rbd", *words], env=self.environment, capture_output=True, text=True, timeout=FIO_SLACK_S)
        if done.returncode != 0:
            raise RuntimeError(f"rbd {' '.join(words)}: {done.stderr.strip()[-300:]}")
        return done.stdout

    def copies(self):
        done = subprocess.run(["ceph", "osd", "pool", "get", self.pool, "size", "-f", "json"], env=self.environment, capture_output=True, text=True, timeout=FIO_SLACK_S)
        return json.loads(done.stdout)["size"] if done.returncode == 0 else "?"

    def stop(self):
        self.rbd("rm", "--no-progress", f"{self.pool}/{CEPH_IMAGE}")


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


def ratio(runs, system, other, key="iops"):
    return statistics.median(mine[key] / its[key] for mine, its in zip(runs[system], runs[other]))


def tail(runs, system):
    return statistics.median(run["p99"] / run["p50"] for run in runs[system])


def verdict(name, runs, targets):
    """p99 by p50, the median of the runs' own ratios; with a target whether it is met."""
    value = tail(runs, OURS)
    limit = targets.get(name)
    return value, limit is None or value <= limit, f" (target {limit:g}: {'met' if value <= limit else 'missed'})" if limit is not None else ""


def goal(name, runs):
    """What the project asks of the job beside the reference, and whether it is so."""
    def told(value, limit, is_met, form):
        return f"{form} {round(limit, 2):g}: {'met' if is_met(value, limit) else 'missed'}"

    parts = []
    if name in LEAST:
        parts.append(told(ratio(runs, OURS, REFERENCE), LEAST[name], lambda value, limit: value >= limit, "ratio >="))
    if CEPH in runs and name in LEAST_OF_CEPH:
        parts.append(told(ratio(runs, OURS, CEPH), LEAST_OF_CEPH[name], lambda value, limit: value >= limit, "of Ceph >="))
    if CEPH in runs and name in STEADIER_THAN_CEPH:
        parts.append(told(tail(runs, OURS), tail(runs, CEPH), lambda value, limit: value < limit, "p99 / p50 <"))
    if name in TAIL_MOST:
        parts.append(told(tail(runs, OURS), TAIL_MOST[name], lambda value, limit: value <= limit, "p99 / p50 <="))
    if name in CPU_MOST_US:
        parts.append(told(statistics.median(run["cpu"] for run in runs[OURS]), CPU_MOST_US[name], lambda value, limit: value <= limit, "CPU <="))
    return "; ".join(parts) or "-"


def job_row(name, runs, targets):
    whole = "{:,.0f}".format
    others = [system for system in runs if system != OURS]
    cells = [WHAT[name], *(spread(runs[system], "iops", whole) for system in runs), *(f"{ratio(runs, OURS, other):.2f}" for other in others), goal(name, runs)]
    for key in ("p50", "p99"):
        cells.append(" / ".join(whole(statistics.median(run[key] for run in runs[system])) for system in runs))
    tails = [f"{tail(runs, system):.1f}" for system in runs]
    cells.append(" / ".join(tails) + verdict(name, runs, targets)[2])
    cells.append(" / ".join(whole(statistics.median(run["cpu"] for run in runs[system])) for system in runs))
    return "| " + " | ".join(cells) + " |"


def columns(systems):
    others = [system for system in systems if system != OURS]
    names = ["job", *(f"{system}, IOPS" for system in systems), *(f"{OURS} / {other}" for other in others), "goal", "p50, us", "p99, us", "p99 / p50", "CPU, us"]
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]


def measure(cluster, arguments, servers):
    """The table's rows, and the jobs whose p99 was above its target."""
    if cluster.call("POST", "/v1/volumes", {"name": "bench", "sizeBytes": 2 * arguments.size, "replicas": 3}) is None:
        raise RuntimeError("the volume could not be created")
    targets = {REFERENCE: servers[REFERENCE].uri, OURS: cluster.running()[0]["nbd"] + "/bench"}
    if CEPH in servers:
        targets[CEPH] = servers[CEPH].target
    for system, target in targets.items():
        print(f"filling {system}", file=sys.stderr)
        fio("fill", target, arguments.size, 0, ["--rw=write", "--bs=1M", "--iodepth=8"])
    rows, missed = columns(targets), []
    for name in arguments.jobs:
        runs = {system: [] for system in targets}
        for repetition in range(arguments.reps):
            # What drifts with time meets both neighbours alike.
            for system in list(targets)[::-1 if repetition % 2 else 1]:
                run = fio(name, targets[system], arguments.size, arguments.seconds, JOBS[name])
                runs[system].append(run)
                print(f"{name} {repetition + 1}/{arguments.reps} {system}: {run['iops']:,.0f} IOPS, p50 {run['p50']:.0f} us, "
                      f"p99 {run['p99']:.0f} us, {run['cpu']:.0f} us of CPU", file=sys.stderr)
        rows.append(job_row(name, runs, arguments.p99_max))
        if not verdict(name, runs, arguments.p99_max)[1]:
            missed.append(name)
    return rows, missed


def machine():
    model = next((line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?")
    memory = int(Path("/proc/meminfo").read_text().split()[1]) / (1 << 20)
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GiB, Linux {platform.release()}, {subprocess.check_output(['fio', '--version'], text=True).strip()}"


def section(arguments, load, idle, rows, loaded, ceph):
    words = " ".join(argument for argument in sys.argv[1:])
    beside = f" Ceph: RBD in {arguments.ceph_pool}, {ceph} copies, fio's engine rbd, no NBD." if ceph else ""
    return "\n".join([
        "Three nodes, three copies, default settings, checksums on, all nodes and the client on one machine, through NBD. Beside it `qemu-nbd` on a raw file:",
        f"one copy, no replication, the page cache.{beside} Made by:", "", "```", f"Cluster.Tests/Bench/compare.py {words}".rstrip(), "```", "",
        f"{datetime.date.today().isoformat()}, {machine()}; commit {commit()}; load average at the start {load:.2f}. {arguments.reps} runs of {arguments.seconds} s each, in turn;",
        "median (least-greatest). Ratios are medians of neighbouring runs. CPU: busy microseconds of the whole machine per I/O, client included.", "",
        *rows, "", "p50, p99, p99 / p50 and CPU: in the order of the IOPS columns.", "", "## Idle", "",
        f"Over {arguments.idle} s, no volume, nothing asked:", "", *idle, "", loaded])


def commit():
    done = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def put(page, made):
    """The page with what stands between its markers replaced. None: it has not one of each, in order."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in before + after:
        return None
    return f"{before}{BEGIN}\n\n{made}\n\n{END}{after}"


def p99_targets(text):
    """A number for every job, or JOB=NUMBER with commas between them."""
    try:
        if "=" not in text:
            return {job: float(text) for job in JOBS}
        targets = {job: float(limit) for job, _, limit in (part.partition("=") for part in text.split(","))}
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a target: write a number such as 3, or JOB=NUMBER,JOB=NUMBER") from None
    unknown = [job for job in targets if job not in JOBS]
    if unknown:
        raise argparse.ArgumentTypeError(f"'{unknown[0]}' is not a job: use some of {', '.join(JOBS)}")
    return targets


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reps", type=int, default=5, help="runs of each job on each system; default: 5")
    parser.add_argument("--seconds", type=int, default=5, help="how long a run takes; default: 5")
    parser.add_argument("--idle", type=int, default=30, help="seconds over which the idle nodes are watched; default: 30")
    parser.add_argument("--size", type=int, default=1 << 30, help="bytes that the jobs work on; default: 1 GiB")
    parser.add_argument("--jobs", default=",".join(JOBS), help="which, with commas between them; default: all")
    parser.add_argument("--out", type=Path, help=f"also write the result into this page, between the lines {BEGIN} and {END}")
    parser.add_argument("--p99-max", type=p99_targets, default={}, metavar="LIST", help="p99 / p50 that a job may have at most: a number, or JOB=NUMBER,JOB=NUMBER")
    parser.add_argument("--ceph-conf", type=Path, help="configuration of a running Ceph; default: $CEPH_CONF, else /etc/ceph/ceph.conf")
    parser.add_argument("--ceph-pool", default="rbd", help="an RBD pool of it; default: rbd")
    parser.add_argument("--no-ceph", action="store_true", help="leave Ceph out even if it runs")
    parser.add_argument("--port-offset", type=int, default=0, help="added to every port of the cluster; default: 0")
    arguments = parser.parse_args()
    arguments.jobs = [job for job in arguments.jobs.split(",") if job]
    for job in arguments.jobs:
        if job not in JOBS:
            parser.error(f"'{job}' is not a job: use some of {', '.join(JOBS)}")
    if arguments.out and put(arguments.out.read_text() if arguments.out.exists() else "", "") is None:
        parser.error(f"{arguments.out} has no lines {BEGIN} and {END}: put them where the table is to go")
    if min(arguments.reps, arguments.seconds, arguments.idle) < 1:
        parser.error("--reps, --seconds and --idle must be at least 1")
    return arguments


def main():
    arguments = parse()
    load = os.getloadavg()[0]
    conf, why = Ceph.find(arguments)
    print(f"Ceph is left out: {why}" if conf is None else f"Ceph takes part: {conf}", file=sys.stderr)
    with tempfile.TemporaryDirectory(prefix="myrmidon-bench-") as directory, contextlib.ExitStack() as servers:
        try:
            cluster = Cluster(str(ROOT / "myrmidon"), directory, arguments.port_offset)
            servers.callback(cluster.stop)
            idle = idle_table(cluster, arguments.idle)
            systems = {REFERENCE: Qemu(directory, 2 * arguments.size)}
            servers.callback(systems[REFERENCE].stop)
            if conf is not None:
                systems[CEPH] = Ceph(conf, arguments.ceph_pool, 2 * arguments.size)
                servers.callback(systems[CEPH].stop)
            rows, missed = measure(cluster, arguments, systems)
            text = section(arguments, load, idle, rows, loaded_row(cluster), systems[CEPH].copies() if conf is not None else 0)
        except RuntimeError as error:
            print(f"compare: {error}", file=sys.stderr)
            return 1
    print(text)
    if arguments.out:
        arguments.out.write_text(put(arguments.out.read_text(), text))
    if missed:
        print(f"compare: p99 / p50 is above its target in {', '.join(missed)}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
