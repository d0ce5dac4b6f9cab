#!/usr/bin/env python3
"""
Writes to a volume of three copies through its device on a host while nodes are killed and come back, and then reads every block through each copy.

    Cluster.Tests/Bench/device.py                     20 rounds: the owner or a replica is killed, comes back, and catches up under the load
    Cluster.Tests/Bench/device.py --all --rounds 10   all nodes and what serves the device are killed at once

It runs a cluster of three nodes of its own (`myrmidon dev`) in a temporary directory. Eight threads, each with a range of its own, write 4 to 64 KiB around the page cache (O_DIRECT), zero ranges, and read
back what they wrote. Each block has its place and a number that only grows: one that is not the last that was answered, nor one that was never answered, is told with both, and ends the run.

Runs as root; needs the package fuse3. Exit code 0 when no block was missing, old or foreign and no request met an error before all was killed, 1 else, 2 on wrong use.
"""
import argparse
import fcntl
import json
import mmap
import os
import random
import shutil
import signal
import struct
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from databases import Disk, VOLUME  # noqa: E402
from failover import ROOT, Cluster, alive, wait_for  # noqa: E402

THREADS = 8
BLOCK_BYTES = 4096
# Of each thread's range.
BLOCKS = 2048
BLOCKS_MAX = 16
BLKZEROOUT = 0x127F
STOP_S = 60


