#!/usr/bin/env python3
"""
Measures how steady the latency of writes is while a cluster does what it has to do besides: beside the same job on a raw file on the same disk.

    Cluster.Tests/Bench/steady.py                              every disturbance, 30 s each
    Cluster.Tests/Bench/steady.py --disturb rebuild --seconds 60

It runs a cluster of three nodes of its own (`myrmidon dev`) in a temporary directory and writes 4 KiB blocks at random through NBD, at the depth that --depth says.
Goal: p99.9 of no more than the greater of 100 ms and three times the raw file's.

disturbances:
  none      nothing but the job: segments roll, checkpoints are written, garbage is collected
  cleaning  the pool is nearly full (--capacity 6 x the volume, filled to 85 %), so that the cleaner works for every write
  rebuild   a node that holds a copy is killed after a fifth of the time and started again after two fifths
  flood     another volume is written at depth 128 through eight connections at the same time

Needs the packages fio, python3, libnbd-bin and python3-libnbd. Exit code 0 when every p99.9 is within the goal, 1 else, 2 on wrong use.
"""
import argparse
import datetime
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from compare import commit, fio, machine  # noqa: E402
from failover import ROOT, Cluster, wait_for  # noqa: E402

DISTURBANCES = ["none", "cleaning", "rebuild", "flood"]
FLOOR_US, TIMES_RAW = 100_000, 3
FLOOD_CONNECTIONS, FLOOD_DEPTH = 8, 16
# Of the latency histogram, in us.
EDGES = [500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000]


def job(target, arguments):
    return fio("steady", target, arguments.size, arguments.seconds, ["--rw=randwrite", "--bs=4k", f"--iodepth={arguments.depth}"])


def raw(directory, arguments):
    path = Path(directory) / "raw"
    engine = ["--ioengine=libaio", f"--filename={path}"]
    fio("fill", engine, arguments.size, 0, ["--rw=write", "--bs=1M"])
    run = job(engine, arguments)
    path.unlink()
    return run


def created(cluster, name, bytes):
    if cluster.call("POST", "/v1/volumes", {"name": name, "sizeBytes": bytes, "replicas": 3}, at=cluster.names()[0]) is None:
        raise RuntimeError(f"the volume {name} could not be created")
    wait_for(f"{name} is in sync", lambda: cluster.in_sync([name]))


def rebuild(cluster, seconds):
    """Kills a copy that neither owns the volume nor serves the client, and brings it back."""
    owner = cluster.volume("steady")["owner"]
    victim = next(node["name"] for node in cluster.running()[1:] if node["name"] != owner)
    time.sleep(seconds / 5)
    cluster.signal(victim, signal.SIGKILL)
    time.sleep(seconds / 5)
    cluster.restart(victim)


def flood(cluster, seconds, size):
    uri = cluster.running()[0]["nbd"] + "/other"
    return subprocess.Popen(["fio", "--name=flood", "--ioengine=nbd", f"--uri={uri}", f"--size={size}", "--rw=randwrite", "--bs=4k", f"--iodepth={FLOOD_DEPTH}",
                             f"--numjobs={FLOOD_CONNECTIONS}", "--time_based", f"--runtime={seconds + 2}"], stdout=subprocess.DEVNULL)


def measure(kind, arguments, directory):
    settings = f"myrmidon.capacity = {6 * arguments.size}B\n" if kind == "cleaning" else ""
    place = Path(directory) / kind
    place.mkdir()
    cluster = Cluster(str(ROOT / "myrmidon"), place, arguments.port_offset, settings)
    try:
        created(cluster, "steady", arguments.size)
        uri = cluster.running()[0]["nbd"] + "/steady"
        fio("fill", uri, arguments.size, 0, ["--rw=write", "--bs=1M", "--iodepth=8"])
        if kind == "cleaning":
            ballast = (int(6 * arguments.size * 0.85) - arguments.size) >> 20 << 20
            created(cluster, "ballast", ballast)
            fio("fill", cluster.running()[0]["nbd"] + "/ballast", ballast, 0, ["--rw=write", "--bs=1M", "--iodepth=8"])
            # Until the pool has no free segment left that was never used.
            fio("wear", uri, arguments.size, 20, ["--rw=randwrite", "--bs=4k", f"--iodepth={arguments.depth}"])
        beside = None
        if kind == "flood":
            created(cluster, "other", arguments.size)
            beside = flood(cluster, arguments.seconds, arguments.size)
        if kind == "rebuild":
            beside = threading.Thread(target=rebuild, args=(cluster, arguments.seconds))
            beside.start()
        run = job(uri, arguments)
        if kind == "flood":
            beside.wait(60)
        if kind == "rebuild":
            beside.join(120)
            wait_for("the copy is in sync again", lambda: cluster.in_sync(["steady"]))
        return run
    finally:
        cluster.stop()


