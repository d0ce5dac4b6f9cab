using System.Net;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Cluster.Node.Api;

namespace Cluster.Tests.Integration.Api;

public sealed class ApiSpecs : IAsyncLifetime
{
    private readonly FakeControlPlane _control = new();
    private readonly Health _health = new(TimeProvider.System);
    private readonly Metrics _metrics = new();
    private ApiServer _server = null!;
    private HttpClient _http = null!;

    public async Task InitializeAsync()
    {
        _health.Report("store", HealthState.Healthy);
        _server = await ApiServer.StartAsync(new ApiOptions("node-0", IPAddress.Loopback, 0), _control, new FakeRecovery(), new FakeDevices(), _health, _metrics);
        _http = new HttpClient { BaseAddress = _server.Address };
    }

    public async Task DisposeAsync()
    {
        _http.Dispose();
        await _server.DisposeAsync();
    }

    [Fact(DisplayName = "A volume is created, read, changed and deleted; its ETag guards the change")]
    public async Task Volume_lives_and_dies()
    {
        var created = await _http.PostAsJsonAsync("/v1/volumes",
            new { name = "db", sizeBytes = 4096, replicas = 2, labels = new { a = "b" } });
        Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        Assert.Equal("/v1/volumes/db", created.Headers.Location?.OriginalString);
        var got = await _http.GetAsync("/v1/volumes/db");
        var volume = JsonNode.Parse(await got.Content.ReadAsStringAsync())!;
        Assert.Equal(
            ("db", "default", 4096, "node-0", 1, "in-sync", "node-1", "b"),
            ((string)volume["name"]!, (string)volume["namespace"]!, (int)volume["sizeBytes"]!, (string)volume["owner"]!,
                (int)volume["epoch"]!,
                (string)volume["replicas"]![1]!["state"]!, (string)volume["replicas"]![1]!["node"]!, (string)volume["labels"]!["a"]!));
        var tag = got.Headers.ETag!;

        var grown = await SendAsync(HttpMethod.Patch, "/v1/volumes/db", """{"sizeBytes":8192,"labels":{"a":null}}""", tag.Tag);
        Assert.Equal(HttpStatusCode.OK, grown.StatusCode);
        var stale = await SendAsync(HttpMethod.Patch, "/v1/volumes/db", """{"sizeBytes":16384}""", tag.Tag);
        await AssertProblemAsync(stale, HttpStatusCode.PreconditionFailed, "is at revision");
        Assert.Equal(HttpStatusCode.PreconditionFailed, (await SendAsync(HttpMethod.Delete, "/v1/volumes/db", null, tag.Tag)).StatusCode);
        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Delete, "/v1/volumes/db", null, "*")).StatusCode);
        await AssertProblemAsync(await _http.GetAsync("/v1/volumes/db"), HttpStatusCode.NotFound, "There is no volume \"db\".");
    }

    [Theory(DisplayName = "A GET with If-None-Match has no body while the volume is as it was answered with one of those ETags")]
    [InlineData("TAG", true)]
    [InlineData("W/TAG", true)]
    [InlineData("\"other\", TAG", true)]
    [InlineData("*", true)]
    [InlineData("\"other\"", false)]
    [InlineData("no tag", false)]
    public async Task Unchanged(string header, bool isKnown)
    {
        await _http.PostAsJsonAsync("/v1/volumes", new { name = "db", sizeBytes = 4096 });
        var tag = (await _http.GetAsync("/v1/volumes/db")).Headers.ETag!.Tag;
        var answer = await GetAsync();
        Assert.Equal((isKnown ? HttpStatusCode.NotModified : HttpStatusCode.OK, tag), (answer.StatusCode, answer.Headers.ETag?.Tag));
        Assert.Equal(isKnown, (await answer.Content.ReadAsStringAsync()).Length == 0);
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Patch, "/v1/volumes/db", """{"sizeBytes":8192}""", tag)).StatusCode);
        if (header != "*") Assert.Equal(HttpStatusCode.OK, (await GetAsync()).StatusCode);

        Task<HttpResponseMessage> GetAsync()
        {
            var request = new HttpRequestMessage(HttpMethod.Get, "/v1/volumes/db");
            request.Headers.TryAddWithoutValidation("If-None-Match", header.Replace("TAG", tag, StringComparison.Ordinal));
            return _http.SendAsync(request);
        }
    }

    [Fact(DisplayName = "A GET's ETag is another one when only the volume's state has changed, and is still good for a change then")]
    public async Task State_has_changed()
    {
        await _http.PostAsJsonAsync("/v1/volumes", new { name = "db", sizeBytes = 4096 });
        var tag = (await _http.GetAsync("/v1/volumes/db")).Headers.ETag!;
        _control.SetVolumeState("db", "degraded");
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/volumes/db");
        request.Headers.IfNoneMatch.Add(tag);
        var answer = await _http.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.NotEqual(tag, answer.Headers.ETag);
        Assert.Equal(HttpStatusCode.OK, (await SendAsync(HttpMethod.Patch, "/v1/volumes/db", """{"sizeBytes":8192}""", tag.Tag)).StatusCode);
    }

    [Fact(DisplayName = "A volume outside the default namespace is named by the query parameter")]
    public async Task Namespaces_are_apart()
    {
        var created = await _http.PostAsJsonAsync("/v1/volumes", new { name = "db", @namespace = "shop", sizeBytes = 4096 });
        Assert.Equal("/v1/volumes/db?namespace=shop", created.Headers.Location?.OriginalString);
        Assert.Equal(HttpStatusCode.OK, (await _http.GetAsync(created.Headers.Location)).StatusCode);
        Assert.Equal(HttpStatusCode.NotFound, (await _http.GetAsync("/v1/volumes/db")).StatusCode);
        Assert.Single((await _http.GetFromJsonAsync<JsonArray>("/v1/volumes?namespace=shop"))!);
        Assert.Empty((await _http.GetFromJsonAsync<JsonArray>("/v1/volumes?namespace=other"))!);
    }

    [Fact(DisplayName = "A snapshot is made once: the same request again finds it; it is shown, compared, gone back to and deleted")]
    public async Task Snapshots_live_and_die()
    {
        await _http.PostAsJsonAsync("/v1/volumes", new { name = "db", @namespace = "shop", sizeBytes = 1 << 20 });
        var made = await _http.PostAsJsonAsync("/v1/volumes/db/snapshots?namespace=shop", new { name = "monday" });
        Assert.Equal((HttpStatusCode.Created, "/v1/volumes/db/snapshots/monday?namespace=shop"), (made.StatusCode, made.Headers.Location?.OriginalString));
        Assert.Equal(HttpStatusCode.OK, (await _http.PostAsJsonAsync("/v1/volumes/db/snapshots?namespace=shop", new { name = "monday" })).StatusCode);
        var snapshot = (await _http.GetFromJsonAsync<JsonNode>(made.Headers.Location))!;
        Assert.Equal(("monday", "db", "shop", 10, "1970-01-01T00:00:00+00:00", 8192),
            ((string)snapshot["name"]!, (string)snapshot["volume"]!, (string)snapshot["namespace"]!, (int)snapshot["sequence"]!, (string)snapshot["createdAt"]!, (int)snapshot["uniqueBytes"]!));
        Assert.Equal(16384, (int)snapshot["sharedBytes"]!);
        var list = (await _http.GetFromJsonAsync<JsonNode>("/v1/volumes/db/snapshots?namespace=shop"))!;
        Assert.Equal((1 << 20, "monday"), ((int)list["storedBytes"]!, (string)list["snapshots"]![0]!["name"]!));
        Assert.Equal(1, (int)(await _http.GetFromJsonAsync<JsonNode>("/v1/volumes/db?namespace=shop"))!["snapshots"]!);

        var changed = (await _http.GetFromJsonAsync<JsonNode>("/v1/volumes/db/changed-blocks?namespace=shop&from=monday&first=4096"))!;
        Assert.Equal((4096, 8192, 16384), ((int)changed["runs"]![0]!["offset"]!, (int)changed["runs"]![0]!["length"]!, (int)changed["next"]!));
        await AssertProblemAsync(await _http.GetAsync("/v1/volumes/db/changed-blocks?namespace=shop&to=friday"), HttpStatusCode.NotFound, "it has no snapshot \"friday\"");

        var restored = await SendAsync(HttpMethod.Post, "/v1/volumes/db/snapshots/monday/restore?namespace=shop", null, null);
        Assert.Equal(HttpStatusCode.OK, restored.StatusCode);
        await SendAsync(HttpMethod.Post, "/v1/volumes/db/attach?namespace=shop", """{"node":"node-1"}""", null);
        await AssertProblemAsync(await SendAsync(HttpMethod.Post, "/v1/volumes/db/snapshots/monday/restore?namespace=shop", null, null), HttpStatusCode.Conflict, "attached to node-1");
        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Delete, "/v1/volumes/db/snapshots/monday?namespace=shop", null, null)).StatusCode);
        await AssertProblemAsync(await _http.GetAsync(made.Headers.Location), HttpStatusCode.NotFound, "it has no snapshot \"monday\"");
    }

    [Fact(DisplayName = "A group snapshot is made once: the same request again finds it; it is listed, shown and deleted")]
    public async Task Snapshot_groups_live_and_die()
    {
        foreach (var name in new[] { "db", "log" }) await _http.PostAsJsonAsync("/v1/volumes", new { name, @namespace = "shop", sizeBytes = 1 << 20 });
        var request = new { name = "nightly", volumes = new[] { "shop/db", "shop/log" } };
        var made = await _http.PostAsJsonAsync("/v1/snapshot-groups", request);
        Assert.Equal((HttpStatusCode.Created, "/v1/snapshot-groups/nightly"), (made.StatusCode, made.Headers.Location?.OriginalString));
        Assert.Equal(HttpStatusCode.OK, (await _http.PostAsJsonAsync("/v1/snapshot-groups", request)).StatusCode);
        await AssertProblemAsync(await _http.PostAsJsonAsync("/v1/snapshot-groups", new { name = "nightly", volumes = new[] { "shop/db" } }), HttpStatusCode.Conflict, "of other volumes");
        var group = (await _http.GetFromJsonAsync<JsonNode>(made.Headers.Location))!;
        Assert.Equal(("nightly", "ready", 2), ((string)group["name"]!, (string)group["state"]!, group["snapshots"]!.AsArray().Count));
        var member = group["snapshots"]![1]!;
        Assert.Equal(("log", "shop", "nightly", 10, true),
            ((string)member["volume"]!, (string)member["namespace"]!, (string)member["name"]!, (int)member["sequence"]!, (bool)member["exists"]!));
        Assert.Single((await _http.GetFromJsonAsync<JsonArray>("/v1/snapshot-groups"))!);
        Assert.Equal(HttpStatusCode.NoContent, (await SendAsync(HttpMethod.Delete, "/v1/snapshot-groups/nightly", null, null)).StatusCode);
        await AssertProblemAsync(await _http.GetAsync(made.Headers.Location), HttpStatusCode.NotFound, "There is no snapshot group \"nightly\"");
    }

    [Theory(DisplayName = "A wrong request gets problem details with one sentence that names the input")]
    [InlineData("POST", "/v1/volumes", """{"name":"Db","sizeBytes":4096}""", 400, "The volume name \"Db\" is not valid")]
    [InlineData("POST", "/v1/volumes", """{"name":"db"}""", 400, "sizeBytes")]
    [InlineData("POST", "/v1/volumes", """{"name":"db","sizeBytes":4096,"sise":1}""", 400, "sise")]
    [InlineData("POST", "/v1/volumes", """{"name":"db","sizeBytes":"ten"}""", 400, "at sizeBytes")]
    [InlineData("POST", "/v1/volumes", """{"name":null,"sizeBytes":1}""", 400, "name")]
    [InlineData("POST", "/v1/volumes", "{", 400, "not the JSON that is expected")]
    [InlineData("POST", "/v1/volumes", "", 400, "The request has no body: send the JSON")]
    [InlineData("POST", "/v1/volumes", """{"name":"db","sizeBytes":-5}""", 400, "at sizeBytes: use a whole number, 0 or more; see")]
    [InlineData("POST", "/v1/volumes", """{"name":"db","sizeBytes":4096,"labels":["a"]}""", 400, "at labels: use an object; see")]
    [InlineData("POST", "/v1/volumes", """{"name":"db","name":"other","sizeBytes":4096}""", 400, "'name'")]
    [InlineData("DELETE", "/v1/volumes/db?namespce=shop", null, 400, "The query parameter \"namespce\" is not known: use namespace, force.")]
    [InlineData("GET", "/v1/volumes?limit=2", null, 400, "The query parameter \"limit\" is not known: use namespace.")]
    [InlineData("GET", "/v1/nodes?zone=a", null, 400, "The query parameter \"zone\" is not known: /v1/nodes takes none.")]
    [InlineData("PUT", "/v1/nodes?zone=a", "{}", 405, "/v1/nodes does not take PUT")]
    [InlineData("DELETE", "/v1/volumes/db?force=maybe", null, 400, "The query parameter force is \"maybe\": use true or false.")]
    [InlineData("DELETE", "/v1/snapshot-groups/a?forget-record=x", null, 400, "The query parameter forget-record is \"x\": use true or false.")]
    [InlineData("GET", "/v1/volumes/db/changed-blocks?first=-1", null, 400, "The query parameter first is \"-1\": use a whole number, 0 or more.")]
    [InlineData("POST", "/v1/volumes", """{"name":"db","sizeBytes":4096,"replicas":3}""", 409, "3 copies need 3 nodes")]
    [InlineData("GET", "/v1/volumes/no", null, 404, "There is no volume \"no\".")]
    [InlineData("GET", "/v1/volumes/a%2Fb", null, 400, "is not valid")]
    [InlineData("GET", "/v1/volumes?namespace=X", null, 400, "The namespace \"X\"")]
    [InlineData("POST", "/v1/nodes/node-0/drain", """{"timeoutSeconds":601}""", 400, "The time-out of 601 s is out of range")]
    [InlineData("POST", "/v1/nodes/no/end-restart", null, 404, "There is no node \"no\".")]
    [InlineData("POST", "/v1/nodes/no/drain", null, 404, "There is no node \"no\".")]
    [InlineData("PATCH", "/v1/volumes/no", "{}", 400, "The change is empty")]
    [InlineData("POST", "/v1/volumes/no/snapshots", """{"name":"a"}""", 404, "There is no volume \"no\".")]
    [InlineData("POST", "/v1/volumes/no/snapshots", """{"name":"A"}""", 400, "The snapshot name \"A\" is not valid")]
    [InlineData("POST", "/v1/volumes/no/snapshots", """{"name":"auto-a"}""", 400, "are the schedule's")]
    [InlineData("GET", "/v1/volumes/no/snapshots/B", null, 400, "The snapshot name \"B\" is not valid")]
    [InlineData("DELETE", "/v1/volumes/no/snapshots/b", null, 404, "There is no volume \"no\".")]
    [InlineData("GET", "/v1/volumes/no/changed-blocks?from=C", null, 400, "The snapshot name \"C\" is not valid")]
    [InlineData("GET", "/v1/volumes/no/changed-blocks?first=5", null, 400, "The offset 5 is not a multiple of 4096")]
    [InlineData("POST", "/v1/snapshot-groups", """{"name":"A","volumes":["db"]}""", 400, "The snapshot name \"A\" is not valid")]
    [InlineData("POST", "/v1/snapshot-groups", """{"name":"auto-a","volumes":["db"]}""", 400, "are the schedule's")]
    [InlineData("POST", "/v1/snapshot-groups", """{"name":"a","volumes":[]}""", 400, "has 0 volumes: name 1 to 64")]
    [InlineData("POST", "/v1/snapshot-groups", """{"name":"a","volumes":["db","Db"]}""", 400, "The volume name \"Db\" is not valid")]
    [InlineData("POST", "/v1/snapshot-groups", """{"name":"a","volumes":["db","x/db","default/db"]}""", 400, "The volume db is named twice")]
    [InlineData("POST", "/v1/snapshot-groups", """{"name":"a","volumes":["no"]}""", 404, "There is no volume \"no\".")]
    [InlineData("DELETE", "/v1/snapshot-groups/no", null, 404, "There is no snapshot group \"no\".")]
    [InlineData("GET", "/v1/snapshot-groups/N", null, 400, "The name of a snapshot group \"N\" is not valid")]
    [InlineData("GET", "/v1/nodes/no", null, 404, "There is no node \"no\".")]
    [InlineData("PUT", "/v1/volumes/db", "{}", 405, "/v1/volumes/db does not take PUT")]
    [InlineData("GET", "/v1/nothing", null, 404, "/openapi/v1.json lists all paths")]
    public async Task Wrong_requests_are_explained(string method, string path, string? body, int code, string sentence) =>
        await AssertProblemAsync(await SendAsync(new HttpMethod(method), path, body, null), (HttpStatusCode)code, sentence);

    [Fact(DisplayName = "HEAD answers what GET does without its body; what is scraped and probed takes any query")]
    public async Task Heads_are_answered()
    {
        await _http.PostAsJsonAsync("/v1/volumes", new { name = "db", sizeBytes = 4096 });
        foreach (var path in new[] { "/v1/volumes", "/v1/volumes/db", "/v1/status", "/v1/health?probe=1", "/metrics?node=a", "/openapi/v1.json" })
        {
            var (got, head) = (await _http.GetAsync(path), await SendAsync(HttpMethod.Head, path, null, null));
            Assert.Equal((path, HttpStatusCode.OK, HttpStatusCode.OK), (path, got.StatusCode, head.StatusCode));
            Assert.Equal((got.Headers.ETag, got.Content.Headers.ContentType), (head.Headers.ETag, head.Content.Headers.ContentType));
            Assert.Empty(await head.Content.ReadAsByteArrayAsync());
        }
        Assert.Equal(HttpStatusCode.NotFound, (await SendAsync(HttpMethod.Head, "/v1/volumes/no", null, null)).StatusCode);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await SendAsync(HttpMethod.Head, "/v1/volumes/db/attach", null, null)).StatusCode);
    }

    [Fact(DisplayName = "A body that is not JSON or too large, and a weak If-Match, are refused")]
    public async Task Wrong_framing_is_explained()
    {
        var text = await _http.PostAsync("/v1/volumes", new StringContent("name=db", Encoding.UTF8, "text/plain"));
        await AssertProblemAsync(text, HttpStatusCode.UnsupportedMediaType, "application/json");
        var large = $$"""{"name":"{{new string('a', ApiServer.RequestBytesMax)}}","sizeBytes":4096}""";
        await AssertProblemAsync(await SendAsync(HttpMethod.Post, "/v1/volumes", large, null), HttpStatusCode.RequestEntityTooLarge,
            "at most");
        await AssertProblemAsync(
            await SendAsync(HttpMethod.Delete, "/v1/volumes/db", null, "W/\"1\""), HttpStatusCode.BadRequest, "The If-Match header");
    }

    [Theory(DisplayName = "If-Match where it does not count is refused: it must not be ignored")]
    [InlineData("POST", "/v1/volumes/db/move", """{"node":"node-1"}""")]
    [InlineData("POST", "/v1/volumes/db/snapshots", """{"name":"a"}""")]
    [InlineData("DELETE", "/v1/volumes/db/snapshots/a", null)]
    [InlineData("POST", "/v1/volumes/db/snapshots/a/restore", null)]
    public async Task Ignored_conditions_are_refused(string method, string path, string? body)
    {
        await AssertProblemAsync(await SendAsync(new HttpMethod(method), path, body, "\"1\""), HttpStatusCode.BadRequest, $"{path} takes no If-Match");
        await AssertProblemAsync(await SendAsync(new HttpMethod(method), path, body, "*"), HttpStatusCode.NotFound, "There is no volume");
    }

    [Theory(DisplayName = "Each kind of failure has its status code")]
    [InlineData(ControlStatus.Invalid, 400)]
    [InlineData(ControlStatus.NotFound, 404)]
    [InlineData(ControlStatus.Conflict, 409)]
    [InlineData(ControlStatus.Impossible, 409)]
    [InlineData(ControlStatus.Stale, 412)]
    [InlineData(ControlStatus.Unavailable, 503)]
    [InlineData(ControlStatus.TimedOut, 504)]
    public async Task Failures_have_codes(ControlStatus status, int code)
    {
        _control.Failure = new ControlFailure(status, "Because.");
        var answer = await _http.GetAsync("/v1/status");
        await AssertProblemAsync(answer, (HttpStatusCode)code, "Because.");
        Assert.Equal(code == 503, answer.Headers.RetryAfter is not null);
    }

    [Fact(DisplayName = "A failure inside the node is answered with 500 and counted, and the next request works")]
    public async Task Exceptions_become_problems()
    {
        _control.Exception = new InvalidOperationException("broken");
        await AssertProblemAsync(await _http.GetAsync("/v1/volumes"), HttpStatusCode.InternalServerError, "broken");
        _control.Exception = null;
        Assert.Equal(HttpStatusCode.OK, (await _http.GetAsync("/v1/volumes")).StatusCode);
        Assert.Contains("myrmidon_api_requests_total{code=\"500\"} 1", await _http.GetStringAsync("/metrics"), StringComparison.Ordinal);
    }

    [Fact(DisplayName = "Health is 200 when ready and 503 when not, with each part's times")]
    public async Task Health_is_served()
    {
        var healthy = await _http.GetAsync("/v1/health");
        Assert.Equal(HttpStatusCode.OK, healthy.StatusCode);
        var part = JsonNode.Parse(await healthy.Content.ReadAsStringAsync())!["submodules"]![0]!;
        Assert.Equal(("store", "healthy"), ((string)part["name"]!, (string)part["status"]!));
        Assert.True(part["updatedAt"]!.GetValue<DateTimeOffset>() >= part["changedAt"]!.GetValue<DateTimeOffset>());
        _health.Report("store", HealthState.Unhealthy, "The disk is gone.");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await _http.GetAsync("/v1/health")).StatusCode);
    }

    [Fact(DisplayName = "The OpenAPI document lists every path with an operation id")]
    public async Task OpenApi_is_served()
    {
        var document = (await _http.GetFromJsonAsync<JsonObject>("/openapi/v1.json"))!;
        string[] expected =
        [
            "/metrics", "/v1/devices", "/v1/health", "/v1/nodes", "/v1/nodes/{name}", "/v1/nodes/{name}/cordon", "/v1/nodes/{name}/disks/{disk}/drain", "/v1/nodes/{name}/disks/{disk}/undrain", "/v1/nodes/{name}/drain", "/v1/nodes/{name}/end-restart", "/v1/nodes/{name}/uncordon",
            "/v1/open-volumes", "/v1/recovery", "/v1/recovery/stand-down", "/v1/snapshot-groups", "/v1/snapshot-groups/{group}", "/v1/status",
            "/v1/volumes", "/v1/volumes/{name}", "/v1/volumes/{name}/attach", "/v1/volumes/{name}/changed-blocks", "/v1/volumes/{name}/detach",
                "/v1/volumes/{name}/device", "/v1/volumes/{name}/events",
                "/v1/volumes/{name}/move", "/v1/volumes/{name}/scrub", "/v1/volumes/{name}/snapshots", "/v1/volumes/{name}/snapshots/{snapshot}",
                "/v1/volumes/{name}/snapshots/{snapshot}/restore",
        ];
        var paths = document["paths"]!.AsObject();
        Assert.Equal(expected, paths.Select(path => path.Key).Order(StringComparer.Ordinal));
        Assert.All(paths, path => Assert.All(path.Value!.AsObject(), verb => Assert.NotNull(verb.Value!["operationId"])));
        Assert.NotNull(document["components"]!["schemas"]!["VolumeResource"]!["properties"]!["sizeBytes"]);
    }

    [Fact(DisplayName = "The OpenAPI document declares what is answered without an answer in time, ETags, and If-Match where it counts")]
    public async Task OpenApi_tells_headers()
    {
        var paths = (await _http.GetFromJsonAsync<JsonObject>("/openapi/v1.json"))!["paths"]!.AsObject();
        var operations = paths.SelectMany(path => path.Value!.AsObject()).ToDictionary(verb => (string)verb.Value!["operationId"]!, verb => verb.Value!.AsObject());
        string[] askNobody = ["GetHealth", "GetMetrics", "ListOpenVolumes", "LookAtRecovery", "Recover", "StandDown"];
        Assert.Equal(askNobody, operations.Where(one => one.Value["responses"]!["504"] is null).Select(one => one.Key).Order(StringComparer.Ordinal));
        string[] conditional = ["AttachVolume", "ChangeVolume", "DeleteVolume", "DetachVolume"];
        Assert.Equal(conditional, operations.Where(one => one.Value["parameters"]?.AsArray().Any(parameter => (string)parameter!["name"]! == "If-Match" && (string)parameter["in"]! == "header") == true)
            .Select(one => one.Key).Order(StringComparer.Ordinal));
        Assert.All(conditional, name => Assert.NotNull(operations[name]["responses"]!["412"]!["headers"]!["ETag"]));
        Assert.Equal(["GetVolume"], operations.Where(one => one.Value["parameters"]?.AsArray().Any(parameter => (string)parameter!["name"]! == "If-None-Match") == true).Select(one => one.Key));
        Assert.NotNull(operations["GetVolume"]["responses"]!["304"]!["headers"]!["ETag"]);
        string[] tagged = ["AttachVolume", "ChangeVolume", "CreateVolume", "DetachVolume", "GetVolume", "MoveVolume", "RestoreSnapshot"];
        Assert.Equal(tagged, operations.Where(one => one.Value["responses"]!.AsObject().Any(response => response.Key[0] == '2' && response.Value!["headers"]?["ETag"] is not null))
            .Select(one => one.Key).Order(StringComparer.Ordinal));
        Assert.NotNull(operations["CreateVolume"]["responses"]!["404"]);
    }

    [Fact(DisplayName = "A port that is taken is an IOException, not a hang")]
    public async Task Taken_port_throws() =>
        await Assert.ThrowsAsync<IOException>(() =>
            ApiServer.StartAsync(new ApiOptions("x", IPAddress.Loopback, _server.Address.Port), _control, new FakeRecovery(), new FakeDevices(), _health, _metrics));

    private async Task<HttpResponseMessage> SendAsync(HttpMethod method, string path, string? body, string? ifMatch)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null) request.Content = new StringContent(body, Encoding.UTF8, "application/json");
        if (ifMatch is not null) request.Headers.TryAddWithoutValidation("If-Match", ifMatch);
        return await _http.SendAsync(request);
    }

    private static async Task AssertProblemAsync(HttpResponseMessage answer, HttpStatusCode code, string sentence)
    {
        var text = await answer.Content.ReadAsStringAsync();
        Assert.True(code == answer.StatusCode, $"{(int)answer.StatusCode}: {text}");
        Assert.Equal("application/problem+json", answer.Content.Headers.ContentType?.MediaType);
        var problem = JsonSerializer.Deserialize<JsonObject>(text)!;
        Assert.Contains(sentence, (string)problem["detail"]!, StringComparison.Ordinal);
        Assert.EndsWith(".", (string)problem["detail"]!, StringComparison.Ordinal);
        Assert.Equal((int)code, (int)problem["status"]!);
    }
}
