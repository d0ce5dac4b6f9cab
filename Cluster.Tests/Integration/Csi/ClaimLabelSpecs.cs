using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Cluster.Csi.Csi.V1;
using Cluster.Node.Hosting.FrontEnds;
using Cluster.Node.Hosting.Options;
using Cluster.Tests.Integration.Hosting;
using Grpc.Core;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Cluster.Tests.Integration.Csi;

/// <summary>The labels of a claim of Kubernetes become those of its volume: a node, its CSI socket, and an API server that has claims and nothing else.</summary>
public sealed class ClaimLabelSpecs : IAsyncLifetime
{
    private const string Token = "the-token.of_the~pod+/==";
    private readonly string _credentials = Directory.CreateTempSubdirectory("myrmidon-claims").FullName;
    private readonly Dictionary<string, string> _claims = [];
    private readonly TestNodes _nodes = new(1);
    private WebApplication _server = null!;
    private CsiClient _client = null!;
    private int _status = StatusCodes.Status200OK;
    private int _asked;

    public async Task InitializeAsync()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=api", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        using var made = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
        await File.WriteAllTextAsync(Authorities, made.ExportCertificatePem());
        await File.WriteAllTextAsync(TokenFile, Token + "\n");
        var certificate = X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration().ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.UseHttps(certificate)));
        _server = builder.Build();
        _server.MapGet("/api/v1/namespaces/{scope}/persistentvolumeclaims/{name}", (HttpContext context, string scope, string name) =>
        {
            Interlocked.Increment(ref _asked);
            if (context.Request.Headers.Authorization != $"Bearer {Token}") return Results.StatusCode(StatusCodes.Status401Unauthorized);
            if (_status != StatusCodes.Status200OK) return Results.StatusCode(_status);
            return _claims.TryGetValue($"{scope}/{name}", out var metadata) ? Results.Text($"{{\"kind\":\"PersistentVolumeClaim\",\"metadata\":{metadata}}}") : Results.NotFound();
        });
        await _server.StartAsync();
        _nodes.More["kubernetes-api"] = _server.Urls.Single();
        _nodes.More["kubernetes-credentials"] = _credentials;
        await _nodes.StartAllAsync();
        _client = new CsiClient(CsiNode.SocketOf(_nodes, 0));
    }

    public async Task DisposeAsync()
    {
        _client.Dispose();
        await _nodes.DisposeAsync();
        await _server.DisposeAsync();
        Directory.Delete(_credentials, recursive: true);
    }

    [Fact(DisplayName = "Labels and annotations of a claim become labels of its volume; a claim can't change its class, or have what is unknown; made again the volume is found whatever the claim says by now")]
    public async Task Claims()
    {
        _claims["shop/db"] = """{"labels":{"app":"db","myrmidon.dev/iops-max":"900"},"annotations":{"myrmidon.dev/bandwidth-max":"5MiB","other":"x"}}""";
        var made = await _client.Controller.CreateVolumeAsync(Request("pvc-1", "db"));
        var labels = await LabelsAsync(made.Volume.VolumeId);
        Assert.Equal(("900", "5MiB", "db"), (labels["myrmidon.dev/iops-max"], labels["myrmidon.dev/bandwidth-max"], labels["csi.storage.k8s.io/pvc/name"]));
        Assert.DoesNotContain("app", labels.Keys);
        _claims["shop/db"] = """{"labels":{"myrmidon.dev/iops-max":"5"}}""";
        Assert.Equal(made, await _client.Controller.CreateVolumeAsync(Request("pvc-1", "db")));

        // Without metadata of ours, without a claim, and without the names that the provisioner passes on.
        _claims["shop/plain"] = """{"name":"plain"}""";
        await _client.Controller.CreateVolumeAsync(Request("pvc-2", "plain"));
        await _client.Controller.CreateVolumeAsync(Request("pvc-3", "gone"));
        var asked = _asked;
        await _client.Controller.CreateVolumeAsync(CsiNode.CreateRequest("pvc-4"));
        Assert.Equal(asked, _asked);

        await RefusedAsync(StatusCode.InvalidArgument, """{"labels":{"myrmidon.dev/replikas":"1"}}""", "replikas");
        await RefusedAsync(StatusCode.InvalidArgument, """{"labels":{"myrmidon.dev/iops-max":"many"}}""", "iops-max");
        await RefusedAsync(StatusCode.InvalidArgument, """{"labels":{"myrmidon.dev/replicas":"1"},"annotations":{"myrmidon.dev/replicas":"2"}}""", "annotation");
        await RefusedAsync(StatusCode.InvalidArgument, """{"labels":{"myrmidon.dev/burst":"2s"}}""", "its class", request => request.Parameters["burst"] = "1s");
        _claims["shop/same"] = """{"labels":{"myrmidon.dev/iops-max":"100"}}""";
        var same = Request("pvc-5", "same");
        same.Parameters["iops-max"] = "100";
        await _client.Controller.CreateVolumeAsync(same);
    }

    [Fact(DisplayName = "An API server that forbids, fails, answers nonsense, or is another one than the pod's makes no volume, and says which claim could not be read")]
    public async Task Failures()
    {
        _status = StatusCodes.Status403Forbidden;
        await RefusedAsync(StatusCode.FailedPrecondition, "{}", "persistentvolumeclaims");
        _status = StatusCodes.Status503ServiceUnavailable;
        await RefusedAsync(StatusCode.Unavailable, "{}", "503");
        _status = StatusCodes.Status200OK;
        await RefusedAsync(StatusCode.Unavailable, "[", "shop/bad");
        await RefusedAsync(StatusCode.Unavailable, "7", "no claim");
        var asked = _asked;
        await File.WriteAllTextAsync(Authorities, Another());
        // A connection that was made before is not asked for its certificate again.
        using var reader = new ClaimReader(new Uri(_server.Urls.Single()), _credentials);
        var read = await reader.ReadAsync("shop", "bad", "myrmidon.dev/", default);
        Assert.Equal(StatusCode.Unavailable, read.Error?.Code);
        Assert.Contains(Authorities, read.Error!.Message, StringComparison.Ordinal);
        Assert.Equal(asked, _asked);
    }

    [Fact(DisplayName = "A token or authorities that are absent, unreadable, empty, garbled or too large make no volume: FAILED_PRECONDITION names the file and what it must hold; put right, the same call succeeds")]
    public async Task Garbled_files()
    {
        var asked = _asked;
        foreach (var garbled in (string[])["", " \n", "two\nlines", "a\rb", "a b", "töken", "a\0b", new string('a', PodCredentials.FileBytesMax + 1)])
            await WrongFileAsync(TokenFile, "service account's token", file => File.WriteAllText(file, garbled));
        await WrongFileAsync(TokenFile, "service account's token", File.Delete);
        await WrongFileAsync(TokenFile, "service account's token", BeDirectory);
        foreach (var garbled in (string[])["", "nonsense", Another().Insert(60, "!"), Another()[..80], "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", new string('a', PodCredentials.FileBytesMax + 1)])
            await WrongFileAsync(Authorities, "in PEM", file => File.WriteAllText(file, garbled));
        await WrongFileAsync(Authorities, "in PEM", File.Delete);
        await WrongFileAsync(Authorities, "in PEM", BeDirectory);
        Assert.Equal(asked, _asked);
        _claims["shop/bad"] = "{}";
        await _client.Controller.CreateVolumeAsync(Request("pvc-bad", "bad"));
    }

    [Theory(DisplayName = "In a pod with a token, what the kubelet tells of the API server is checked at the start: a garbled variable is named, with what would be right")]
    [InlineData("10.96.0.1", "443", "")]
    [InlineData("10.96.0.1", "", "")]
    [InlineData("fd00::1", "6443", "")]
    [InlineData("kubernetes.default.svc", "443", "")]
    [InlineData("10.96.0.1:443", "443", "KUBERNETES_SERVICE_HOST")]
    [InlineData("https://10.96.0.1", "443", "KUBERNETES_SERVICE_HOST")]
    [InlineData("a b", "443", "KUBERNETES_SERVICE_HOST")]
    [InlineData("10.96.0.1", "0", "KUBERNETES_SERVICE_PORT")]
    [InlineData("10.96.0.1", "65536", "KUBERNETES_SERVICE_PORT")]
    [InlineData("10.96.0.1", "tcp://10.96.0.1:443", "KUBERNETES_SERVICE_PORT")]
    public void Garbled_variables(string host, string port, string named)
    {
        var pod = new Dictionary<string, string> { ["KUBERNETES_SERVICE_HOST"] = host, ["KUBERNETES_SERVICE_PORT"] = port };
        var loaded = Load(pod, _credentials);
        Assert.Equal(named.Length == 0, loaded.Options is not null);
        Assert.Contains(named, loaded.Error, StringComparison.Ordinal);
        if (named.Length > 0) Assert.Contains("it must be", loaded.Error, StringComparison.Ordinal);
        // Nobody reads them outside of a pod, or when the operator has decided.
        Assert.NotNull(Load(pod, _credentials + "-none").Options);
        Assert.NotNull(Load(pod, _credentials, "off").Options);
    }

    [Fact(DisplayName = "An address of the API server without a directory for the credentials is refused at the start")]
    public void No_directory()
    {
        var loaded = Load([], _credentials + "-none", "https://10.96.0.1");
        Assert.Null(loaded.Options);
        Assert.Contains("myrmidon.kubernetes-credentials", loaded.Error, StringComparison.Ordinal);
        Assert.Contains(_credentials + "-none", loaded.Error, StringComparison.Ordinal);
        Assert.NotNull(Load([], _credentials, "https://10.96.0.1").Options);
    }

    [Fact(DisplayName = "A process that runs in no pod asks nobody; in one it asks the address that the kubelet tells")]
    public void Automatic()
    {
        var options = new NodeOptions { KubernetesCredentials = _credentials };
        var pod = new Dictionary<string, string> { ["KUBERNETES_SERVICE_HOST"] = "10.96.0.1", ["KUBERNETES_SERVICE_PORT"] = "6443" };
        Assert.Null(ClaimReader.Of(options, _ => null));
        Assert.Null(ClaimReader.Of(options with { KubernetesCredentials = _credentials + "-none" }, pod.GetValueOrDefault));
        Assert.Null(ClaimReader.Of(options with { KubernetesApi = "off" }, pod.GetValueOrDefault));
        using var reader = ClaimReader.Of(options, pod.GetValueOrDefault);
        Assert.Equal("https://10.96.0.1:6443/", reader?.Api.ToString());
        var setting = NodeSetting.All.Single(candidate => candidate.Key == "kubernetes-api");
        Assert.All(["http://10.96.0.1", "10.96.0.1:443", "https://10.96.0.1/api", "https://a:b@10.96.0.1", "https://10.96.0.1/#x", "", "on"], wrong => Assert.Null(setting.Apply(options, wrong)));
    }

    private string TokenFile => Path.Combine(_credentials, "token");

    private string Authorities => Path.Combine(_credentials, "ca.crt");

    private static NodeSettingsResult Load(Dictionary<string, string> environment, string credentials, string api = "auto") => NodeSettings.Load(
        new Dictionary<string, string> { ["kubernetes-api"] = api, ["kubernetes-credentials"] = credentials }, environment, null);

    private static void BeDirectory(string file)
    {
        File.Delete(file);
        Directory.CreateDirectory(file);
    }

    /// <summary>The certificate of another server, in PEM.</summary>
    private static string Another()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        using var other = new CertificateRequest("CN=api", key, HashAlgorithmName.SHA256).CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
        return other.ExportCertificatePem();
    }

    /// <summary>Makes one file wrong, sees the call refused, and puts the file right again.</summary>
    private async Task WrongFileAsync(string file, string right, Action<string> spoil)
    {
        var before = await File.ReadAllTextAsync(file);
        spoil(file);
        await RefusedAsync(StatusCode.FailedPrecondition, "{}", right, named: file);
        if (Directory.Exists(file)) Directory.Delete(file);
        await File.WriteAllTextAsync(file, before);
    }

    private static CreateVolumeRequest Request(string name, string claim)
    {
        var request = CsiNode.CreateRequest(name);
        request.Parameters["csi.storage.k8s.io/pvc/name"] = claim;
        request.Parameters["csi.storage.k8s.io/pvc/namespace"] = "shop";
        return request;
    }

    private async Task RefusedAsync(StatusCode code, string metadata, string says, Action<CreateVolumeRequest>? change = null, string named = "")
    {
        _claims["shop/bad"] = metadata;
        var request = Request("pvc-bad", "bad");
        change?.Invoke(request);
        var message = await CsiClient.FailsAsync(code, _client.Controller.CreateVolumeAsync(request));
        Assert.Contains("shop/bad", message, StringComparison.Ordinal);
        Assert.Contains(says, message, StringComparison.Ordinal);
        Assert.Contains(named, message, StringComparison.Ordinal);
    }

    private async Task<Dictionary<string, string>> LabelsAsync(string volume)
    {
        var (_, body) = await _nodes.GetAsync(0, $"/v1/volumes/{volume}");
        return body.GetProperty("labels").EnumerateObject().ToDictionary(label => label.Name, label => label.Value.GetString()!);
    }
}
