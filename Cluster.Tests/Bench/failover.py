#!/usr/bin/env python3
"""
Measures how long clients of a volume wait when a node dies, hangs, is drained, is stopped in order, or a volume is moved.

    Cluster.Tests/Bench/failover.py                                  every fault in every role, 20 times each (an hour)
    Cluster.Tests/Bench/failover.py --faults kill --roles owner --reps 5
    Cluster.Tests/Bench/failover.py --faults kill,drain --roles owner --volumes 100 --reps 5

It runs a cluster of three nodes of its own (`myrmidon dev`) in a temporary directory, writes 4 KiB blocks one after the other through NBD at
a node that survives, and takes the longest time between two acknowledgements. `again` is the longest one after that: the fault's echo,
and the node's return. The parts are what the nodes logged about each takeover (docs/operations.md), in milliseconds; each is a median of its
own, so that they need not add up. The result is a table in Markdown.

faults: kill (SIGKILL), hang (SIGSTOP), term (SIGTERM, a planned stop), move (volume move), drain (node drain)
roles:  owner, replica, journal (leader), placement (singletons' host and shard coordinator), all (the four of them in one node)

Needs the packages python3 and python3-libnbd. Exit code 0 when every median is within its budget and no client got an error, 1 else, 2 on wrong use.
"""
import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FAULTS = ["kill", "hang", "term", "move", "drain"]
ROLES = ["owner", "replica", "journal", "placement", "all"]
BUDGET_MS = {"kill": 3000, "hang": 8000, "term": 200, "move": 200, "drain": 200}
PHASES = ["detect", "down", "shard", "recover", "claim", "promise", "align", "open", "stamp", "lease", "total", "held", "replay"]
BLOCK_BYTES = 4096
WAIT_S = 120.0
SETTLE_S = 4.0
# A move counts as made when the cluster looks next, once a second; a node that is struck before that gets the volume back when it returns.
MOVE_MADE_S = 2.0
ARRANGE_MAX = 30


