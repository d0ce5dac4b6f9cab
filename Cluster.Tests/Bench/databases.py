#!/usr/bin/env python3
"""
Runs PostgreSQL and MariaDB on a volume of three copies, mounted by `myrmidon volume attach --mount`, while a node is killed and comes back, and then kills everything at once.

    Cluster.Tests/Bench/databases.py                                  both on ext4 and xfs, the owner killed, 60 s each
    Cluster.Tests/Bench/databases.py --databases postgresql --fs xfs --victims owner,front --seconds 60 --scale 10

It runs a cluster of three nodes of its own (`myrmidon dev`) in a temporary directory. The load is pgbench for PostgreSQL, and transfers between accounts (ledger.py) for MariaDB, with
4 clients each. After a third of the time the victim is killed (SIGKILL), five seconds later it is started again. `none` is the same without a kill. The stall is the longest time in
which no transaction of any client was committed.

Then, under transfers of both databases, the database, what serves its device, and all nodes are killed (SIGKILL) at once and started again: the file system and the database are
checked whole (e2fsck or xfs_repair, pg_amcheck or CHECK TABLE EXTENDED), and every transfer that a client was told of as committed must be there. The result is a table in Markdown.

victims: none, owner (of the volume, on another node than the one that it is mounted on), front (that node: its device waits until its process is back), replica (a third one)

Runs as root; needs the packages python3, postgresql, mariadb-server, e2fsprogs, xfsprogs and fuse3. Exit code 0 when no client met an error and no server was restarted before all was
killed, and nothing that was committed is missing, 1 else, 2 on wrong use.
"""
import argparse
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from database_servers import SERVERS, run  # noqa: E402
from failover import ROOT, Cluster, alive, wait_for  # noqa: E402
from ledger import Ledger, longest_pause  # noqa: E402

FILE_SYSTEMS = ["ext4", "xfs"]
VICTIMS = ["none", "owner", "front", "replica"]
AWAY_S = 5.0
VOLUME = "bench"
CLIENTS = 4
# Committed by the ledger's clients, at the least, when everything is killed.
BEFORE_ALL_DIE = 1000


class Disk:
    """The volume, mounted on the first node's host."""

    def __init__(self, cluster, arguments, mount, file_system):
        self.cluster, self.program, self.mount, self.file_system = cluster, arguments.program, mount, file_system
        self.front = cluster.names()[0]
        self.device = None

    def myrmidon(self, verb, *arguments):
        return run(self.program, "volume", verb, VOLUME, *arguments, "--endpoint", self.cluster.node(self.front)["api"])

    def attach(self):
        told = self.myrmidon("attach", "--mount", str(self.mount), "--fs", self.file_system, "--options", "noatime", "-o", "json")
        self.device = json.loads(told)["device"]

    def check(self):
        """Reads all of the file system's metadata while it is not mounted."""
        self.myrmidon("detach")
        device = json.loads(self.myrmidon("attach", "-o", "json"))["device"]
        run(*(["e2fsck", "-f", "-n"] if self.file_system == "ext4" else ["xfs_repair", "-n"]), device)
        self.myrmidon("detach")

    def remove(self):
        """Nothing is left of it on the host, also where something failed and its node is not there."""
        if not alive(self.cluster.node(self.front)["pid"]):
            self.cluster.restart(self.front)
        self.myrmidon("detach", "--force")

    def kill(self):
        """As if the host had lost its power: nothing that it still has in memory reaches the volume. The processes that are to end."""
        path = Path(f"/sys/block/{Path(self.device).name}/loop/backing_file").read_text().strip()
        served = [int(line.parent.name) for line in Path("/proc").glob("[0-9]*/cmdline") if f"--path={path}".encode() in read_or_nothing(line).split(b"\0")]
        if not served:
            raise RuntimeError(f"no process serves {self.device}")
        for pid in served:
            os.kill(pid, signal.SIGKILL)
        return served


