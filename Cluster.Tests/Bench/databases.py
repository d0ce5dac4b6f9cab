#!/usr/bin/env python3
"""
Runs pgbench on a volume of three copies, mounted by `myrmidon volume attach --mount`, while a node is killed and comes back.

    Cluster.Tests/Bench/databases.py                                  ext4 and xfs, the owner killed, 60 s each
    Cluster.Tests/Bench/databases.py --fs xfs --victims owner,front --seconds 60 --scale 10

It runs a cluster of three nodes of its own (`myrmidon dev`) in a temporary directory. After a third of the time the victim is killed (SIGKILL), five seconds later it is started
again. `none` is the same without a kill. The stall is the longest time in which no transaction of any client was committed. Afterwards the server is stopped, the file system
checked, and the database read with pg_amcheck. The result is a table in Markdown.

victims: none, owner (of the volume, on another node than the one that it is mounted on), front (that node: its device waits until its process is back), replica (a third one)

Runs as root; needs the packages python3, postgresql, e2fsprogs, xfsprogs and fuse3. Exit code 0 when no client met an error and the server was not restarted, 1 else, 2 on wrong use.
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from failover import ROOT, Cluster, wait_for  # noqa: E402

FILE_SYSTEMS = ["ext4", "xfs"]
VICTIMS = ["none", "owner", "front", "replica"]
AWAY_S = 5.0
VOLUME = "bench"


def program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")) or [shutil.which(name)]
    if not found[-1]:
        sys.exit(f"databases: {name} is not installed: install the package postgresql")
    return found[-1]


def run(*command, user=None):
    prefix = ["runuser", "-u", user, "--"] if user else []
    done = subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Server:
    """PostgreSQL with its files on the mount and its socket beside it."""

    def __init__(self, directory, mount):
        self.data, self.sockets = mount / "data", directory / "sockets"
        for path in (self.data, self.sockets):
            path.mkdir()
            shutil.chown(path, "postgres")
        run(program("initdb"), "--data-checksums", "-A", "trust", "-D", str(self.data), user="postgres")
        self.start()

    def start(self):
        run(program("pg_ctl"), "-D", str(self.data), "-l", str(self.sockets / "log"), "-w", "-t", "60", "-o",
            f"-k {self.sockets} -c listen_addresses= -c max_wal_size=1GB", "start", user="postgres")
        self.pid = self.pid_now()

    def pid_now(self):
        return int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def stop(self):
        run(program("pg_ctl"), "-D", str(self.data), "-w", "-m", "fast", "stop", user="postgres")

    def pgbench(self, *arguments):
        return [program("pgbench"), "-h", str(self.sockets), "-U", "postgres", *arguments, "postgres"]

    def check(self):
        run(program("pg_amcheck"), "-h", str(self.sockets), "-U", "postgres", "-d", "postgres", "--install-missing", "--heapallindexed")


def longest_stall(logs):
    """Seconds between two commits that follow each other, of all clients; pgbench's logs have a line for each: ..., seconds, microseconds."""
    times = sorted(float(fields[4]) + float(fields[5]) / 1e6 for log in logs for fields in (line.split() for line in open(log)) if fields[2] != "failed")
    return max((after - before for before, after in zip(times, times[1:])), default=0.0), len(times)


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


def strike(cluster, front, kind, seconds, finished):
    """Kills the victim, and starts it again; its name."""
    if kind == "none":
        finished.wait()
        return "-"
    time.sleep(seconds / 3)
    owner = owned_elsewhere(cluster, front)
    victim = owner if kind == "owner" else front if kind == "front" else next(name for name in cluster.names() if name not in (owner, front))
    cluster.signal(victim, signal.SIGKILL)
    time.sleep(AWAY_S)
    cluster.restart(victim)
    finished.wait()
    return victim


def measure(cluster, directory, file_system, kind, arguments):
    directory.mkdir()
    directory.chmod(0o711)
    mount, front = directory / "mnt", cluster.names()[0]
    api = cluster.node(front)["api"]
    if not cluster.call("POST", "/v1/volumes", {"name": VOLUME, "sizeBytes": 4 << 30, "replicas": 3}):
        raise RuntimeError("the volume was not created")
    try:
        told = json.loads(run(arguments.program, "volume", "attach", VOLUME, "--mount", str(mount), "--fs", file_system, "--options", "noatime", "-o", "json", "--endpoint", api))
        server = Server(directory, mount)
        run(*server.pgbench("-q", "-i", "-s", str(arguments.scale)))
        before = server.pid
        bench = subprocess.Popen(server.pgbench("-c", "4", "-j", "2", "-T", str(arguments.seconds), "-l", f"--log-prefix={directory}/tx"), stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        victim = strike(cluster, front, kind, arguments.seconds, bench)
        output = bench.stdout.read()
        errors = 0 if bench.returncode == 0 and "aborted" not in output else 1
        same = server.pid_now() == before and Path(f"/proc/{before}").exists()
        stall, commits = longest_stall(glob.glob(f"{directory}/tx*"))
        server.check()
        server.stop()
        wait_for("the copies are in sync", lambda: cluster.in_sync([VOLUME]))
        run("umount", str(mount))
        run(*(["e2fsck", "-f", "-n"] if file_system == "ext4" else ["xfs_repair", "-n"]), told["device"])
        if errors:
            print(output, file=sys.stderr)
        print(f"  {file_system}, {kind} ({victim}): {commits / arguments.seconds:.0f} a second, longest stall {stall:.2f} s", file=sys.stderr)
        return f"| {file_system} | {kind} | {commits} | {commits / arguments.seconds:.0f} | {stall:.2f} s | {errors} | {'no' if same else 'YES'} |", errors == 0 and same
    finally:
        run(arguments.program, "volume", "detach", VOLUME, "--force", "--endpoint", api)
        cluster.call("DELETE", f"/v1/volumes/{VOLUME}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fs", default=",".join(FILE_SYSTEMS), help="file systems, with commas")
    parser.add_argument("--victims", default="none,owner", help="who is killed, with commas")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--scale", type=int, default=10, help="of pgbench: 100,000 rows each")
    parser.add_argument("--program", default=str(ROOT / "myrmidon"))
    parser.add_argument("--port-offset", type=int, default=9000)
    arguments = parser.parse_args()
    file_systems, victims = arguments.fs.split(","), arguments.victims.split(",")
    if wrong := [name for name in file_systems if name not in FILE_SYSTEMS] + [name for name in victims if name not in VICTIMS]:
        parser.error(f"{', '.join(wrong)}: file systems are {', '.join(FILE_SYSTEMS)}, victims {', '.join(VICTIMS)}")
    if os.geteuid() != 0:
        parser.error("it mounts file systems: run it as root")
    with tempfile.TemporaryDirectory(prefix="myrmidon-databases-") as root:
        os.chmod(root, 0o711)
        (Path(root) / "cluster").mkdir()
        cluster = Cluster(arguments.program, Path(root) / "cluster", arguments.port_offset)
        rows, fine = [], True
        try:
            for file_system in file_systems:
                for kind in victims:
                    row, good = measure(cluster, Path(root) / f"{file_system}-{kind}", file_system, kind, arguments)
                    rows.append(row)
                    fine &= good
        finally:
            cluster.stop()
    print(f"pgbench, scale {arguments.scale}, 4 clients, {arguments.seconds} s, 3 copies, through the attacher:\n")
    print("| file system | killed | transactions | a second | longest stall | clients with errors | server restarted |\n|---|---|--:|--:|--:|--:|---|")
    print("\n".join(rows))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
