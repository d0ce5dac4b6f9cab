namespace Cluster.Tests.Unit.Bench;

/// <summary>What `Cluster.Tests/Bench/databases.py` counts as lost.</summary>
public class LedgerSpecs
{
    [Fact(DisplayName = "The ledger of the database bench finds a committed transfer that is missing, one that nobody asked for, and balances that are not their transfers' sum; one that was begun and not answered may be there or not")]
    public Task Losses() => BenchPython.RunAsync("ledger", """
        class Server:
            def __init__(self, transfers, total="0", wrong=()):
                self.transfers, self.total, self.wrong = transfers, total, wrong
            def create_database(self, name):
                pass
            def lines(self, database, sql):
                return [str(number) for number in self.transfers] if sql == "SELECT id FROM transfer" else [self.total] if sql.startswith("SELECT sum") else list(self.wrong)

        def check(*arguments, **named):
            book = ledger.Ledger(Server(*arguments, **named))
            book.begun, book.committed = {1, 2, 3}, {1: 0.5, 2: 0.7}
            try:
                return book.check()
            except RuntimeError as error:
                return str(error)

        assert check([1, 2]) == 2 and check([1, 2, 3]) == 3
        assert check([1, 3]) == "1 committed transfers are not there: [2]", check([1, 3])
        assert check([1, 2, 4]) == "1 transfers that nobody has asked for: [4]"
        assert "all together hold ['5']" in check([1, 2], total="5") and "accounts ['7']" in check([1, 2], wrong=["7"])
        assert ledger.longest_pause([4.0, 1.0, 2.0]) == 2.0 and ledger.longest_pause([]) == 0.0
        """);
}
