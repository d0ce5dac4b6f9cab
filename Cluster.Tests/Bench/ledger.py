"""Transfers between accounts by several clients of a database. What was committed is written down here, outside of it, only when it has said so (databases.py)."""
import random
import subprocess
import threading
import time

from failover import WAIT_S, wait_for

DATABASE = "ledger"
ACCOUNTS = 50


def longest_pause(times):
    """Seconds between two that follow each other."""
    ordered = sorted(times)
    return max((after - before for before, after in zip(ordered, ordered[1:])), default=0.0)


class Ledger:
    def __init__(self, server):
        self.server, self.begun, self.committed, self.errors = server, set(), {}, []
        self.lock, self.stopped, self.threads = threading.Lock(), threading.Event(), []
        server.create_database(DATABASE)
        server.lines(DATABASE, "CREATE TABLE account (id int PRIMARY KEY, balance bigint NOT NULL);"
                     "CREATE TABLE transfer (id bigint PRIMARY KEY, origin int NOT NULL, target int NOT NULL, amount bigint NOT NULL, note text NOT NULL);"
                     "CREATE INDEX transfer_origin ON transfer (origin); CREATE INDEX transfer_target ON transfer (target);"
                     "INSERT INTO account VALUES " + ", ".join(f"({number}, 0)" for number in range(1, ACCOUNTS + 1)))

    def start(self, clients):
        self.stopped.clear()
        self.errors = []
        self.threads = [threading.Thread(target=self.work, args=(number,), daemon=True) for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        """Returns when every client has ended: by its server's end, or after its present transfer."""
        self.stopped.set()
        for thread in self.threads:
            thread.join(WAIT_S)
            if thread.is_alive():
                raise RuntimeError(f"a client of the ledger does not end within {WAIT_S:.0f} s")

    def wait_for_more(self, transfers):
        wanted = len(self.committed) + transfers
        wait_for(f"{wanted} transfers are committed", lambda: self.errors or len(self.committed) >= wanted)
        if self.errors:
            raise RuntimeError("\n".join(self.errors))

    def work(self, number):
        drawn = random.Random(number)
        client = subprocess.Popen(self.server.client(DATABASE), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1)
        said = None
        while not self.stopped.is_set() and said is None:
            said = self.transfer(client, drawn)
        client.kill()
        client.wait()
        if said is not None:
            self.errors.append(f"client {number}: {said}")

    def transfer(self, client, drawn):
        """None when it was committed, else what came in place of its number, which is asked for behind the commit."""
        with self.lock:
            number = len(self.begun) + 1
            self.begun.add(number)
        low = drawn.randrange(1, ACCOUNTS)
        other, amount = drawn.randrange(low + 1, ACCOUNTS + 1), drawn.choice([1, -1]) * drawn.randrange(1, 1000)
        # The lower account first, so that no two transfers wait for each other.
        sql = (f"BEGIN; INSERT INTO transfer VALUES ({number}, {low}, {other}, {amount}, repeat('{number} ', {drawn.randrange(1, 100)}));"
               f" UPDATE account SET balance = balance - {amount} WHERE id = {low}; UPDATE account SET balance = balance + {amount} WHERE id = {other}; COMMIT; SELECT {number};\n")
        try:
            client.stdin.write(sql)
        except BrokenPipeError:
            return "it has ended"
        answer = client.stdout.readline().strip()
        if answer != str(number):
            return answer or "it has ended"
        self.committed[number] = time.monotonic()
        return None

    def check(self):
        """How many are there; fails if one that was committed is not, if there is one that nobody asked for, or if a balance is not the sum of its transfers."""
        found = {int(row) for row in self.server.lines(DATABASE, "SELECT id FROM transfer")}
        if missing := sorted(set(self.committed) - found):
            raise RuntimeError(f"{len(missing)} committed transfers are not there: {missing[:20]}")
        if foreign := sorted(found - self.begun):
            raise RuntimeError(f"{len(foreign)} transfers that nobody has asked for: {foreign[:20]}")
        total = self.server.lines(DATABASE, "SELECT sum(balance) FROM account")
        wrong = self.server.lines(DATABASE, "SELECT id FROM account WHERE balance <> coalesce((SELECT sum(amount) FROM transfer WHERE target = account.id), 0)"
                                  " - coalesce((SELECT sum(amount) FROM transfer WHERE origin = account.id), 0)")
        if total != ["0"] or wrong:
            raise RuntimeError(f"accounts {wrong} are not the sum of their transfers; all together hold {total}")
        return len(found)
