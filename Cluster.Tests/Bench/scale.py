#!/usr/bin/env python3
"""
How much of everything one cluster takes: times, memory and start-up with many snapshots, many volumes, and one that is far larger than the disks.

    Cluster.Tests/Bench/scale.py                              all parts
    Cluster.Tests/Bench/scale.py --parts snapshots --count 1000
    Cluster.Tests/Bench/scale.py --parts volumes --count 1000 --replicas 1
    Cluster.Tests/Bench/scale.py --parts failover --owned 300 --reps 3

It runs a cluster of three nodes of its own (`myrmidon dev`) in a temporary directory. Times are those of the REST calls, one after the other, in milliseconds; memory is VmRSS of the nodes. The result is a table in Markdown.

volumes    empty volumes: created from the first moment of a new cluster on, and attached and detached, with 10 of them and with all; the CPU of the nodes at rest
snapshots  one volume of three copies; before each snapshot 16 blocks of 4 KiB are written at random
failover   one node owns many volumes, each written to, and is killed (SIGKILL): how long each of a sample of them, written to all the time at a node that survives, does not answer;
           the phases of all takeovers are those that the nodes log (docs/operations.md)
idle       open volumes that nobody uses, each with an NBD connection, in turn to the nodes: CPU and memory of the nodes at several times since the cluster's start, since the runtime
           compiles what is used most once more for minutes
thin       a volume of 250 TiB over what the disk has: created, and written to at its very beginning, middle and end

Needs the packages python3 and python3-libnbd. Exit code 0 when all was made, 1 else, 2 on wrong use.
"""
import argparse
import os
import random
import shutil
import signal
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from failover import PHASES, ROOT, Bench, Cluster, Probe, percentile, wait_for  # noqa: E402

PARTS = ["volumes", "snapshots", "failover", "idle", "thin"]
BLOCK_BYTES = 4096
BLOCKS_BETWEEN = 16
VOLUME_BYTES = 1 << 30
THIN_BYTES = 250 << 40
THIN_REPEATS = 20
FEW = 10
FIRST = 100
ATTACHES = 200
IDLE_S = 10
IDLE_WINDOW_S = 30
# Of the volumes that a killed node owned: so many are written to while it dies.
PROBES = 30
PROBE_PAUSE_S = 0.02
CALLS_AT_ONCE = 16


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


def cpu_percent(cluster, seconds=IDLE_S):
    """Of one core, of each node, over a while in which nothing is asked."""
    def ticks():
        return [sum(int(field) for field in Path(f"/proc/{node['pid']}/stat").read_text().rsplit(")", 1)[1].split()[11:13]) for node in cluster.running()]
    before = ticks()
    time.sleep(seconds)
    return [(after - first) / os.sysconf("SC_CLK_TCK") / seconds * 100 for first, after in zip(before, ticks())]


def create(cluster, name, replicas):
    return timed(lambda: call(cluster, "POST", "/v1/volumes", {"name": name, "sizeBytes": VOLUME_BYTES, "replicas": replicas}))[1]


def attach(cluster, names):
    """Each to the node that is asked, and off again."""
    times = {"attach": [], "detach": []}
    for number in range(ATTACHES):
        name = names[number * 7 % len(names)]
        times["attach"].append(timed(lambda: call(cluster, "POST", f"/v1/volumes/{name}/attach", {"node": cluster.names()[0]}))[1])
        times["detach"].append(timed(lambda: call(cluster, "POST", f"/v1/volumes/{name}/detach"))[1])
    for what, taken in times.items():
        row(f"volume {what}, of {len(names)}", taken)


def volumes(cluster, count, replicas):
    names = [f"v{number}" for number in range(count)]
    few = [create(cluster, name, replicas) for name in names[:FEW]]
    row(f"volume create, the first {len(few)} of a new cluster", few)
    attach(cluster, names[:FEW])
    times = [create(cluster, name, replicas) for name in names[FEW:]]
    row(f"volume create, the next {len(times[:FIRST])}", times[:FIRST])
    if times[FIRST:]:
        row(f"volume create, the next {len(times[FIRST:])}", times[FIRST:])
    attach(cluster, names)
    fact(f"CPU of the nodes at rest with {count} volumes of {replicas} copies: {', '.join(f'{part:.1f}' for part in cpu_percent(cluster))} % of a core")
    row("volume list", [timed(lambda: call(cluster, "GET", "/v1/volumes"))[1] for _ in range(5)])
    fact(f"memory of the nodes with {count} volumes of {replicas} copies: {', '.join(map(str, resident_mib(cluster)))} MiB")
    if replicas > 1:
        restart(cluster, names)
    row("volume delete", [timed(lambda: call(cluster, "DELETE", f"/v1/volumes/{name}"))[1] for name in names])


def give(cluster, names, victim):
    """Has the node own all of them."""
    def given():
        known = cluster.in_sync(names)
        if not known:
            return False
        others = [name for name in names if known[name]["owner"] != victim]
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            list(pool.map(lambda name: cluster.call("POST", f"/v1/volumes/{name}/move", {"node": victim}), others))
        return not others
    wait_for(f"{victim} owns {len(names)} volumes", given, 300)


def write_once(cluster, name, at):
    import nbd
    handle = nbd.NBD()
    handle.connect_uri(f"{cluster.node(at)['nbd']}/{name}")
    handle.pwrite(b"m" * BLOCK_BYTES, 0)
    handle.shutdown()


def takeovers(logs):
    """Of owners; clients tell how long they held and replayed."""
    return [part for part in Bench.parts(logs) if "total" in part]


