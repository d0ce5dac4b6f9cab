using System.Buffers.Binary;
using System.Text;
using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Nbd;

/// <summary>Fixed newstyle negotiation (proto.md, "Newstyle negotiation", "Option types").</summary>
internal sealed partial class NbdConnection
{
    private static readonly UTF8Encoding StrictUtf8 = new(false, true);

    /// <summary>Characters of a reason, each of at most 4 bytes.</summary>
    private const int ReasonLengthMax = NbdLimits.StringBytesMax / 4;

    private ILoopTimer? _idleTimer;
    private bool _noZeroes;
    private bool _structured;
    private bool _answering;
    private int _options;
    private uint _option;
    private uint _optionLength;

    /// <summary>The export whose base:allocation was chosen by SET_META_CONTEXT.</summary>
    private string? _metaExport;
    private bool _metaAllocation;

    private void SendGreeting()
    {
        Span<byte> greeting = stackalloc byte[18];
        BinaryPrimitives.WriteUInt64BigEndian(greeting, NbdProtocol.Magic);
        BinaryPrimitives.WriteUInt64BigEndian(greeting[8..], NbdProtocol.OptionMagic);
        BinaryPrimitives.WriteUInt16BigEndian(greeting[16..], NbdProtocol.FlagFixedNewstyle | NbdProtocol.FlagNoZeroes);
        _socket.Send(greeting);
    }

    private void RestartIdleTimer()
    {
        _idleTimer?.Cancel();
        _idleTimer = _loop.Schedule(_server.Options.HandshakeIdleMs, OnIdle);
    }

    private void OnIdle()
    {
        _idleTimer = null;
        if (_answering) RestartIdleTimer();
        else Close(CloseReason.TimedOut, $"no option in {_server.Options.HandshakeIdleMs} ms of the handshake");
    }

    private bool TakeClientFlags()
    {
        if (!Take(4, out var bytes)) return false;
        var flags = U32(bytes, 0);
        if ((flags & ~(uint)(NbdProtocol.FlagFixedNewstyle | NbdProtocol.FlagNoZeroes)) != 0)
        {
            Break($"unknown client flags 0x{flags:x}");
            return false;
        }
        _noZeroes = (flags & NbdProtocol.FlagNoZeroes) != 0;
        _state = State.OptionHeader;
        return true;
    }

    private bool TakeOptionHeader()
    {
        if (!Take(NbdProtocol.OptionHeaderBytes, out var bytes)) return false;
        var magic = U64(bytes, 0);
        if (magic != NbdProtocol.OptionMagic)
        {
            Break($"option magic 0x{magic:x16}");
            return false;
        }
        (_option, _optionLength) = (U32(bytes, 8), U32(bytes, 12));
        RestartIdleTimer();
        if (++_options > NbdLimits.OptionsMax)
        {
            Break($"more than {NbdLimits.OptionsMax} options");
            return false;
        }
        if (_optionLength <= NbdLimits.OptionBytesMax)
        {
            _state = State.OptionData;
            if (_optionLength == 0) AnswerOption(default);
            return _state != State.Closed;
        }
        if (_optionLength > NbdLimits.OptionDiscardBytesMax || (NbdOption)_option == NbdOption.ExportName)
        {
            Break($"option {_option} of {_optionLength} B");
            return false;
        }
        Discard(_optionLength, State.OptionHeader, () => Refuse(NbdProtocol.RepErrTooBig,
            $"option {_option} has {_optionLength} B of data; at most {NbdLimits.OptionBytesMax} B are read"));
        return true;
    }

    private bool TakeOptionData()
    {
        if (!Take((int)_optionLength, out var data)) return false;
        AnswerOption(data);
        return _state != State.Closed;
    }