def wait_for(what, condition, seconds=WAIT_S, pause=0.1):
    """The condition's first true answer; fails loudly when there is none in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = condition()
        if found:
            return found
        time.sleep(pause)
    raise RuntimeError(f"waited {seconds:.0f} s in vain until {what}")


class Cluster:
    """`myrmidon dev` as a child, and its REST API at any node that answers."""

    def __init__(self, program, directory, offset, settings=""):
        self.program, self.directory = program, Path(directory)
        self.log = open(self.directory / "dev.log", "w")
        # Owners stay where a fault is to find them.
        (Path(directory) / "node.conf").write_text("myrmidon.locality-settle = 1h\n" + settings)
        self.process = subprocess.Popen([program, "dev", "--nodes", "3", "--data", str(directory), "--port-offset", str(offset)],
                                        stdout=self.log, stderr=self.log)
        try:
            wait_for("the cluster is healthy", self.running)
        except RuntimeError:
            self.stop()
            raise

    def running(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"dev ended: {(self.directory / 'dev.log').read_text()}")
        try:
            return json.loads((self.directory / "cluster.json").read_text())["nodes"]
        except (FileNotFoundError, ValueError):
            return None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()

    def names(self):
        return [node["name"] for node in self.running()]

    def node(self, name):
        return next(node for node in self.running() if node["name"] == name)

    def call(self, method, path, body=None, at=None, timeout=40):
        """What the API answers, or None; `at` names a node, else the first that answers."""
        for node in self.running():
            if node["pid"] is None or (at is not None and node["name"] != at):
                continue
            request = urllib.request.Request(node["api"] + path, method=method, data=json.dumps(body or {}).encode() if method != "GET" else None,
                                             headers={"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=timeout) as answer:
                    return json.loads(answer.read() or b"{}")
            except urllib.error.HTTPError as error:
                if at is not None:
                    print(f"  {method} {path}: {error.code} {error.read().decode()[:300]}", file=sys.stderr)
            except (urllib.error.URLError, OSError, ValueError):
                pass
        return None

    def status(self):
        return self.call("GET", "/v1/status", timeout=10)

    def volume(self, name, at=None):
        return self.call("GET", f"/v1/volumes/{name}", at=at, timeout=10)

    def in_sync(self, volumes):
        listed = self.call("GET", "/v1/volumes", timeout=30)
        known = {volume["name"]: volume for volume in listed or []}
        return all(name in known and known[name]["state"] == "healthy" and known[name]["owner"] for name in volumes) and known

    def all_up(self):
        listed = self.call("GET", "/v1/nodes", timeout=10)
        status = self.status()
        return listed and all(node["state"] == "up" for node in listed) and status and status["journalLeader"] and status["placementHost"]

    def dev(self, *arguments):
        subprocess.run([self.program, "dev", *arguments, "--data", str(self.directory)], check=True, capture_output=True, timeout=120)

    def restart(self, name):
        self.dev("start", name)

    def signal(self, name, number):
        os.kill(self.node(name)["pid"], number)

    def log_from(self, name):
        path = self.directory / f"{name}.log"
        return path, path.stat().st_size if path.exists() else 0


class Probe(threading.Thread):
    """Writes one block after the other, each when the one before was acknowledged; remembers when."""

    def __init__(self, uri, pause_s):
        super().__init__(daemon=True)
        import nbd
        self.handle = nbd.NBD()
        self.handle.connect_uri(uri)
        self.pause_s = pause_s
        self.acks = []
        self.error = None
        self.ended = threading.Event()

    def run(self):
        block, number = bytearray(os.urandom(BLOCK_BYTES)), 0
        try:
            while not self.ended.is_set():
                block[0:8] = number.to_bytes(8, "little")
                self.handle.pwrite(bytes(block), (number % 256) * BLOCK_BYTES)
                self.acks.append(time.monotonic())
                number += 1
                time.sleep(self.pause_s)
        except Exception as error:  # reported with the repetition
            self.error = error

    def stop(self):
        self.ended.set()
        self.join(WAIT_S)
        if not self.is_alive():
            self.handle.shutdown()

    def gaps_ms(self, since):
        """The longest pause that ended after `since`, and the longest one after that."""
        acks = [at for at in list(self.acks) if at > since - 1.0]
        gaps = [(after - before, after) for before, after in zip(acks, acks[1:]) if after > since]
        if not gaps:
            return 0.0, 0.0
        longest = max(gaps)
        return longest[0] * 1000, max((gap for gap in gaps if gap[1] > longest[1]), default=(0, 0))[0] * 1000


class Bench:
    def __init__(self, cluster, volumes, pause_s):
        self.cluster, self.pause_s = cluster, pause_s
        self.volumes = [f"v{index}" for index in range(volumes)]
        for name in self.volumes:
            made = lambda name=name: cluster.call("POST", "/v1/volumes", {"name": name, "sizeBytes": 64 << 20, "replicas": 3})
            wait_for(f"volume {name} is made", made)
        self.settle()

    def settle(self):
        wait_for("all nodes are up", self.cluster.all_up)
        wait_for("all volumes are in sync", lambda: self.cluster.in_sync(self.volumes))

    def arrange(self, role):
        """Makes one node have just that role, as far as three nodes allow it, and answers its name."""
        for _ in range(ARRANGE_MAX):
            self.settle()
            status = self.cluster.status()
            leader, placement = status["journalLeader"], status["placementHost"]
            if role == "all" and leader == placement:
                return self.own(leader, True)
            if role == "journal" and leader != placement:
                return self.own(leader, False)
            if role == "placement" and leader != placement:
                return self.own(placement, False)
            if role in ("owner", "replica"):
                free = next(name for name in self.cluster.names() if name not in (leader, placement))
                return self.own(free, role == "owner")
            # The singletons' host is the oldest node: restarting it makes the others older. Who leads the journal next is drawn.
            again = placement if role == "all" else leader
            self.cluster.dev("kill", again)
            self.cluster.restart(again)
        raise RuntimeError(f"no arrangement for the role {role} came about in {ARRANGE_MAX} restarts")

    def own(self, victim, owns):
        """Moves every volume to the victim, or away from it."""
        others = [name for name in self.cluster.names() if name != victim]
        for index, name in enumerate(self.volumes):
            target = victim if owns else others[index % 2]

            def moved(name=name, target=target):
                volume = self.cluster.volume(name)
                if volume and (volume["owner"] == target if owns else volume["owner"] not in (None, victim)):
                    return True
                self.cluster.call("POST", f"/v1/volumes/{name}/move", {"node": target})
                return False
            wait_for(f"{name} is owned by {target}", moved)
        time.sleep(MOVE_MADE_S)
        self.settle()
        return victim

    def once(self, fault, role, front):
        victim = self.arrange(role)
        others = [name for name in self.cluster.names() if name != victim]
        at = others[front % 2]
        probes = [Probe(f"{self.cluster.node(at)['nbd']}/{name}", self.pause_s) for name in self.volumes]
        for probe in probes:
            probe.start()
        wait_for("the probes write", lambda: all(len(probe.acks) > 20 or probe.error for probe in probes))
        logs = [self.cluster.log_from(name) for name in self.cluster.names()]
        since = time.monotonic()
        try:
            self.strike(fault, victim, others, at)
            wait_for("I/O goes on", lambda: all(probe.error or (probe.acks[-1] > since + 0.01) for probe in probes))
            time.sleep(SETTLE_S)
            wait_for("I/O goes on", lambda: all(probe.error or time.monotonic() - probe.acks[-1] < 1 for probe in probes))
            parts = self.parts(logs)
            self.mend(fault, victim)
            self.settle()
        finally:
            for probe in probes:
                probe.stop()
        gaps = [probe.gaps_ms(since) for probe in probes]
        errors = [str(probe.error) for probe in probes if probe.error]
        return max(gap[0] for gap in gaps), max(gap[1] for gap in gaps), errors, parts

    def strike(self, fault, victim, others, at):
        if fault == "kill":
            self.cluster.signal(victim, signal.SIGKILL)
        elif fault == "hang":
            self.cluster.signal(victim, signal.SIGSTOP)
        elif fault == "term":
            self.cluster.signal(victim, signal.SIGTERM)
        elif fault == "move":
            for name in self.volumes:
                self.cluster.call("POST", f"/v1/volumes/{name}/move", {"node": others[0]}, at=at)
        else:
            self.cluster.call("POST", f"/v1/nodes/{victim}/drain", {}, at=at, timeout=120)

    def mend(self, fault, victim):
        pid = self.cluster.node(victim)["pid"]
        if fault == "hang":
            self.cluster.signal(victim, signal.SIGCONT)
            wait_for("the hung node came back or ended", lambda: not alive(pid) or self.cluster.all_up())
        if fault == "drain":
            self.cluster.call("POST", f"/v1/nodes/{victim}/uncordon")
        if fault == "term":
            wait_for("the node stopped", lambda: not alive(pid))
        if fault != "move" and not alive(pid):
            wait_for("the node starts again", lambda: self.try_restart(victim))

    def try_restart(self, victim):
        try:
            self.cluster.restart(victim)
            return True
        except subprocess.CalledProcessError:
            return False

    @staticmethod
    def parts(logs):
        """The phases of each takeover that the nodes logged since."""
        found = []
        for path, start in logs:
            with open(path, errors="replace") as log:
                log.seek(start)
                for line in log:
                    if "failover:" in line:
                        found.append({key: float(value) for key, value in re.findall(r"(\w+) (\d+(?:\.\d+)?) ms", line)})
        return found


def alive(pid):
    """Whether that process runs: one that ended and was not waited for yet does not."""
    try:
        return pid is not None and Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def percentile(values, part):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--roles", default=",".join(ROLES))
    parser.add_argument("--reps", type=int, default=20)
    parser.add_argument("--volumes", type=int, default=1)
    parser.add_argument("--pause-ms", type=float, default=None, help="between two writes of a probe; default 2, with many volumes one per volume")
    parser.add_argument("--port-offset", type=int, default=2000)
    parser.add_argument("--program", default=str(ROOT / "myrmidon"))
    parser.add_argument("--keep", action="store_true", help="keep the directory with the logs")
    options = parser.parse_args()
    faults, roles = options.faults.split(","), options.roles.split(",")
    for name, known in [(fault, FAULTS) for fault in faults] + [(role, ROLES) for role in roles]:
        if name not in known:
            parser.error(f"'{name}' is not known: use one of {', '.join(known)}")
    pause_s = (options.pause_ms if options.pause_ms is not None else max(2.0, float(options.volumes))) / 1000
    directory = tempfile.mkdtemp(prefix="myrmidon-failover-")
    cluster = Cluster(options.program, directory, options.port_offset)
    late = []
    try:
        bench = Bench(cluster, options.volumes, pause_s)
        print(f"Longest time in ms between two acknowledged writes; volumes: {options.volumes}, repetitions: {options.reps}\n")
        print("| fault | role | median | p95 | max | again | errors | " + " | ".join(PHASES) + " |")
        print("|---|---|" + "--:|" * (len(PHASES) + 5), flush=True)
        for fault in faults:
            for role in roles:
                if fault in ("move", "drain") and role not in ("owner", "all"):
                    continue
                results = [bench.once(fault, role, number) for number in range(options.reps)]
                gaps = [result[0] for result in results]
                parts = [part for result in results for part in result[3]]
                found = {phase: [part[phase] for part in parts if phase in part] for phase in PHASES}
                errors = [error for result in results for error in result[2]]
                median = statistics.median(gaps)
                if median >= BUDGET_MS[fault]:
                    late.append(f"{fault} {role}: {median:.0f} ms is over the budget of {BUDGET_MS[fault]} ms")
                shown = " | ".join(f"{statistics.median(found[phase]):.0f}" if found[phase] else "-" for phase in PHASES)
                print(f"| {fault} | {role} | {median:.0f} | {percentile(gaps, 0.95):.0f} | {max(gaps):.0f} | "
                      f"{statistics.median(result[1] for result in results):.0f} | {len(errors)} | {shown} |", flush=True)
                late += [f"{fault} {role}: a client got an error: {error}" for error in errors[:3]]
    finally:
        cluster.stop()
        if options.keep:
            print(f"logs are in {directory}")
        else:
            shutil.rmtree(directory)
    for line in late:
        print(line)
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
