using Cluster.Node.Journal.Format;

namespace Cluster.Node.Journal.State;

/// <summary>The state as one byte image, for snapshots of the Raft log: docs/journal-format.md.</summary>
public sealed partial class MetaState
{
    private const byte ImageVersion = 1;

    public byte[] ToImage()
    {
        lock (_gate)
        {
            var writer = new JournalWriter();
            writer.U8(ImageVersion).I64(_revision).I32(_streams.Count);
            foreach (var (id, stream) in _streams) WriteStream(writer, id, stream);
            writer.I32(_keys.Count);
            foreach (var key in _keys.Values) writer.Text(key.Key).I64(key.Version).Bytes(key.Value);
            writer.I32(_answerOrder.Count);
            foreach (var id in _answerOrder) writer.Id(id).U8((byte)_answers[id].Status).I64(_answers[id].Current);
            return writer.ToArray();
        }
    }

    /// <summary>Replaces everything by the image. Throws on an image that this program can't read in full.</summary>
    public void Load(ReadOnlySpan<byte> image)
    {
        lock (_gate)
        {
            Clear();
            var reader = new JournalReader(image);
            var version = reader.U8();
            if (version != ImageVersion) throw new JournalFormatException($"state image version {version} is not known to this program");
            _revision = reader.I64();
            for (var left = reader.Count(20, int.MaxValue); left > 0; left--) ReadStream(ref reader);
            for (var left = reader.Count(16, int.MaxValue); left > 0; left--)
            {
                var key = new MetaKeyValue(reader.Text(), reader.I64(), reader.Bytes());
                if (!_keys.TryAdd(key.Key, key)) throw new JournalFormatException($"the state image has the key '{key.Key}' twice");
                _bytes += key.Value.Length + OverheadBytes;
            }
            for (var left = reader.Count(25, JournalLimits.ProposalWindowMax); left > 0; left--)
            {
                var (id, answer) = (reader.Id(), new MetaAnswer((MetaAnswerStatus)reader.U8(), reader.I64()));
                if (_answers.ContainsKey(id) || !Enum.IsDefined(answer.Status)) throw new JournalFormatException("the state image has an answer that nobody gave");
                Remember(id, answer);
            }
            reader.End();
        }
    }

    private void Clear()
    {
        _streams.Clear();
        _keys.Clear();
        _answers.Clear();
        _answerOrder.Clear();
        _revision = 0;
        _bytes = 0;
    }

    private static void WriteStream(JournalWriter writer, string id, EventStream stream)
    {
        writer.Text(id).I64(stream.HighestSequenceNr).I32(stream.Events.Count);
        foreach (var e in stream.Events)
            MetaCommandCodec.WritePayload(writer.I64(e.SequenceNr).Text(e.WriterGuid).I64(e.TimestampTicks), e.Payload);
        writer.I32(stream.Snapshots.Count);
        foreach (var s in stream.Snapshots) MetaCommandCodec.WriteSnapshot(writer, s);
    }

    private void ReadStream(ref JournalReader reader)
    {
        var id = reader.Text();
        if (_streams.ContainsKey(id)) throw new JournalFormatException($"the state image has the stream '{id}' twice");
        var stream = AddStream(id);
        stream.HighestSequenceNr = reader.I64();
        for (var left = reader.Count(32, int.MaxValue); left > 0; left--)
        {
            var e = new MetaEvent(reader.I64(), reader.Text(), reader.I64(), MetaCommandCodec.ReadPayload(ref reader));
            if (stream.Events.Count > 0 && e.SequenceNr != stream.Events[^1].SequenceNr + 1) throw new JournalFormatException($"the events of the stream '{id}' are not dense");
            stream.Events.Add(e);
            _bytes += SizeOf(e.Payload);
        }
        var last = stream.Events.Count == 0 ? stream.HighestSequenceNr : stream.Events[^1].SequenceNr;
        if (last != stream.HighestSequenceNr) throw new JournalFormatException($"the events of the stream '{id}' do not end at its highest number");
        for (var left = reader.Count(28, JournalLimits.SnapshotsPerIdMax); left > 0; left--)
        {
            var s = MetaCommandCodec.ReadSnapshot(ref reader);
            stream.Snapshots.Add(s);
            _bytes += SizeOf(s.Payload);
        }
    }
}