    private void AnswerOption(ReadOnlySpan<byte> data)
    {
        _state = State.OptionHeader;
        switch ((NbdOption)_option)
        {
            case NbdOption.ExportName:
                AnswerExportName(data);
                break;
            case NbdOption.Abort:
                Reply(NbdProtocol.RepAck, default);
                Close(CloseReason.Local, "the client aborted the negotiation");
                break;
            case NbdOption.List:
                if (data.IsEmpty) Answer(_server.Exports.ListAsync(_server.Stopping), AnswerList);
                else RefuseLength("LIST has no data");
                break;
            case NbdOption.Info or NbdOption.Go:
                AnswerInfo(data);
                break;
            case NbdOption.StructuredReply:
                if (data.IsEmpty)
                {
                    _structured = true;
                    Reply(NbdProtocol.RepAck, default);
                }
                else RefuseLength("STRUCTURED_REPLY has no data");
                break;
            case NbdOption.ListMetaContext or NbdOption.SetMetaContext:
                AnswerMetaContext(data);
                break;
            default:
                Refuse(NbdProtocol.RepErrUnsupported, $"option {_option} is not supported");
                break;
        }
    }

    private void AnswerExportName(ReadOnlySpan<byte> data)
    {
        if (!TryName(data, out var name))
        {
            Break("an export name that is not UTF-8 or too long");
            return;
        }
        Answer(_server.Exports.OpenAsync(name, _server.Stopping), open =>
        {
            if (open.Device is null)
            {
                NbdLog.Refused(_server.Logger, _client, name, open.Reason);
                Close(CloseReason.Local, open.Reason);
                return;
            }
            Span<byte> reply = stackalloc byte[10 + NbdProtocol.ExportNameZeroes];
            reply.Clear();
            BinaryPrimitives.WriteUInt64BigEndian(reply, open.Device.SizeBytes);
            BinaryPrimitives.WriteUInt16BigEndian(reply[8..], (ushort)FlagsOf(open.Device.ReadOnly));
            _socket.Send(_noZeroes ? reply[..10] : reply);
            BeginTransmission(open);
        });
    }

    private void AnswerList(IReadOnlyList<string> names)
    {
        var data = new byte[4 + NbdLimits.StringBytesMax];
        foreach (var name in names)
        {
            var count = Encoding.UTF8.GetBytes(name, data.AsSpan(4));
            BinaryPrimitives.WriteUInt32BigEndian(data, (uint)count);
            Reply(NbdProtocol.RepServer, data.AsSpan(0, 4 + count));
        }
        Reply(NbdProtocol.RepAck, default);
    }

    /// <summary>Data: u32 name length, name, u16 count, u16 × count of what the client wants to know.</summary>
    private void AnswerInfo(ReadOnlySpan<byte> data)
    {
        if (data.Length < 6 || U32(data, 0) > data.Length - 6 || !TryName(data.Slice(4, (int)U32(data, 0)), out var name))
        {
            RefuseLength("the name is cut short, too long, or not UTF-8");
            return;
        }
        var wishes = data[(4 + (int)U32(data, 0))..];
        if (wishes.Length != 2 + (U16(wishes, 0) * 2))
        {
            RefuseLength("the count of information requests does not fit the length");
            return;
        }
        var wanted = 0;
        for (var at = 2; at < wishes.Length; at += 2)
        {
            if (U16(wishes, at) < 16) wanted |= 1 << U16(wishes, at);
        }
        if ((NbdOption)_option == NbdOption.Go)
            Answer(_server.Exports.OpenAsync(name, _server.Stopping), open => AnswerGo(name, open, wanted));
        else Answer(_server.Exports.DescribeAsync(name, _server.Stopping), export => AnswerInfo(name, export, wanted));
    }

    private void AnswerInfo(string name, NbdExport export, int wanted)
    {
        if (export.FullName is null)
        {
            RefuseExport(name, export.Status, export.Reason);
            return;
        }
        SendInfo(export.FullName, export.Description, export.SizeBytes, export.ReadOnly, wanted);
        Reply(NbdProtocol.RepAck, default);
    }

