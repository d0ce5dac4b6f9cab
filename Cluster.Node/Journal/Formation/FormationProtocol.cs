using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.Formation;

/// <summary>What a coordinator asks of a participant.</summary>
public abstract record FormationRequest
{
    /// <summary>Promise to take part in this formation and no other.</summary>
    public sealed record Prepare(FormationPromise Promise) : FormationRequest;

    /// <summary>All have promised and the coordinator has recorded it: the cluster exists.</summary>
    public sealed record Commit(FormationRecord Record) : FormationRequest;

    /// <summary>The coordinator has durably given this formation up.</summary>
    public sealed record Abort(Guid FormationId) : FormationRequest;

    internal byte[] Encode()
    {
        var writer = new JournalWriter();
        switch (this)
        {
            case Prepare p: p.Promise.Write(writer.U8(1)); break;
            case Commit c: c.Record.Write(writer.U8(2)); break;
            case Abort a: writer.U8(3).Id(a.FormationId); break;
        }
        return writer.ToArray();
    }

    internal static FormationRequest Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        FormationRequest request = reader.U8() switch
        {
            1 => new Prepare(FormationPromise.Read(ref reader)),
            2 => new Commit(FormationRecord.Read(ref reader)),
            3 => new Abort(reader.Id()),
            var other => throw new JournalFormatException($"formation request {other} is not known"),
        };
        reader.End();
        return request;
    }
}

/// <summary>A participant's answer, with what it holds now.</summary>
public sealed record FormationAnswer(bool Agreed, FormationState State)
{
    internal byte[] Encode()
    {
        var writer = new JournalWriter().Flag(Agreed);
        State.Write(writer);
        return writer.ToArray();
    }

    internal static FormationAnswer Decode(ReadOnlySpan<byte> from)
    {
        var reader = new JournalReader(from);
        var answer = new FormationAnswer(reader.Flag(), FormationState.Read(ref reader));
        reader.End();
        return answer;
    }
}

/// <summary>
/// What one node saw of another: who it is, what it holds, how many nodes it waits for, and whether it answered at an address of the
/// seeds. Serial: the viewer's count of own promises when it asked, so that a view from before a promise never ends that promise.
/// </summary>
public sealed record FormationView(FormationMember Node, FormationState State, int Expected, int SeedIndex, long Serial);
