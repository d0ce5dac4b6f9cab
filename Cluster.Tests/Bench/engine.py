#!/usr/bin/env python3
"""
Measures the store by itself, without network, copies and front end: beside fio on a raw file of the same size, on the same disk, with the same pattern, in turn. And how long a node's store takes to
open after kill -9, per GB that was written.

    Cluster.Tests/Bench/engine.py                                      three runs of each job, 10 s each, and the start-up after 4 GiB
    Cluster.Tests/Bench/engine.py --jobs read --reps 5 --no-startup
    Cluster.Tests/Bench/engine.py --no-jobs --written 16GiB

jobs (`myrmidon store bench` beside fio, blocks of 4 KiB that don't compress, the page cache):
  write         random writes, in groups of 32                                  goal: 1.5 x raw
  write-sync32  the same, with one fdatasync for each 32                        goal: 1.5 x raw
  read          random reads of what was just written: all of it is cached      goal: 0.7 x raw

start-up: a cluster of three nodes of its own (`myrmidon dev`), one volume of three copies, so that each node's store gets every write. It is written in order through NBD until --size is full, then at
random, for --written in all. Then one node is killed and started again; its log says how much was read again and how long the open took. What was written last is still in memory: a checkpoint has the rest.
  goal: under 2 s after 100 GB, extrapolated by what is read again, which has a bound, and by the maps, which grow with what is mapped.

It needs three times --size and --written on the disk of --directory, and --size of memory besides for the page cache.
Needs the packages fio, python3, libnbd-bin and python3-libnbd. Exit code 0 when every goal is met, 1 else, 2 on wrong use.
"""
import argparse
import datetime
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from compare import commit, fio, machine  # noqa: E402
from failover import ROOT, Cluster, wait_for  # noqa: E402

GOALS = {"write": 1.5, "write-sync32": 1.5, "read": 0.7}
PATTERNS = {"write": ["--rw=randwrite"], "write-sync32": ["--rw=randwrite", "--fdatasync=32"], "read": ["--rw=randread"]}
STARTUP_GOAL_S, STARTUP_GOAL_GB = 2.0, 100
OPENED = re.compile(r"The store at .* is open: .*; (\d+) MiB of the log were read again, all took (\d+) ms")
UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}


def size(text):
    found = re.fullmatch(r"(\d+)(MiB|GiB)", text)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size: write one such as 1GiB or 512MiB")
    return int(found[1]) * UNITS[found[2]]


def names(text):
    unknown = [name for name in text.split(",") if name not in GOALS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no job '{unknown[0]}': use {', '.join(GOALS)}")
    return text.split(",")


def engine(directory, job, arguments):
    """One job, which the bench fills a store for: I/O per second."""
    done = subprocess.run([str(ROOT / "myrmidon"), "store", "bench", "--data", str(directory / "store"), "--size", f"{arguments.size >> 20}MiB", "--jobs", job,
                           "--time", f"{arguments.seconds}s", "-o", "json"], capture_output=True, text=True, timeout=600 + (4 * arguments.seconds))
    if done.returncode != 0:
        raise RuntimeError(f"store bench: {done.stderr.strip()[-300:]}")
    return next(row["perSecond"] for row in json.loads(done.stdout) if row["job"] == job)


def raw(directory, job, arguments):
    """The same of one file, written whole before."""
    path = directory / "raw"
    target = ["--ioengine=psync", f"--filename={path}", "--invalidate=0"]
    try:
        fio("fill", target, arguments.size, 0, ["--rw=write", "--bs=1M"])
        return fio(job, target, arguments.size, arguments.seconds, ["--bs=4k", "--norandommap", *PATTERNS[job]])["iops"]
    finally:
        path.unlink(missing_ok=True)


def measure(directory, arguments):
    """Per job: the engine's rates, the file's, and the ratios of neighbours."""
    runs = {job: ([], [], []) for job in arguments.jobs}
    for _ in range(arguments.reps):
        for job, (own, other, ratios) in runs.items():
            own.append(engine(directory, job, arguments))
            other.append(raw(directory, job, arguments))
            ratios.append(own[-1] / other[-1])
            print(f"{job}: {own[-1]:,.0f} beside {other[-1]:,.0f}, {ratios[-1]:.2f}", file=sys.stderr)
    return runs


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}}-{max(values):{form}})"


