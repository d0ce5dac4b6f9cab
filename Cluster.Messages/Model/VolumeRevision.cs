using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Globalization;
using System.IO.Hashing;
using Cluster.Messages.Events;

namespace Cluster.Messages.Model;

/// <summary>
/// What a change request may rest on, as two parts that each have one authority: the catalogue's (size, labels, copies; compared by placement) and the
/// attachment's (compared by the volume's actor). Its text is the volume's ETag: 16 hex digits, '-', the generation.
/// </summary>
/// <param name="Catalogue">Hash of spec and copies; the spec names the volume's id, so a volume of the same name made anew differs.</param>
/// <param name="Generation">The attachment's generation.</param>
public sealed record VolumeRevision(ulong Catalogue, ulong Generation)
{
    private const int CatalogueDigits = 16;

    /// <summary>The text while the volume's actor does not say its generation: it matches no revision.</summary>
    public static string UnknownGeneration(ulong catalogue) => $"{CatalogueText(catalogue)}-?";

    public static ulong CatalogueOf(VolumeSpec spec, ImmutableArray<ReplicaPlacement> replicas)
    {
        var hash = new XxHash3();
        hash.Append(VolumeSpecCodec.Encode(spec));
        Span<byte> number = stackalloc byte[sizeof(ushort)];
        foreach (var replica in replicas.OrderBy(replica => replica.Id.Number))
        {
            BinaryPrimitives.WriteUInt16LittleEndian(number, replica.Id.Number);
            hash.Append(number);
        }
        return hash.GetCurrentHashAsUInt64();
    }

    public override string ToString() => $"{CatalogueText(Catalogue)}-{Generation.ToString(CultureInfo.InvariantCulture)}";

    /// <summary>False for any text that <see cref="ToString"/> does not give.</summary>
    public static bool TryParse(string text, out VolumeRevision revision)
    {
        revision = new VolumeRevision(0, 0);
        if (text.Length <= CatalogueDigits + 1 || text[CatalogueDigits] != '-') return false;
        var culture = CultureInfo.InvariantCulture;
        if (!ulong.TryParse(text.AsSpan(0, CatalogueDigits), NumberStyles.AllowHexSpecifier, culture, out var catalogue)) return false;
        if (!ulong.TryParse(text.AsSpan(CatalogueDigits + 1), NumberStyles.None, culture, out var generation)) return false;
        revision = new VolumeRevision(catalogue, generation);
        return revision.ToString() == text;
    }

    private static string CatalogueText(ulong catalogue) => catalogue.ToString("x16", CultureInfo.InvariantCulture);
}