class PgBench:
    """pgbench's own load, over its tables."""

    def __init__(self, server, ledger, directory, arguments):
        self.server, self.directory, self.seconds = server, directory, arguments.seconds
        run(*server.pgbench("-q", "-i", "-s", str(arguments.scale)))

    def start(self):
        self.bench = subprocess.Popen(self.server.pgbench("-c", str(CLIENTS), "-j", "2", "-T", str(self.seconds), "-l", f"--log-prefix={self.directory}/tx"),
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def wait(self):
        """Transactions, the longest stall in seconds, and clients that met an error."""
        output = self.bench.communicate()[0]
        errors = output.count("aborted") or int(self.bench.returncode != 0)
        if errors:
            print(output, file=sys.stderr)
        # Its logs have a line for each transaction: ..., seconds, microseconds.
        times = [float(fields[4]) + float(fields[5]) / 1e6 for log in glob.glob(f"{self.directory}/tx*") for fields in (line.split() for line in open(log)) if fields[2] != "failed"]
        return len(times), longest_pause(times), errors


class Transfers:
    """The ledger's, for as long."""

    def __init__(self, server, ledger, directory, arguments):
        self.ledger, self.seconds = ledger, arguments.seconds

    def start(self):
        self.ledger.start(CLIENTS)
        self.since = time.monotonic()
        self.until = self.since + self.seconds

    def wait(self):
        time.sleep(max(0.0, self.until - time.monotonic()))
        self.ledger.stop()
        if self.ledger.errors:
            print("\n".join(self.ledger.errors), file=sys.stderr)
        times = [at for at in self.ledger.committed.values() if at <= self.until]
        return len(times), longest_pause([self.since, *times, self.until]), len(self.ledger.errors)


LOADS = {"postgresql": PgBench, "mariadb": Transfers}


def read_or_nothing(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""  # the process has ended


def owned_elsewhere(cluster, front):
    """The volume's owner, which is another node than that one: moved there if it has to be."""
    target = next(name for name in cluster.names() if name != front)

    def moved():
        owner = (cluster.volume(VOLUME) or {}).get("owner")
        if owner and owner != front:
            return owner
        cluster.call("POST", f"/v1/volumes/{VOLUME}/move", {"node": target})
        return None
    return wait_for(f"{VOLUME} is owned by another node than {front}", moved, pause=1.0)


def strike(cluster, front, kind, seconds):
    """Kills the victim, and starts it again; its name."""
    if kind == "none":
        return "-"
    time.sleep(seconds / 3)
    owner = owned_elsewhere(cluster, front)
    victim = owner if kind == "owner" else front if kind == "front" else next(name for name in cluster.names() if name not in (owner, front))
    cluster.signal(victim, signal.SIGKILL)
    time.sleep(AWAY_S)
    cluster.restart(victim)
    return victim


def all_die(cluster, disk, server, ledger):
    """The database, its host and every node in the middle of the load; all starts again. How many transfers were committed."""
    wait_for("the copies are in sync", lambda: cluster.in_sync([VOLUME]))
    ledger.start(CLIENTS)
    ledger.wait_for_more(BEFORE_ALL_DIE)
    nodes = [cluster.node(name)["pid"] for name in cluster.names()]
    for pid in nodes:
        os.kill(pid, signal.SIGKILL)
    gone = [*nodes, *disk.kill(), *server.kill()]
    wait_for("everything has ended", lambda: not any(alive(pid) for pid in gone))
    ledger.stop()
    with ThreadPoolExecutor() as pool:
        # At once: one alone has no majority to become healthy with.
        list(pool.map(cluster.restart, cluster.names()))
    wait_for("the copies are in sync", lambda: cluster.in_sync([VOLUME]))
    return len(ledger.committed)


def recover(disk, server, ledger):
    """How many transfers are there; fails when anything is not whole."""
    # The file system's own journal is replayed by a mount.
    disk.attach()
    disk.check()
    disk.attach()
    server.start()
    found = ledger.check()
    server.check()
    server.stop()
    disk.check()
    return found


def measure(cluster, directory, database, file_system, kind, arguments):
    directory.mkdir()
    directory.chmod(0o711)
    disk = Disk(cluster, arguments, directory / "mnt", file_system)
    if not cluster.call("POST", "/v1/volumes", {"name": VOLUME, "sizeBytes": 4 << 30, "replicas": 3}):
        raise RuntimeError("the volume was not created")
    server = None
    try:
        disk.attach()
        server = SERVERS[database](directory, disk.mount)
        server.create()
        server.start()
        ledger = Ledger(server)
        load, pid = LOADS[database](server, ledger, directory, arguments), server.pid
        load.start()
        victim = strike(cluster, disk.front, kind, arguments.seconds)
        commits, stall, errors = load.wait()
        same = server.is_running() and server.pid == pid
        troubles = server.troubles()
        server.check()
        before = all_die(cluster, disk, server, ledger)
        after = recover(disk, server, ledger)
        a_second = commits / arguments.seconds
        print(f"  {database} on {file_system}, {kind} ({victim}): {a_second:.0f} a second, longest stall {stall:.2f} s; {before} committed at the kill of all, {after} there", file=sys.stderr)
        for line in troubles:
            print(f"  the server says: {line}", file=sys.stderr)
        row = f"| {database} | {file_system} | {kind} | {commits:,} | {a_second:,.0f} | {stall:.2f} s | {errors} | {'no' if same else 'YES'} | {before:,} | 0 |"
        return row, errors == 0 and same and not troubles
    except Exception:
        if arguments.keep and server and server.data.exists():
            shutil.copytree(server.data, directory / "data-as-found", ignore_dangling_symlinks=True)
            # Whether a page of zeroes was never written, as the file system has it (unwritten extents), or is what the volume gives back.
            tables = [str(path) for path in server.data.rglob("*") if path.is_file()]
            with open(directory / "extents-as-found", "w") as extents:
                subprocess.run(["filefrag", "-v", *tables], stdout=extents, stderr=subprocess.STDOUT, check=False)
        raise
    finally:
        if server and server.is_running():
            server.kill()
        disk.remove()
        cluster.call("DELETE", f"/v1/volumes/{VOLUME}")


def measure_all(root, arguments, wanted):
    """The table's rows, and whether all of them are as they should be."""
    root.chmod(0o711)
    (root / "cluster").mkdir()
    cluster = Cluster(arguments.program, root / "cluster", arguments.port_offset)
    rows, fine = [], True
    try:
        for database, file_system, kind in wanted:
            row, good = measure(cluster, root / f"{database}-{file_system}-{kind}", database, file_system, kind, arguments)
            rows.append(row)
            fine &= good
    finally:
        cluster.stop()
    return rows, fine


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--databases", default=",".join(SERVERS), help="with commas")
    parser.add_argument("--fs", default=",".join(FILE_SYSTEMS), help="file systems, with commas")
    parser.add_argument("--victims", default="owner", help="who is killed, with commas")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--scale", type=int, default=10, help="of pgbench: 100,000 rows each")
    parser.add_argument("--keep", action="store_true", help="keep the directory with the nodes' data and the logs; where something fails also the database's files, as they were found then")
    parser.add_argument("--program", default=str(ROOT / "myrmidon"))
    parser.add_argument("--port-offset", type=int, default=9000)
    arguments = parser.parse_args()
    databases, file_systems, victims = arguments.databases.split(","), arguments.fs.split(","), arguments.victims.split(",")
    if wrong := [name for names, known in ((databases, SERVERS), (file_systems, FILE_SYSTEMS), (victims, VICTIMS)) for name in names if name not in known]:
        parser.error(f"{', '.join(wrong)}: databases are {', '.join(SERVERS)}, file systems {', '.join(FILE_SYSTEMS)}, victims {', '.join(VICTIMS)}")
    if os.geteuid() != 0:
        parser.error("it mounts file systems: run it as root")
    root = tempfile.mkdtemp(prefix="myrmidon-databases-")
    try:
        rows, fine = measure_all(Path(root), arguments, [(a, b, c) for a in databases for b in file_systems for c in victims])
    finally:
        if arguments.keep:
            print(f"kept: {root}", file=sys.stderr)
        else:
            shutil.rmtree(root)
    print(f"{CLIENTS} clients, {arguments.seconds} s, 3 copies, through the attacher; pgbench of scale {arguments.scale} for PostgreSQL, transfers for MariaDB:\n")
    print("| database | file system | killed | transactions | a second | longest stall | clients with errors | server restarted | committed when all was killed | of them missing |\n"
          "|---|---|---|--:|--:|--:|--:|---|--:|--:|")
    print("\n".join(rows))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
