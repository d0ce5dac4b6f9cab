namespace Cluster.Node.Cli;

/// <summary>What the program's exit code says. Frozen: scripts rely on them.</summary>
public static class ExitCode
{
    public const int Ok = 0;

    /// <summary>The command ran and failed.</summary>
    public const int Failure = 1;

    /// <summary>The command line or the request is wrong.</summary>
    public const int Usage = 2;

    /// <summary>What the command names does not exist.</summary>
    public const int NotFound = 3;

    /// <summary>The present state forbids it, or it changed meanwhile.</summary>
    public const int Conflict = 4;

    /// <summary>No node answered, or the cluster cannot do it now; try again.</summary>
    public const int Unreachable = 5;

    /// <summary>Stopped by Ctrl-C, as shells count it.</summary>
    public const int Interrupted = 130;

    public const string HelpText =
        "Exit codes: 0 done, 1 failed, 2 wrong command line or request, 3 not found, 4 conflict, 5 unreachable or unavailable now, 130 interrupted.";
}
