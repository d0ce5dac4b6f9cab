#!/usr/bin/env python3
"""
How much of everything one cluster takes: times, memory and start-up with many snapshots, many volumes, and one that is far larger than the disks.

    Cluster.Tests/Bench/scale.py                              all three parts
    Cluster.Tests/Bench/scale.py --parts snapshots --count 1000
    Cluster.Tests/Bench/scale.py --parts volumes --count 1000 --replicas 1

It runs a cluster of three nodes of its own (`myrmidon dev`) in a temporary directory. Times are those of the REST calls, one after the other, in milliseconds; memory is VmRSS of the nodes. The result is a table in Markdown.

snapshots  one volume of three copies; before each snapshot 16 blocks of 4 KiB are written at random
volumes    empty volumes
thin       a volume of 250 TiB over what the disk has: created, and written to at its very beginning, middle and end

Needs the packages python3 and python3-libnbd. Exit code 0 when all was made, 1 else, 2 on wrong use.
"""
import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from failover import ROOT, Cluster, wait_for  # noqa: E402

PARTS = ["snapshots", "volumes", "thin"]
BLOCK_BYTES = 4096
BLOCKS_BETWEEN = 16
VOLUME_BYTES = 1 << 30
THIN_BYTES = 250 << 40
THIN_REPEATS = 20


def timed(work):
    before = time.monotonic()
    answer = work()
    return answer, (time.monotonic() - before) * 1000


def resident_mib(cluster):
    sizes = []
    for node in cluster.running():
        lines = Path(f"/proc/{node['pid']}/status").read_text().splitlines()
        sizes.append(int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) // 1024)
    return sizes


def row(what, times):
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"| {what} | {len(ordered)} | {statistics.median(ordered):.1f} | {p99:.1f} | {ordered[-1]:.1f} |", flush=True)


def fact(text):
    print(f"- {text}", flush=True)


def call(cluster, method, path, body=None):
    answer = cluster.call(method, path, body, at=cluster.names()[0], timeout=60)
    # A deletion is answered without a body.
    if answer is None:
        raise RuntimeError(f"{method} {path} failed")
    return answer


def snapshots(cluster, count):
    import nbd
    call(cluster, "POST", "/v1/volumes", {"name": "many", "sizeBytes": VOLUME_BYTES, "replicas": 3})
    handle = nbd.NBD()
    handle.connect_uri(f"{cluster.running()[0]['nbd']}/many")
    dice = random.Random(1)
    created = []
    for number in range(count):
        for _ in range(BLOCKS_BETWEEN):
            handle.pwrite(dice.randbytes(BLOCK_BYTES), dice.randrange(VOLUME_BYTES // BLOCK_BYTES) * BLOCK_BYTES)
        created.append(timed(lambda: call(cluster, "POST", "/v1/volumes/many/snapshots", {"name": f"s{number}"}))[1])
    row("snapshot create", created)
    row("snapshot list", [timed(lambda: call(cluster, "GET", "/v1/volumes/many/snapshots"))[1] for _ in range(10)])
    fact(f"memory of the nodes with {count} snapshots: {', '.join(map(str, resident_mib(cluster)))} MiB")
    restart(cluster, ["many"])
    row("snapshot delete", [timed(lambda: call(cluster, "DELETE", f"/v1/volumes/many/snapshots/s{number}"))[1] for number in range(count)])
    handle.shutdown()
    call(cluster, "DELETE", "/v1/volumes/many?force=true")


def restart(cluster, volumes):
    """Of the node that is asked: from the start of its process until all volumes are in sync on it again."""
    name = cluster.names()[-1]
    cluster.dev("kill", name)
    _, took = timed(lambda: (cluster.restart(name), wait_for("all is in sync again", lambda: cluster.all_up() and cluster.in_sync(volumes), 300)))
    fact(f"a killed node is back, with all copies in sync, {took / 1000:.1f} s after its start")


def volumes(cluster, count, replicas):
    names = [f"v{number}" for number in range(count)]
    row("volume create", [timed(lambda: call(cluster, "POST", "/v1/volumes", {"name": name, "sizeBytes": VOLUME_BYTES, "replicas": replicas}))[1] for name in names])
    row("volume list", [timed(lambda: call(cluster, "GET", "/v1/volumes"))[1] for _ in range(5)])
    fact(f"memory of the nodes with {count} volumes of {replicas} copies: {', '.join(map(str, resident_mib(cluster)))} MiB")
    if replicas > 1:
        restart(cluster, names)
    row("volume delete", [timed(lambda: call(cluster, "DELETE", f"/v1/volumes/{name}"))[1] for name in names])


def thin(cluster):
    import nbd
    times = []
    for number in range(THIN_REPEATS):
        times.append(timed(lambda: call(cluster, "POST", "/v1/volumes", {"name": f"thin{number}", "sizeBytes": THIN_BYTES, "replicas": 3}))[1])
    row("create 250 TiB", times)
    handle = nbd.NBD()
    handle.connect_uri(f"{cluster.running()[0]['nbd']}/thin0")
    block = b"m" * BLOCK_BYTES
    for offset in (0, THIN_BYTES // 2, THIN_BYTES - BLOCK_BYTES):
        handle.pwrite(block, offset)
    handle.flush()
    if any(bytes(handle.pread(BLOCK_BYTES, offset)) != block for offset in (0, THIN_BYTES // 2, THIN_BYTES - BLOCK_BYTES)):
        raise RuntimeError("what was written is not what is read")
    handle.shutdown()
    shown = call(cluster, "GET", "/v1/volumes/thin0")
    fact(f"a volume of {shown['sizeBytes'] >> 40} TiB, written at its beginning, middle and end: {shown['usedBytes']} bytes used, {shown['storedBytes']} on each copy")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS), help=f"which, with commas between them, from: {', '.join(PARTS)}")
    parser.add_argument("--count", type=int, default=1000, help="snapshots and volumes; default: 1000")
    parser.add_argument("--replicas", type=int, default=3, help="copies of each of the many volumes; default: 3")
    options = parser.parse_args()
    parts = options.parts.split(",")
    if any(part not in PARTS for part in parts) or options.count < 1:
        parser.error(f"parts are {', '.join(PARTS)}, and the count is at least 1")
    directory = tempfile.mkdtemp(prefix="myrmidon-scale-")
    cluster = Cluster(os.environ.get("MYRMIDON", str(ROOT / "myrmidon")), directory, 0)
    try:
        print("| what | times | median, ms | p99, ms | max, ms |\n|---|--:|--:|--:|--:|", flush=True)
        if "snapshots" in parts:
            snapshots(cluster, options.count)
        if "volumes" in parts:
            volumes(cluster, options.count, options.replicas)
        if "thin" in parts:
            thin(cluster)
        return 0
    except RuntimeError as error:
        print(f"scale: {error}", file=sys.stderr)
        return 1
    finally:
        cluster.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
