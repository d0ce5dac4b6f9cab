using Grpc.Core;

namespace Cluster.Csi.Csi;

/// <summary>Why a call failed: the status code that the specification names for the condition, and one sentence without secrets.</summary>
public sealed record CsiError(StatusCode Code, string Message)
{
    public static CsiError Invalid(string message) => new(StatusCode.InvalidArgument, message);

    public static CsiError NotFound(string message) => new(StatusCode.NotFound, message);

    public static CsiError Exists(string message) => new(StatusCode.AlreadyExists, message);

    public static CsiError Precondition(string message) => new(StatusCode.FailedPrecondition, message);

    public static CsiError OutOfRange(string message) => new(StatusCode.OutOfRange, message);

    public static CsiError Exhausted(string message) => new(StatusCode.ResourceExhausted, message);

    public static CsiError Unavailable(string message) => new(StatusCode.Unavailable, message);

    public static CsiError Aborted(string message) => new(StatusCode.Aborted, message);
}

/// <summary>A value, or why there is none.</summary>
public readonly record struct CsiResult<T>
    where T : class
{
    private CsiResult(T? value, CsiError? error) => (Value, Error) = (value, error);

    public T? Value { get; }

    public CsiError? Error { get; }

    public static implicit operator CsiResult<T>(T value) => new(value, null);

    public static implicit operator CsiResult<T>(CsiError error) => new(null, error);
}