def failover(cluster, owned, reps, also):
    names = [f"o{number}" for number in range(owned)]
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        list(pool.map(lambda name: create(cluster, name, 3), names))
    for number in range(reps):
        status = wait_for("all nodes are up", lambda: cluster.all_up() and cluster.status())
        leader, placement = status["journalLeader"], status["placementHost"]
        victim = {"journal": leader, "placement": placement}.get(also) or next(name for name in reversed(cluster.names()) if name not in (leader, placement))
        front = next(name for name in cluster.names() if name != victim)
        give(cluster, names, victim)
        with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
            list(pool.map(lambda name: write_once(cluster, name, front), names))
        probes = [Probe(f"{cluster.node(front)['nbd']}/{name}", PROBE_PAUSE_S) for name in names[::max(1, owned // PROBES)]]
        for probe in probes:
            probe.start()
        wait_for("the probes write", lambda: all(len(probe.acks) > 20 or probe.error for probe in probes))
        logs = [cluster.log_from(name) for name in cluster.names()]
        since = time.monotonic()
        cluster.signal(victim, signal.SIGKILL)
        wait_for("all answer again", lambda: all(probe.error or probe.acks[-1] > since + 0.1 for probe in probes))
        wait_for("all have a new owner", lambda: len(takeovers(logs)) >= owned)
        took = time.monotonic() - since
        for probe in probes:
            probe.stop()
        if errors := [str(probe.error) for probe in probes if probe.error]:
            raise RuntimeError(f"a client got an error: {errors[0]}")
        role = "" if also == "nothing" else f" with the {also}"
        row(f"a killed owner of {owned}{role}, {len(probes)} of them without an answer ({number + 1})", [probe.gaps_ms(since)[0] for probe in probes])
        parts = Bench.parts(logs)
        served = len(takeovers(logs))
        found = {phase: [part[phase] for part in parts if phase in part] for phase in PHASES}
        shown = ", ".join(f"{phase} {statistics.median(times):.0f} ({percentile(times, 0.99):.0f})" for phase, times in found.items() if times)
        fact(f"all {served} served again within {took:.1f} s; phases of the takeovers, median (p99), ms: {shown}")
        _, back = timed(lambda: (cluster.restart(victim), wait_for("all is in sync again", lambda: cluster.all_up() and cluster.in_sync(names), 300)))
        fact(f"the killed node is back, with all copies in sync, {back / 1000:.1f} s after its start")
    for name in names:
        call(cluster, "DELETE", f"/v1/volumes/{name}?force=true")


def idle(cluster, count, moments, started):
    import nbd
    handles = []
    for number in range(count):
        call(cluster, "POST", "/v1/volumes", {"name": f"idle{number}", "sizeBytes": VOLUME_BYTES, "replicas": 3})
        handle = nbd.NBD()
        handle.connect_uri(f"{cluster.running()[number % len(cluster.running())]['nbd']}/idle{number}")
        handles.append(handle)
    print(f"\n| {count} open volumes, s since the start | CPU, % of a core, each node | resident, MiB | load average |\n|--:|---|---|--:|", flush=True)
    for moment in moments:
        time.sleep(max(0, started + moment - time.monotonic()))
        begun = time.monotonic() - started
        percents = cpu_percent(cluster, IDLE_WINDOW_S)
        print(f"| {begun:.0f} to {begun + IDLE_WINDOW_S:.0f} | {', '.join(f'{part:.1f}' for part in percents)} | {', '.join(map(str, resident_mib(cluster)))} | {os.getloadavg()[0]:.1f} |", flush=True)
    for handle in handles:
        handle.shutdown()
    for number in range(count):
        call(cluster, "DELETE", f"/v1/volumes/idle{number}?force=true")


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
    parser.add_argument("--owned", type=int, default=300, help="volumes of the node that is killed; default: 300")
    parser.add_argument("--reps", type=int, default=3, help="times that it is killed; default: 3")
    parser.add_argument("--also", choices=["nothing", "journal", "placement"], default="nothing", help="what the node that is killed is beside: the journal's leader, or placement's and the shard coordinator's host; default: nothing")
    parser.add_argument("--open", type=int, default=100, help="volumes of the part idle; default: 100")
    parser.add_argument("--moments", default="30,120,300", help="of the part idle: seconds since the cluster's start at which a look begins, rising; default: 30,120,300")
    parser.add_argument("--settle", type=float, default=0, help="seconds between the cluster's formation and the first call; default: 0")
    options = parser.parse_args()
    parts = options.parts.split(",")
    moments = [int(moment) for moment in options.moments.split(",") if moment.isdecimal()]
    if len(moments) != options.moments.count(",") + 1 or moments != sorted(moments):
        parser.error(f"--moments is {options.moments}; it must be whole seconds, rising, with commas between them, like 30,120,300")
    if any(part not in PARTS for part in parts) or min(options.count, options.owned, options.reps, options.open) < 1:
        parser.error(f"parts are {', '.join(PARTS)}, and all numbers are at least 1")
    directory = tempfile.mkdtemp(prefix="myrmidon-scale-")
    cluster = Cluster(os.environ.get("MYRMIDON", str(ROOT / "myrmidon")), directory, 0)
    try:
        started = time.monotonic()
        time.sleep(options.settle)
        print("| what | times | median, ms | p99, ms | max, ms |\n|---|--:|--:|--:|--:|", flush=True)
        if "volumes" in parts:
            volumes(cluster, options.count, options.replicas)
        if "snapshots" in parts:
            snapshots(cluster, options.count)
        if "failover" in parts:
            failover(cluster, options.owned, options.reps, options.also)
        if "idle" in parts:
            idle(cluster, options.open, moments, started)
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