    private void AnswerGo(string name, NbdExportOpen open, int wanted)
    {
        if (open.Device is null)
        {
            RefuseExport(name, open.Status, open.Reason);
            return;
        }
        SendInfo(open.FullName, open.Description, open.Device.SizeBytes, open.Device.ReadOnly, wanted);
        Reply(NbdProtocol.RepAck, default);
        BeginTransmission(open);
    }

    private void SendInfo(string fullName, string description, ulong sizeBytes, bool readOnly, int wanted)
    {
        Span<byte> info = stackalloc byte[14];
        BinaryPrimitives.WriteUInt16BigEndian(info, NbdProtocol.InfoExport);
        BinaryPrimitives.WriteUInt64BigEndian(info[2..], sizeBytes);
        BinaryPrimitives.WriteUInt16BigEndian(info[10..], (ushort)FlagsOf(readOnly));
        Reply(NbdProtocol.RepInfo, info[..12]);
        if ((wanted & (1 << NbdProtocol.InfoName)) != 0) SendInfoText(NbdProtocol.InfoName, fullName);
        if ((wanted & (1 << NbdProtocol.InfoDescription)) != 0) SendInfoText(NbdProtocol.InfoDescription, description);
        if ((wanted & (1 << NbdProtocol.InfoBlockSize)) == 0) return;
        BinaryPrimitives.WriteUInt16BigEndian(info, NbdProtocol.InfoBlockSize);
        BinaryPrimitives.WriteUInt32BigEndian(info[2..], NbdLimits.BlockBytesMin);
        BinaryPrimitives.WriteUInt32BigEndian(info[6..], NbdLimits.BlockBytesPreferred);
        BinaryPrimitives.WriteUInt32BigEndian(info[10..], NbdLimits.PayloadBytesMax);
        Reply(NbdProtocol.RepInfo, info);
    }

    private void SendInfoText(ushort type, string text)
    {
        var data = new byte[2 + Encoding.UTF8.GetByteCount(text)];
        BinaryPrimitives.WriteUInt16BigEndian(data, type);
        Encoding.UTF8.GetBytes(text, data.AsSpan(2));
        Reply(NbdProtocol.RepInfo, data);
    }

    /// <summary>
    /// Data: u32 name length, name, u32 count of queries, (u32 length, query) × count. No query means all contexts when listing, none
    /// when setting.
    /// </summary>
    private void AnswerMetaContext(ReadOnlySpan<byte> data)
    {
        var set = (NbdOption)_option == NbdOption.SetMetaContext;
        if (set) (_metaExport, _metaAllocation) = (null, false);
        if (!_structured)
        {
            RefuseLength("metadata contexts need structured replies, which were not negotiated");
            return;
        }
        if (data.Length < 8 || U32(data, 0) > data.Length - 8 || !TryName(data.Slice(4, (int)U32(data, 0)), out var name) ||
            !TryQueries(data[(4 + (int)U32(data, 0))..], set, out var allocation))
        {
            RefuseLength("the name or a query is cut short, too long, or not UTF-8");
            return;
        }
        Answer(_server.Exports.DescribeAsync(name, _server.Stopping), export =>
        {
            if (export.FullName is null)
            {
                RefuseExport(name, export.Status, export.Reason);
                return;
            }
            if (set) (_metaExport, _metaAllocation) = (export.FullName, allocation);
            if (allocation) SendMetaContext(set ? NbdProtocol.BaseAllocationId : 0);
            Reply(NbdProtocol.RepAck, default);
        });
    }

    private static bool TryQueries(ReadOnlySpan<byte> data, bool set, out bool allocation)
    {
        allocation = false;
        if (data.Length < 4) return false;
        var count = U32(data, 0);
        data = data[4..];
        if (count == 0) allocation = !set;
        for (; count > 0; count--)
        {
            if (data.Length < 4 || U32(data, 0) > data.Length - 4 || !TryName(data.Slice(4, (int)U32(data, 0)), out var query))
                return false;
            data = data[(4 + (int)U32(data, 0))..];
            allocation |= query == NbdProtocol.BaseAllocation || (!set && query == "base:");
        }
        return data.IsEmpty;
    }

