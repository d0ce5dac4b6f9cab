using System.Diagnostics;
using Cluster.Node.Journal;
using Cluster.Tests.Integration.Journal;

namespace Cluster.Tests.Chaos.Journal;

/// <summary>
/// The test that DotNext's own log failed: kill -9 all three members right after an acknowledgement, start only the two that did
/// not lead;
/// whatever was acknowledged is there. It stays for ever.
/// </summary>
public sealed class KillSpecs
{
    private const int Rounds = 20;

    [Fact(DisplayName = "kill -9 of all three right after an ack: the two followers alone have everything that was acknowledged")]
    public void Acknowledged_survives_kill_of_all()
    {
        using var cluster = new ProcessCluster(3);
        long appended = 0;
        for (var round = 0; round < Rounds; round++)
        {
            cluster.StartAll();
            var leader = cluster.AwaitLeader();
            Assert.Equal(appended.ToString(), cluster[leader].Ask("highest stream"));
            for (var i = 0; i <= round % 5; i++) Assert.Equal($"Ok {appended + 1}", cluster[leader].Ask($"append stream {appended++}"));
            Assert.StartsWith("Ok", cluster[leader].Ask($"put round-{round}"));
            cluster.KillAll();
            cluster.Start((leader + 1) % 3);
            cluster.Start((leader + 2) % 3);
            var survivor = cluster[(leader + 1) % 3];
            Assert.Equal("present", survivor.AskUntilAvailable($"get round-{round}"));
            Assert.Equal(appended.ToString(), survivor.AskUntilAvailable("highest stream"));
        }
    }

    [Fact(DisplayName = "kill -9 of the leader during writes: the others go on, each acknowledged event is there once")]
    public void Leader_is_killed_in_mid_write()
    {
        using var cluster = new ProcessCluster(3);
        cluster.StartAll();
        long appended = 0;
        for (var round = 0; round < 5; round++)
        {
            var leader = cluster.AwaitLeader();
            var writer = cluster[(leader + 1) % 3];
            for (var i = 0; i < 30; i++)
            {
                if (i == 10) cluster.Kill(leader);
                Assert.Equal($"Ok {appended + 1}", writer.Ask($"append stream {appended++}"));
            }
            cluster.Start(leader);
            Assert.Equal(appended.ToString(), cluster[leader].AskUntilAvailable("highest stream"));
        }
    }

    [Fact(DisplayName = "kill -9 at any moment of the first formation, in any order of starts: one cluster, never two")]
    public void One_cluster_is_formed()
    {
        var random = new Random(20261123);
        for (var round = 0; round < 3; round++)
        {
            using var cluster = new ProcessCluster(3);
            foreach (var i in new[] { 0, 1, 2 }.OrderBy(_ => random.Next()))
            {
                cluster.Start(i);
                Thread.Sleep(random.Next(0, 60));
                if (random.Next(2) == 0) cluster.Kill(random.Next(3));
            }
            for (var kills = 0; kills < 3; kills++)
            {
                Thread.Sleep(random.Next(50, 500));            // not a condition: the moment of a kill is random
                cluster.Kill(random.Next(3));
            }
            cluster.StartAll();
            // Asked again because no answer came in time, it may have been done at the first time: nobody else writes the key.
            var put = cluster[0].AskUntilAvailable("put formed");
            Assert.True(put.StartsWith("Ok", StringComparison.Ordinal) || put == "Conflict 1", put);
            for (var i = 0; i < 3; i++) Assert.Equal("present", cluster[i].AskUntilAvailable("get formed"));
        }
    }

    /// <summary>Three processes of the program's hidden verb. Kills only what it started, by process.</summary>
    private sealed class ProcessCluster : IDisposable
    {
        private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-kill-").FullName;
        private readonly int[] _ports;
        private readonly ProcessNode?[] _nodes;

        public ProcessCluster(int nodes)
        {
            _ports = JournalCluster.FreePorts(nodes);
            _nodes = new ProcessNode?[nodes];
        }

        public ProcessNode this[int i] => _nodes[i] ?? throw new InvalidOperationException($"node {i} is not running");

        public void Start(int i)
        {
            if (_nodes[i] is not null) return;
            var seeds = string.Join(',', _ports.Select(p => $"127.0.0.1:{p}"));
            _nodes[i] = new ProcessNode(Path.Combine(_directory, $"node-{i}"), $"node-{i}", _ports[i], seeds, _nodes.Length);
        }

        public void StartAll()
        {
            for (var i = 0; i < _nodes.Length; i++) Start(i);
        }

        public void Kill(int i)
        {
            _nodes[i]?.Dispose();
            _nodes[i] = null;
        }

        /// <summary>All signals go out before any end is awaited.</summary>
        public void KillAll()
        {
            foreach (var node in _nodes) node?.Signal();
            for (var i = 0; i < _nodes.Length; i++) Kill(i);
        }

        public int AwaitLeader()
        {
            var started = Stopwatch.GetTimestamp();
            while (Stopwatch.GetElapsedTime(started) < TimeSpan.FromSeconds(30))
            {
                for (var i = 0; i < _nodes.Length; i++)
                    if (_nodes[i] is { } node && node.Ask("role") == nameof(MetaLogRole.Leader)) return i;
                Thread.Sleep(5);
            }
            throw new TimeoutException("no leader");
        }

        public void Dispose()
        {
            KillAll();
            Directory.Delete(_directory, recursive: true);
        }
    }

    private sealed class ProcessNode : IDisposable
    {
        private readonly Process _process;

        public ProcessNode(string directory, string name, int port, string seeds, int expect)
        {
            var program = typeof(JournalNode).Assembly.Location;
            string[] arguments = [program, JournalHarness.Verb, directory, name, port.ToString(), seeds, expect.ToString()];
            var start = new ProcessStartInfo("dotnet", arguments) { RedirectStandardInput = true, RedirectStandardOutput = true };
            start.Environment["DOTNET_TieredPGO"] = "0";
            _process = Process.Start(start)!;
        }

        public string Ask(string command)
        {
            _process.StandardInput.WriteLine(command);
            _process.StandardInput.Flush();
            return _process.StandardOutput.ReadLine() ?? throw new InvalidOperationException($"the node ended: {_process.HasExited}");
        }

        public string AskUntilAvailable(string command)
        {
            var answer = "";
            for (var attempt = 0; attempt < 5; attempt++)
            {
                answer = Ask(command);
                if (!answer.StartsWith("unavailable", StringComparison.Ordinal)) return answer;
            }
            return answer;
        }

        public void Signal()
        {
            if (!_process.HasExited) _process.Kill();           // SIGKILL
        }

        public void Dispose()
        {
            Signal();
            _process.WaitForExit();
            _process.Dispose();
        }
    }
}
