using System.Buffers;
using System.Collections.Frozen;
using Cluster.Messages.Wire;

namespace Cluster.Messages.Events;

/// <summary>
/// Thrown for journaled bytes that this program can't read. It halts whoever replays them: an unknown event is never skipped.
/// </summary>
public sealed class EventFormatException(string message) : Exception(message);

/// <summary>
/// Journaled events as bytes. Fields stand in the order of the record's constructor, little-endian, as <see cref="BodyWriter"/> writes
/// them; docs/journal-format.md. Any thread.
/// </summary>
public static class EventCodec
{
    /// <summary>Bytes of the largest event, images aside.</summary>
    public const int EncodedBytesMax = VolumeSpecCodec.EncodedBytesMax + (EventFields.ItemsMax * EventFields.ItemBytesMax) + 1024;

    private static readonly FrozenDictionary<Type, string> ManifestByType = Manifests.Events.ToFrozenDictionary(e => e.Value, e => e.Key);

    /// <summary>Such as "volume-created/1". Throws <see cref="EventFormatException"/> for a type that may not be journaled.</summary>
    public static string ManifestOf(object e) => e is VolumeImage { RestoringTo: not 0 } ? Manifests.ImageInRestore : ManifestByType.TryGetValue(e.GetType(), out var manifest)
        ? manifest
        : throw new EventFormatException($"{e.GetType()} may not be journaled: it has no manifest");

    public static byte[] Encode(object e)
    {
        if (e is PlacementImage whole) return PlacementImageLayout.Encode(whole);
        var room = ArrayPool<byte>.Shared.Rent(EncodedBytesMax + (e is VolumeImage image ? VolumeImageLayout.BytesMax(image) : 0));
        try
        {
            var writer = new BodyWriter(room);
            switch (e)
            {
                case VolumeEvent volume: VolumeEventLayouts.Write(ref writer, volume); break;
                case PlacementEvent placement: PlacementEventLayouts.Write(ref writer, placement); break;
                default: throw new EventFormatException($"{e.GetType()} may not be journaled: it has no layout");
            }
            return writer.Written.ToArray();
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(room);
        }
    }

    /// <summary>
    /// Throws <see cref="EventFormatException"/> for an unknown manifest or version, and for bytes that are not exactly one event.
    /// </summary>
    public static object Decode(string manifest, ReadOnlySpan<byte> from)
    {
        var reader = new BodyReader(from);
        object? e = VolumeEventLayouts.Read(manifest, ref reader);
        e ??= PlacementEventLayouts.Read(manifest, ref reader);
        if (e is null) throw new EventFormatException(
            $"the journal holds an event '{manifest}', which this program does not know; run a newer one");
        if (!reader.AtEnd) throw new EventFormatException(
            $"the journal holds an event '{manifest}' of {from.Length} B that does not read as one");
        return e;
    }
}
