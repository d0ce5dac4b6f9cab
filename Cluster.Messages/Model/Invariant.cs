using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Cluster.Messages.Model;

/// <summary>Thrown when the program contradicts itself. Never caught to go on: the volume (or node) that threw it stops loudly.</summary>
public sealed class InvariantException(string message) : Exception(message);

/// <summary>Checks that stay on in Release builds. Operating errors are <see cref="IoStatus"/> values, never these.</summary>
public static class Invariant
{
    public static void That([DoesNotReturnIf(false)] bool condition, string what, [CallerMemberName] string member = "",
        [CallerArgumentExpression(nameof(condition))] string expression = "")
    {
        if (!condition) Fail(what, member, expression);
    }

    [DoesNotReturn]
    private static void Fail(string what, string member, string expression) =>
        throw new InvariantException($"{what} (in {member}: {expression})");
}
