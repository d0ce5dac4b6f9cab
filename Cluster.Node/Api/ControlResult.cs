namespace Cluster.Node.Api;

/// <summary>How a control operation ended; each maps to one HTTP status and one exit code of the CLI.</summary>
public enum ControlStatus
{
    Ok,
    /// <summary>The request is not well formed or out of bounds: 400.</summary>
    Invalid,
    /// <summary>What the request names does not exist: 404.</summary>
    NotFound,
    /// <summary>The request contradicts the present state: 409.</summary>
    Conflict,
    /// <summary>The cluster can't do it as it is now, with too few nodes or too little space: 409.</summary>
    Impossible,
    /// <summary>If-Match named a revision that is no longer the newest: 412.</summary>
    Stale,
    /// <summary>Not now; the same request may succeed later: 503.</summary>
    Unavailable,
    /// <summary>No answer in time; the request may have been carried out: 504.</summary>
    TimedOut,
    /// <summary>It was tried and failed, and is not mended by asking again: 500.</summary>
    Failed,
}

/// <summary>A value, or the reason in one sentence that names the input and what would be right.</summary>
/// <param name="Revision">The volume's present revision, where the status is Stale and it could be read.</param>
public readonly record struct ControlResult<T>(ControlStatus Status, T? Value, string Reason, string? Revision = null)
    where T : class
{
    public bool IsOk => Status == ControlStatus.Ok;

    public static implicit operator ControlResult<T>(T value) => new(ControlStatus.Ok, value, "");

    public static implicit operator ControlResult<T>(ControlFailure failure) => new(failure.Status, null, failure.Reason, failure.Revision);
}

/// <summary>The failing half of a <see cref="ControlResult{T}"/>; it converts to one of any type.</summary>
public sealed record ControlFailure(ControlStatus Status, string Reason, string? Revision = null);
