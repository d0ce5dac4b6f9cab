namespace Cluster.Tests.Unit.Bench;

/// <summary>What `Cluster.Tests/Bench/compare.py` does with the page that it writes into.</summary>
public class ComparePageSpecs
{
    [Fact(DisplayName = "The comparison replaces what stands between its markers and keeps the rest of the page, time after time; a page without them is refused")]
    public Task Page() => BenchPython.RunAsync("compare", """
        page = f"# Head\n\nbefore\n{compare.BEGIN}\nold\n{compare.END}\n\n## After\n"
        once = compare.put(page, "| new |")
        assert once == f"# Head\n\nbefore\n{compare.BEGIN}\n\n| new |\n\n{compare.END}\n\n## After\n", once
        assert compare.put(once, "| new |") == once
        for wrong in ["no markers", compare.BEGIN, compare.END, compare.END + compare.BEGIN, page + compare.BEGIN, page + compare.END, page + page]:
            assert compare.put(wrong, "x") is None, wrong
        own = open("docs/performance.md").read()
        put = compare.put(own, "x")
        assert put is not None and "## The store by itself" in put and "qemu-nbd, IOPS" not in put
        """);

    [Fact(DisplayName = "A row of the comparison has medians in the systems' order, ratios of neighbouring runs, and whether p99 by p50 meets its target")]
    public Task Row() => BenchPython.RunAsync("compare", """
        def run(iops, p50, p99):
            return {"iops": iops, "p50": p50, "p99": p99, "cpu": 50}
        runs = {"qemu-nbd": [run(1000, 10, 20), run(4000, 10, 40), run(2000, 10, 30)], "myrmidon": [run(500, 20, 80), run(1000, 20, 40), run(1500, 20, 60)]}
        row = compare.job_row("w4k-qd1", runs, {"w4k-qd1": 2.5})
        assert row == "| 4 KiB random write, depth 1 | 2,000 (1,000-4,000) | 1,000 (500-1,500) | 0.50 | ratio >= 0.5: met | 10 / 20 | 30 / 60 | 3.0 / 3.0 (target 2.5: missed) | 50 / 50 |", row
        assert compare.columns(runs)[0].count("|") == row.count("|")
        runs = {**runs, "ceph": [run(50, 100, 250), run(100, 100, 250), run(300, 100, 250)]}
        row = compare.job_row("w4k-qd1", runs, {})
        assert "| 0.50 | 10.00 | ratio >= 0.5: met; of Ceph >= 8: met |" in row, row
        assert compare.columns(runs)[0].count("|") == row.count("|")
        assert compare.goal("w4k-qd32", runs) == "ratio >= 0.9: missed; of Ceph >= 12: missed; p99 / p50 < 2.5: missed; p99 / p50 <= 4: met; CPU <= 80: met", compare.goal("w4k-qd32", runs)
        del runs["ceph"]
        slow = {**runs, "myrmidon": [run(500, 20, 90), run(1000, 20, 82), run(1500, 20, 60)]}
        assert compare.goal("w4k-qd32", slow) == "ratio >= 0.9: missed; p99 / p50 <= 4: missed; CPU <= 80: met", compare.goal("w4k-qd32", slow)
        assert compare.verdict("w4k-qd1", runs, {"w4k-qd1": 3}) == (3, True, " (target 3: met)")
        assert compare.verdict("w4k-qd1", runs, {})[1:] == (True, "")
        assert compare.p99_targets("r4k-qd1=2,mix70=4") == {"r4k-qd1": 2.0, "mix70": 4.0} and compare.p99_targets("3")["mix70"] == 3
        """);
}
