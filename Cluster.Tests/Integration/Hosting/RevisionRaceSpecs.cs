using System.Net;
using System.Text.Json;

namespace Cluster.Tests.Integration.Hosting;

/// <summary>If-Match is compared where a change is decided: requests that race are decided one after the other.</summary>
public class RevisionRaceSpecs
{
    private const int Racers = 16;

    [Fact(DisplayName = "Of many changes that rest on one ETag exactly one is made; the others are told the present ETag")]
    public async Task One_change_wins()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        Assert.Equal(HttpStatusCode.Created, (await nodes.PostAsync(0, "/v1/volumes", new { name = "pg", sizeBytes = 1L << 30 })).Status);
        for (var round = 0; round < 5; round++)
        {
            var labels = await RaceAsync(nodes, (etag, racer) => nodes.SendAsync(
                0, HttpMethod.Patch, "/v1/volumes/pg", new { labels = new Dictionary<string, string> { ["racer"] = $"{round}-{racer}" } }, etag));
            Assert.Equal($"{round}-{labels}", (await VolumeAsync(nodes)).GetProperty("labels").GetProperty("racer").GetString());
        }
    }

    [Fact(DisplayName = "Of many attachments that rest on one ETag exactly one is made, and so with detaching")]
    public async Task One_attachment_wins()
    {
        await using var nodes = new TestNodes(1);
        await nodes.StartAllAsync();
        Assert.Equal(HttpStatusCode.Created, (await nodes.PostAsync(0, "/v1/volumes", new { name = "pg", sizeBytes = 1L << 30 })).Status);
        await RaceAsync(nodes, (etag, _) => nodes.SendAsync(0, HttpMethod.Post, "/v1/volumes/pg/attach", new { node = "node-0" }, etag));
        Assert.Equal(1, (await VolumeAsync(nodes)).GetProperty("attachment").GetProperty("generation").GetInt32());
        await RaceAsync(nodes, (etag, _) => nodes.SendAsync(0, HttpMethod.Post, "/v1/volumes/pg/detach", null, etag));
        Assert.Equal(2, (await VolumeAsync(nodes)).GetProperty("attachment").GetProperty("generation").GetInt32());
    }

    /// <summary>Answers which racer won.</summary>
    private static async Task<int> RaceAsync(
        TestNodes nodes, Func<string, int, Task<(HttpStatusCode Status, string? ETag, JsonElement Body)>> send)
    {
        var (_, seen, _) = await nodes.SendAsync(0, HttpMethod.Get, "/v1/volumes/pg", null, null);
        var answers = await Task.WhenAll(Enumerable.Range(0, Racers).Select(racer => send(seen!, racer)));
        var winner = Assert.Single(Enumerable.Range(0, Racers), racer => answers[racer].Status == HttpStatusCode.OK);
        Assert.NotEqual(seen, answers[winner].ETag);
        foreach (var loser in Enumerable.Range(0, Racers).Where(racer => racer != winner).Select(racer => answers[racer]))
        {
            Assert.Equal(HttpStatusCode.PreconditionFailed, loser.Status);
            Assert.Equal(answers[winner].ETag, loser.ETag);
            Assert.Equal(loser.ETag, $"\"{loser.Body.GetProperty("revision").GetString()}\"");
            Assert.Contains("read it again", loser.Body.GetProperty("detail").GetString(), StringComparison.Ordinal);
        }
        return winner;
    }

    private static async Task<JsonElement> VolumeAsync(TestNodes nodes) => (await nodes.GetAsync(0, "/v1/volumes/pg")).Body;
}