def row(kind, run, limit):
    goal = "-" if limit is None else f"{limit / 1e3:,.0f}: {'met' if run['p999'] <= limit else 'missed'}"
    return f"| {kind} | {run['iops']:,.0f} | " + " | ".join(f"{run[key] / 1e3:,.2f}" for key in ("p50", "p99", "p999", "max")) + f" | {goal} |"


def histogram(runs):
    """Shares of the writes by latency; fio's bins are in ns."""
    names = [f"<= {edge / 1e3:g}" for edge in EDGES] + ["more"]
    rows = ["| ms | " + " | ".join(runs) + " |", "|---" * (len(runs) + 1) + "|"]
    counts = {}
    for kind, run in runs.items():
        counts[kind] = [0] * len(names)
        for bin, count in run["bins"].items():
            counts[kind][next((index for index, edge in enumerate(EDGES) if int(bin) <= edge * 1000), len(EDGES))] += count
    for index, name in enumerate(names):
        rows.append(f"| {name} | " + " | ".join(f"{100 * counts[kind][index] / max(1, sum(counts[kind])):.4f} %" for kind in runs) + " |")
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--disturb", default=",".join(DISTURBANCES), help="which, with commas between them; default: all")
    parser.add_argument("--seconds", type=int, default=30, help="of each job; default: 30")
    parser.add_argument("--depth", type=int, default=8, help="I/Os at one time; default: 8")
    parser.add_argument("--size", type=int, default=512 << 20, help="bytes that the job works on; default: 512 MiB")
    parser.add_argument("--port-offset", type=int, default=0, help="added to every port of the cluster; default: 0")
    arguments = parser.parse_args()
    kinds = [kind for kind in arguments.disturb.split(",") if kind]
    for kind in kinds:
        if kind not in DISTURBANCES:
            parser.error(f"'{kind}' is not a disturbance: use some of {', '.join(DISTURBANCES)}")
    if min(arguments.seconds, arguments.depth, arguments.size) < 1:
        parser.error("--seconds, --depth and --size must be at least 1")
    load, runs = os.getloadavg()[0], {}
    with tempfile.TemporaryDirectory(prefix="myrmidon-steady-") as directory:
        try:
            runs["raw file"] = raw(directory, arguments)
            for kind in kinds:
                print(f"measuring: {kind}", file=sys.stderr)
                runs[kind] = measure(kind, arguments, directory)
        except RuntimeError as error:
            print(f"steady: {error}", file=sys.stderr)
            return 1
    limit = max(FLOOR_US, TIMES_RAW * runs["raw file"]["p999"])
    print(f"`Cluster.Tests/Bench/steady.py {' '.join(sys.argv[1:])}`, {datetime.date.today().isoformat()}, {machine()}; commit {commit()}; load average at the start {load:.2f}.\n")
    print("| beside it | IOPS | p50, ms | p99, ms | p99.9, ms | longest, ms | goal of p99.9, ms |\n|---|--:|--:|--:|--:|--:|---|")
    for kind, run in runs.items():
        print(row(kind, run, None if kind == "raw file" else limit))
    print("\nShares of the writes by latency:\n")
    print("\n".join(histogram(runs)))
    return 0 if all(run["p999"] <= limit for kind, run in runs.items() if kind != "raw file") else 1


if __name__ == "__main__":
    sys.exit(main())
