namespace Cluster.Node.Journal;

/// <summary>How the state machine took a command. Frozen: add, never renumber.</summary>
public enum MetaAnswerStatus : byte
{
    Unset = 0,
    Ok = 1,

    /// <summary>The compare and set was lost: somebody else wrote. Nothing was changed.</summary>
    Conflict = 2,

    /// <summary>The state's size limit is reached. Nothing was changed.</summary>
    Full = 3,
}

/// <summary>
/// The state machine's answer. <paramref name="Current"/> is, after the command: the highest sequence number of the persistence id,
/// or the key's version (0: the key is absent).
/// </summary>
public readonly record struct MetaAnswer(MetaAnswerStatus Status, long Current)
{
    public bool IsOk => Status == MetaAnswerStatus.Ok;

    public static MetaAnswer Ok(long current) => new(MetaAnswerStatus.Ok, current);

    public static MetaAnswer Conflict(long current) => new(MetaAnswerStatus.Conflict, current);

    public static MetaAnswer Full(long current) => new(MetaAnswerStatus.Full, current);
}