class Range:
    """What one thread may find in its blocks: what was answered last, and whatever was asked for since."""

    def __init__(self, number):
        self.first, self.numbers, self.may_be, self.done, self.error = number * BLOCKS, 0, {}, 0, None
        self.stopped, self.wrong = threading.Event(), []

    def offset(self, block):
        return (self.first + block) * BLOCK_BYTES

    def look(self, block, content):
        found, place = struct.unpack_from("QQ", content)
        expected = self.may_be.get(block, [0])
        if found not in expected or content != content[:16] * (BLOCK_BYTES // 16) or (found and place != self.first + block):
            self.wrong.append(f"block {self.first + block} has number {found} of block {place}; it should have {' or '.join(map(str, expected))}")
        return found

    def work(self, device):
        drawn, buffer = random.Random(), mmap.mmap(-1, BLOCKS_MAX * BLOCK_BYTES)
        file = os.open(device, os.O_RDWR | os.O_DIRECT)
        try:
            while not self.stopped.is_set() and not self.wrong:
                count = drawn.choice([1, 4, 4, 8, BLOCKS_MAX])
                first = drawn.randrange(0, BLOCKS - count + 1)
                blocks = range(first, first + count)
                kind = drawn.random()
                if kind < 0.3:
                    os.preadv(file, [memoryview(buffer)[:count * BLOCK_BYTES]], self.offset(first))
                    for at, block in enumerate(blocks):
                        self.look(block, buffer[at * BLOCK_BYTES:(at + 1) * BLOCK_BYTES])
                else:
                    self.change(file, buffer, blocks, zeroes=kind > 0.93)
                self.done += 1
        except OSError as error:
            self.error = error
        finally:
            os.close(file)

    def change(self, file, buffer, blocks, zeroes):
        self.numbers += 1
        number = 0 if zeroes else self.numbers
        for block in blocks:
            self.may_be.setdefault(block, [0]).append(number)
        if zeroes:
            fcntl.ioctl(file, BLKZEROOUT, struct.pack("QQ", self.offset(blocks[0]), len(blocks) * BLOCK_BYTES))
        else:
            for at, block in enumerate(blocks):
                buffer[at * BLOCK_BYTES:(at + 1) * BLOCK_BYTES] = struct.pack("QQ", number, self.first + block) * (BLOCK_BYTES // 16)
            os.pwrite(file, memoryview(buffer)[:len(blocks) * BLOCK_BYTES], self.offset(blocks[0]))
        for block in blocks:
            self.may_be[block] = [number]

    def read_all(self, device):
        """What a block has is what it is to have from then on."""
        buffer, order = mmap.mmap(-1, 4 * BLOCK_BYTES), list(range(0, BLOCKS, 4))
        random.shuffle(order)
        file = os.open(device, os.O_RDONLY | os.O_DIRECT)
        for first in order:
            os.preadv(file, [buffer], self.offset(first))
            for at in range(4):
                self.may_be[first + at] = [self.look(first + at, buffer[at * BLOCK_BYTES:(at + 1) * BLOCK_BYTES])]
        os.close(file)


class Load:
    def __init__(self, device, ranges):
        self.ranges = ranges
        self.threads = [threading.Thread(target=each.work, args=(device,), daemon=True) for each in ranges]
        for each in ranges:
            each.stopped.clear()
        for thread in self.threads:
            thread.start()

    def stop(self):
        for each in self.ranges:
            each.stopped.set()
        for thread in self.threads:
            thread.join(STOP_S)
            if thread.is_alive():
                raise RuntimeError(f"a request is not answered within {STOP_S} s")


def errors(ranges):
    return [f"a request failed: {each.error}" for each in ranges if each.error]


def in_sync(cluster):
    wait_for("the copies are in sync", lambda: cluster.in_sync([VOLUME]))


def move(cluster, node):
    def moved():
        if (cluster.volume(VOLUME) or {}).get("owner") == node:
            return True
        cluster.call("POST", f"/v1/volumes/{VOLUME}/move", {"node": node})
        return None
    in_sync(cluster)
    wait_for(f"{node} owns {VOLUME}", moved, pause=0.3)


def one_dies(cluster, disk, load):
    """The owner or a replica, on another node than the device's, whose requests go on; what was wrong."""
    others = [name for name in cluster.names() if name != disk.front]
    move(cluster, random.choice(others))
    victim = random.choice(others)
    role = "owner" if (cluster.volume(VOLUME) or {}).get("owner") == victim else "replica"
    cluster.signal(victim, signal.SIGKILL)
    time.sleep(random.choice([0.2, 1, 3, 5]))
    cluster.restart(victim)
    in_sync(cluster)
    time.sleep(random.random())
    load.stop()
    return f"{victim} ({role})", errors(load.ranges)


def all_die(cluster, disk, load):
    time.sleep(3 + 3 * random.random())
    met = errors(load.ranges)
    nodes = [cluster.node(name)["pid"] for name in cluster.names()]
    for pid in nodes:
        os.kill(pid, signal.SIGKILL)
    gone = [*nodes, *disk.kill()]
    wait_for("everything has ended", lambda: not any(alive(pid) for pid in gone))
    load.stop()
    for each in load.ranges:
        each.error = None
    with ThreadPoolExecutor() as pool:
        # At once: one alone has no majority to become healthy with.
        list(pool.map(cluster.restart, cluster.names()))
    return "all", met


def run_rounds(cluster, arguments):
    if not cluster.call("POST", "/v1/volumes", {"name": VOLUME, "sizeBytes": THREADS * BLOCKS * BLOCK_BYTES, "replicas": 3}):
        raise RuntimeError("the volume was not created")
    disk, ranges = Disk(cluster, arguments, None, "ext4"), [Range(number) for number in range(THREADS)]
    wrong = []
    try:
        for number in range(1, arguments.rounds + 1):
            disk.device = json.loads(disk.myrmidon("attach", "-o", "json"))["device"]
            load = Load(disk.device, ranges)
            time.sleep(1)
            victim, wrong = (all_die if arguments.all else one_dies)(cluster, disk, load)
            in_sync(cluster)
            disk.device = json.loads(disk.myrmidon("attach", "-o", "json"))["device"]
            for node in cluster.names():
                move(cluster, node)
                with ThreadPoolExecutor(THREADS) as pool:
                    list(pool.map(lambda each: each.read_all(disk.device), ranges))
                wrong += [f"{line} (read through {node}, or before)" for each in ranges for line in each.wrong]
                if wrong:
                    break
            print(f"round {number}: {sum(each.done for each in ranges):,} requests so far, killed: {victim}; {'WRONG' if wrong else 'every block is right on each copy'}", file=sys.stderr)
            if wrong:
                break
    finally:
        disk.remove()
        cluster.call("DELETE", f"/v1/volumes/{VOLUME}")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--all", action="store_true", help="kill everything at once in place of one node")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the nodes' data and logs")
    parser.add_argument("--program", default=str(ROOT / "myrmidon"))
    parser.add_argument("--port-offset", type=int, default=9300)
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error(f"--rounds {arguments.rounds}: 1 or more")
    if os.geteuid() != 0:
        parser.error("it makes devices: run it as root")
    root = Path(tempfile.mkdtemp(prefix="myrmidon-device-bench-"))
    cluster = Cluster(arguments.program, root, arguments.port_offset)
    try:
        wrong = run_rounds(cluster, arguments)
    finally:
        cluster.stop()
        if arguments.keep:
            print(f"kept: {root}", file=sys.stderr)
        else:
            shutil.rmtree(root)
    print("\n".join(wrong[:20]) if wrong else f"{arguments.rounds} rounds: no block was missing, old or foreign on any copy")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