    private void SendMetaContext(uint id)
    {
        Span<byte> data = stackalloc byte[4 + NbdProtocol.BaseAllocation.Length];
        BinaryPrimitives.WriteUInt32BigEndian(data, id);
        Encoding.ASCII.GetBytes(NbdProtocol.BaseAllocation, data[4..]);
        Reply(NbdProtocol.RepMetaContext, data);
    }

    private NbdTransmissionFlags FlagsOf(bool readOnly)
    {
        var flags = NbdTransmissionFlags.HasFlags | NbdTransmissionFlags.SendFlush | NbdTransmissionFlags.SendFua |
            NbdTransmissionFlags.CanMultiConn | NbdTransmissionFlags.SendCache;
        flags |= readOnly
            ? NbdTransmissionFlags.ReadOnly
            : NbdTransmissionFlags.SendTrim | NbdTransmissionFlags.SendWriteZeroes | NbdTransmissionFlags.SendFastZero;
        return _structured ? flags | NbdTransmissionFlags.SendDf : flags;
    }

    private static bool TryName(ReadOnlySpan<byte> bytes, out string name)
    {
        name = "";
        if (bytes.Length > NbdLimits.StringBytesMax || bytes.Contains((byte)0)) return false;
        try
        {
            name = StrictUtf8.GetString(bytes);
            return true;
        }
        catch (DecoderFallbackException)
        {
            return false;
        }
    }

    /// <summary>
    /// Goes on when the task is done, on the loop. The client sends no further option before its answer, and is not read till then.
    /// </summary>
    private void Answer<T>(Task<T> task, Action<T> then)
    {
        _answering = true;
        Wait();
        _ = AnswerAsync(task, then);
    }

    private async Task AnswerAsync<T>(Task<T> task, Action<T> then)
    {
        try
        {
            var result = await task.ConfigureAwait(false);
            _loop.Post(() => Answered(result, then));
        }
        catch (Exception failure)
        {
            _loop.Post(() => Close(CloseReason.Local, failure.Message));
        }
    }

    private void Answered<T>(T result, Action<T> then)
    {
        _answering = false;
        if (_state == State.Closed)
        {
            if (result is NbdExportOpen { Device: { } device }) device.Close();
            return;
        }
        RestartIdleTimer();
        then(result);
        Resume();
    }

    /// <summary>
    /// Unknown if there is no such volume; one that can't be had now (attached elsewhere, no owner) is a matter of policy.
    /// </summary>
    private void RefuseExport(string name, IoStatus status, string reason)
    {
        NbdLog.Refused(_server.Logger, _client, name, reason);
        Refuse(status is IoStatus.Offline or IoStatus.StaleSession ? NbdProtocol.RepErrPolicy : NbdProtocol.RepErrUnknown, reason);
    }

    private void RefuseLength(string reason) => Refuse(NbdProtocol.RepErrInvalid, reason);

    private void Refuse(uint error, string reason) =>
        Reply(error, Encoding.UTF8.GetBytes(reason[..Math.Min(reason.Length, ReasonLengthMax)]));

    private void Reply(uint type, ReadOnlySpan<byte> data)
    {
        Span<byte> header = stackalloc byte[NbdProtocol.OptionReplyHeaderBytes];
        BinaryPrimitives.WriteUInt64BigEndian(header, NbdProtocol.OptionReplyMagic);
        BinaryPrimitives.WriteUInt32BigEndian(header[8..], _option);
        BinaryPrimitives.WriteUInt32BigEndian(header[12..], type);
        BinaryPrimitives.WriteUInt32BigEndian(header[16..], (uint)data.Length);
        _socket.Send(header);
        if (!data.IsEmpty) _socket.Send(data);
    }
}
