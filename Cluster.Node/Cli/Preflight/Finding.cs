using System.Text.Json.Serialization;

namespace Cluster.Node.Cli.Preflight;

/// <summary>How much a finding matters.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<FindingLevel>))]
internal enum FindingLevel
{
    /// <summary>As it must be.</summary>
    [JsonStringEnumMemberName("ok")]
    Ok,

    /// <summary>A node runs, and something is worse than it need be or can't be done.</summary>
    [JsonStringEnumMemberName("warn")]
    Warn,

    /// <summary>A node does not start here, or not all that was asked for works.</summary>
    [JsonStringEnumMemberName("fail")]
    Fail,
}

/// <summary>One thing that was looked at. Frozen names of `preflight -o json`: add, never rename.</summary>
/// <param name="Check">Short name, unique in a report.</param>
/// <param name="Found">What is there, in one sentence.</param>
/// <param name="Fix">What to type or change; empty when nothing has to be done.</param>
internal sealed record Finding(string Check, FindingLevel Level, string Found, string Fix)
{
    public static Finding Ok(string check, string found) => new(check, FindingLevel.Ok, found, "");

    public static Finding Warn(string check, string found, string fix) => new(check, FindingLevel.Warn, found, fix);

    public static Finding Fail(string check, string found, string fix) => new(check, FindingLevel.Fail, found, fix);
}

/// <summary>What `preflight -o json` prints.</summary>
internal sealed record PreflightReport(bool Ok, int Warnings, int Failures, IReadOnlyList<Finding> Findings)
{
    public static PreflightReport Of(IReadOnlyList<Finding> findings)
    {
        var failures = findings.Count(finding => finding.Level == FindingLevel.Fail);
        return new PreflightReport(failures == 0, findings.Count(finding => finding.Level == FindingLevel.Warn), failures, findings);
    }
}