def rows(runs):
    yield "| job | raw file, IOPS | store, IOPS | store / raw | goal |"
    yield "|---|--:|--:|--:|---|"
    for job, (own, other, ratios) in runs.items():
        verdict = "met" if statistics.median(ratios) >= GOALS[job] else "missed"
        yield f"| {job} | {spread(other, ',.0f')} | {spread(own, ',.0f')} | {spread(ratios, '.2f')} | >= {GOALS[job]}: {verdict} |"


def startup(directory, arguments):
    """GB written, MiB read again, and ms of the open."""
    cluster = Cluster(str(ROOT / "myrmidon"), directory, arguments.port_offset)
    try:
        if cluster.call("POST", "/v1/volumes", {"name": "startup", "sizeBytes": arguments.size, "replicas": 3}, at=cluster.names()[0]) is None:
            raise RuntimeError("the volume could not be created")
        wait_for("the volume is in sync", lambda: cluster.in_sync(["startup"]))
        uri, victim = cluster.running()[0]["nbd"] + "/startup", cluster.names()[-1]
        written = 0
        while written < arguments.written:
            part = min(arguments.size, arguments.written - written) >> 20 << 20
            fio("write", uri, arguments.size, 0, ["--bs=128k", "--rw=write" if written == 0 else "--rw=randwrite", "--iodepth=8", f"--io_size={part}"])
            written += part
        wait_for("the volume is in sync", lambda: cluster.in_sync(["startup"]))
        log, at = cluster.log_from(victim)
        pid = cluster.node(victim)["pid"]
        cluster.signal(victim, signal.SIGKILL)
        wait_for(f"{victim} is gone", lambda: not os.path.exists(f"/proc/{pid}"))
        cluster.restart(victim)
        found = wait_for("its store is open", lambda: OPENED.search(log.read_bytes()[at:].decode(errors="replace")))
        return written / 1e9, int(found[1]), int(found[2])
    finally:
        cluster.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=names, default=list(GOALS), help="which, with commas between them; default: all")
    parser.add_argument("--no-jobs", action="store_true", help="only the start-up")
    parser.add_argument("--no-startup", action="store_true", help="only the jobs")
    parser.add_argument("--reps", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of each job")
    parser.add_argument("--size", type=size, default=1 << 30, help="of the file, the store's volume, and the volume of the start-up")
    parser.add_argument("--written", type=size, default=4 << 30, help="before the kill")
    parser.add_argument("--directory", default=None, help="on the disk to try; default: the system's for temporary files")
    parser.add_argument("--port-offset", type=int, default=4300)
    arguments = parser.parse_args()
    print(f"{datetime.date.today().isoformat()}, {machine()}; commit {commit()}; load average at the start {os.getloadavg()[0]:.2f}. {arguments.reps} runs of {arguments.seconds} s each, in turn, "
          f"{arguments.size >> 20} MiB; median (least-greatest), ratios of neighbouring runs.\n")
    is_met = True
    with tempfile.TemporaryDirectory(prefix="myrmidon-engine-", dir=arguments.directory) as place:
        if not arguments.no_jobs:
            runs = measure(Path(place), arguments)
            print("\n".join(rows(runs)))
            is_met &= all(statistics.median(ratios) >= GOALS[job] for job, (_, _, ratios) in runs.items())
        if not arguments.no_startup:
            nodes = Path(place) / "nodes"
            nodes.mkdir()
            gigabytes, again, took = startup(nodes, arguments)
            # All of it grown with what was written is more than it can be: what is read again is bounded.
            at_goal = took / 1e3 * max(1, STARTUP_GOAL_GB / gigabytes)
            verdict = "met, even if all of it grew with what was written" if at_goal <= STARTUP_GOAL_S else "not shown by so little: all of it grown with what was written would be more" if took / 1e3 <= STARTUP_GOAL_S else "missed"
            is_met &= took / 1e3 <= STARTUP_GOAL_S
            print(f"\nStart-up after kill -9, {gigabytes:.1f} GB written to each store: {again} MiB of the log were read again, all took {took} ms, {took / gigabytes:.0f} ms for each GB written "
                  f"(goal: {STARTUP_GOAL_S:g} s after {STARTUP_GOAL_GB} GB: {verdict}).")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
