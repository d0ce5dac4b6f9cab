using System.Collections.Immutable;
using System.Net;
using System.Net.Http.Headers;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Cluster.Csi.Csi;
using Cluster.Messages.Model;
using Cluster.Node.Hosting.Options;
using Grpc.Core;

namespace Cluster.Node.Hosting.FrontEnds;

/// <summary>
/// Reads a PersistentVolumeClaim from Kubernetes' API server, with the credentials of the pod: the provisioner passes on a claim's name, not its labels. Asked once for each new
/// volume and for nothing else. Any thread.
/// </summary>
public sealed class ClaimReader : IDisposable
{
    /// <summary>Within this the server answers, or the call is UNAVAILABLE, and made again by whoever made it.</summary>
    private const int TimeoutMs = 5000;

    /// <summary>Kubernetes keeps no object that is larger (etcd's bound on a request is 1.5 MiB).</summary>
    private const int AnswerBytesMax = 2 << 20;

    private readonly PodCredentials _credentials;
    private readonly HttpClient _http;

    /// <param name="api">Such as https://10.96.0.1:443.</param>
    /// <param name="credentials">The directory with `token` and `ca.crt`; read for each call.</param>
    public ClaimReader(Uri api, string credentials)
    {
        _credentials = new PodCredentials(credentials);
        var handler = new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false };
        handler.SslOptions.RemoteCertificateValidationCallback = (_, certificate, chain, errors) => IsTrusted(certificate, chain, errors);
        _http = new HttpClient(handler) { BaseAddress = api, Timeout = TimeSpan.FromMilliseconds(TimeoutMs), MaxResponseContentBufferSize = AnswerBytesMax };
    }

    public Uri Api => _http.BaseAddress!;

    /// <summary>Null: nobody is asked. Wrong settings were refused on load (<see cref="NodeSettings"/>).</summary>
    public static ClaimReader? Of(NodeOptions options, Func<string, string?> variable)
    {
        var address = KubernetesApiAddress.Of(options, variable);
        Invariant.That(address.Error.Length == 0, "Where the API server is was checked on load");
        return address.Api is { } api ? new ClaimReader(api, options.KubernetesCredentials) : null;
    }

    /// <summary>The claim's labels and annotations that begin with <paramref name="prefix"/>. None if there is no such claim any more.</summary>
    public async Task<CsiResult<ImmutableSortedDictionary<string, string>>> ReadAsync(string scope, string claim, string prefix, CancellationToken cancellation)
    {
        var what = $"the claim {scope}/{claim}";
        var token = _credentials.Token();
        if (token.Error is { } noToken) return Named(noToken, what);
        // The connection may have been made before; what would not make another one is said at once, not when it has to.
        var authorities = _credentials.Authorities();
        if (authorities.Error is { } noAuthorities) return Named(noAuthorities, what);
        Dispose(authorities.Value!);
        try
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, $"/api/v1/namespaces/{Uri.EscapeDataString(scope)}/persistentvolumeclaims/{Uri.EscapeDataString(claim)}");
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token.Value);
            using var answer = await _http.SendAsync(request, cancellation);
            if (answer.StatusCode == HttpStatusCode.NotFound) return ImmutableSortedDictionary<string, string>.Empty;
            if (answer.StatusCode is HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized) return new CsiError(StatusCode.FailedPrecondition,
                $"Kubernetes does not let this node read {what} ({(int)answer.StatusCode}): its service account needs the verb get on persistentvolumeclaims, or set myrmidon.kubernetes-api to off.");
            if (!answer.IsSuccessStatusCode) return Unavailable(what, $"it answered {(int)answer.StatusCode}");
            using var json = JsonDocument.Parse(await answer.Content.ReadAsByteArrayAsync(cancellation));
            return Labels(json.RootElement, what, prefix);
        }
        catch (OperationCanceledException) when (!cancellation.IsCancellationRequested)
        {
            return Unavailable(what, $"no answer within {TimeoutMs / 1000} s");
        }
        catch (HttpRequestException e) when (e.HttpRequestError == HttpRequestError.SecureConnectionError)
        {
            return Unavailable(what, $"{_http.BaseAddress!.Authority} does not prove by a certificate for this address, signed by one in {_credentials.AuthoritiesFile}, that it is that server ({(e.InnerException ?? e).Message})");
        }
        catch (Exception e) when (e is HttpRequestException or IOException or JsonException)
        {
            return Unavailable(what, (e.InnerException ?? e).Message);
        }
    }

    public void Dispose() => _http.Dispose();

    private static CsiResult<ImmutableSortedDictionary<string, string>> Labels(JsonElement root, string what, string prefix)
    {
        var labels = ImmutableSortedDictionary.CreateBuilder<string, string>(StringComparer.Ordinal);
        if (root.ValueKind != JsonValueKind.Object || !root.TryGetProperty("metadata", out var metadata) || metadata.ValueKind != JsonValueKind.Object) return Unavailable(what, "what it answered is no claim");
        foreach (var part in (string[])["labels", "annotations"])
        {
            if (!metadata.TryGetProperty(part, out var map) || map.ValueKind != JsonValueKind.Object) continue;
            foreach (var entry in map.EnumerateObject())
            {
                if (!entry.Name.StartsWith(prefix, StringComparison.Ordinal) || entry.Value.ValueKind != JsonValueKind.String) continue;
                var value = entry.Value.GetString()!;
                if (labels.TryGetValue(entry.Name, out var other) && other != value)
                    return CsiError.Invalid($"Of {what} the label {entry.Name} is '{other}' and the annotation of that name '{value}'; take one of them away.");
                labels[entry.Name] = value;
            }
        }
        return labels.ToImmutable();
    }

    private static CsiError Unavailable(string what, string why) => new(StatusCode.Unavailable, $"Kubernetes' API server could not be asked for {what}: {why}.");

    private static CsiError Named(CsiError error, string what) => error with { Message = $"Kubernetes' API server can't be asked for {what}: {error.Message}" };

    private static void Dispose(X509Certificate2Collection certificates)
    {
        foreach (var certificate in certificates) certificate.Dispose();
    }

    private bool IsTrusted(X509Certificate? certificate, X509Chain? chain, System.Net.Security.SslPolicyErrors errors)
    {
        // The name and the time must be right in any case; who signed it, the pod's ca.crt says.
        if (certificate is null || chain is null || (errors & ~System.Net.Security.SslPolicyErrors.RemoteCertificateChainErrors) != 0) return false;
        if (_credentials.Authorities().Value is not { } authorities) return false;
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.CustomTrustStore.Clear();
        chain.ChainPolicy.CustomTrustStore.AddRange(authorities);
        using var checkedCertificate = new X509Certificate2(certificate);
        var isTrusted = chain.Build(checkedCertificate);
        Dispose(authorities);
        return isTrusted;
    }
}
