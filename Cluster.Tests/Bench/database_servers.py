"""The database servers that databases.py runs, with their files on a mount and their sockets beside it, and the programs that check them."""
import glob
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from failover import alive, wait_for

TOOL_S = 600


def program(name, package):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")) or [shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    if not found[-1]:
        sys.exit(f"databases: {name} is not installed: install the package {package}")
    return found[-1]


def run(*command, user=None):
    prefix = ["runuser", "-u", user, "--"] if user else []
    done = subprocess.run([*prefix, *command], capture_output=True, text=True, timeout=TOOL_S)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def children(parent):
    """The processes whose parent that is."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue  # it has ended
        if fields[1] == str(parent):
            found.append(int(path.parent.name))
    return found


class Server:
    """A database server; `pid` is of the one that was started last."""

    user = ""

    def __init__(self, directory, mount):
        self.data, self.sockets, self.pid = mount / "data", directory / "sockets", None
        self.log = self.sockets / "log"
        self.sockets.mkdir()
        shutil.chown(self.sockets, self.user)

    def create(self):
        self.data.mkdir()
        shutil.chown(self.data, self.user)
        self.make_files()
        run("sync", "-f", str(self.data))

    def is_running(self):
        return alive(self.pid)

    def kill(self):
        """kill -9 of all of its processes."""
        every = [self.pid, *children(self.pid)]
        for pid in every:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # a process of a client that has gone
        return every

    def lines(self, database, sql):
        return run(*self.client(database), self.statement_option, sql).splitlines()


class PostgreSql(Server):
    """With checksums of its pages."""

    user, statement_option = "postgres", "-c"

    def make_files(self):
        run(program("initdb", "postgresql"), "--data-checksums", "--no-sync", "-A", "trust", "-D", str(self.data), user=self.user)

    def start(self):
        run(program("pg_ctl", "postgresql"), "-D", str(self.data), "-l", str(self.log), "-w", "-t", "60", "-o",
            f"-k {self.sockets} -c listen_addresses= -c max_wal_size=1GB", "start", user=self.user)
        self.pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def stop(self):
        run(program("pg_ctl", "postgresql"), "-D", str(self.data), "-w", "-m", "fast", "stop", user=self.user)

    def client(self, database):
        """Reads statements from its input, answers each row on a line as it comes, and ends at the first error."""
        return [program("psql", "postgresql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", str(self.sockets), "-U", self.user, "-d", database]

    def create_database(self, name):
        self.lines("postgres", f"CREATE DATABASE {name}")

    def pgbench(self, *arguments):
        return [program("pgbench", "postgresql"), "-h", str(self.sockets), "-U", self.user, *arguments, "postgres"]

    def troubles(self):
        return [line for line in self.log.read_text().splitlines() if any(word in line for word in ("ERROR", "FATAL", "PANIC"))]

    def check(self):
        """Each row against each index, of all databases."""
        run(program("pg_amcheck", "postgresql"), "-h", str(self.sockets), "-U", self.user, "--all", "--install-missing", "--heapallindexed", "--parent-check")


class MariaDb(Server):
    """With InnoDB, which syncs its log at each commit and writes around the page cache."""

    user, statement_option = "mysql", "-e"

    def make_files(self):
        run(program("mariadb-install-db", "mariadb-server"), "--no-defaults", f"--user={self.user}", f"--datadir={self.data}", "--skip-test-db",
            "--auth-root-authentication-method=socket")

    def start(self):
        command = [program("mariadbd", "mariadb-server"), "--no-defaults", f"--user={self.user}", f"--datadir={self.data}", f"--socket={self.sockets}/socket",
                   f"--pid-file={self.sockets}/pid", "--skip-networking", "--innodb-buffer-pool-size=64M", "--innodb-log-file-size=32M", "--innodb-flush-method=O_DIRECT"]
        with open(self.log, "a") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        self.pid = self.process.pid
        wait_for("MariaDB answers", self.answers, seconds=60)

    def answers(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"MariaDB ended with {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
        return subprocess.run([*self.client("mysql"), "-e", "SELECT 1"], capture_output=True, timeout=TOOL_S).returncode == 0

    def stop(self):
        self.process.terminate()
        self.process.wait(TOOL_S)

    def client(self, database):
        return [program("mariadb", "mariadb-client"), "--no-defaults", "-B", "-N", "--unbuffered", "-u", "root", f"--socket={self.sockets}/socket", database]

    def create_database(self, name):
        self.lines("mysql", f"CREATE DATABASE {name}")

    def troubles(self):
        return [line for line in self.log.read_text().splitlines() if "[ERROR]" in line]

    def check(self):
        """Every table with all of its indexes, of all databases; tables of the server's own that have no check say so in a note."""
        for row in self.lines("mysql", "SELECT concat('`', table_schema, '`.`', table_name, '`') FROM information_schema.tables "
                              "WHERE table_type = 'BASE TABLE' AND table_schema NOT IN ('information_schema', 'performance_schema')"):
            told = [line.split("\t")[2:] for line in self.lines("mysql", f"CHECK TABLE {row} EXTENDED")]
            if wrong := [words for words in told if words != ["status", "OK"] and words[0] != "note"]:
                raise RuntimeError(f"CHECK TABLE {row}: {wrong}")


SERVERS = {"postgresql": PostgreSql, "mariadb": MariaDb}
