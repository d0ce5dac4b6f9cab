using Cluster.Messages.Model;
using Cluster.Messages.Wire;

namespace Cluster.Csi.Nbd;

/// <summary>Commands in (proto.md, "Request message", "Request types").</summary>
internal sealed partial class NbdConnection
{
    private IBlockDevice? _device;
    private string? _exportName;
    private LoopFlow? _flow;
    private string? _volume;
    private NbdVolumeStatistics? _ofVolume;
    private bool _contexts;
    private int _commands;
    private long _countedBytes;

    /// <summary>Chunks at the device, so that they can be told that their client is gone.</summary>
    private readonly List<NbdChunk> _atDevice = [];
    private NbdCommand? _receiving;

    /// <summary>A read of which not all pieces were asked for yet; no further command is taken meanwhile.</summary>
    private NbdCommand? _reading;
    private NbdChunk? _filling;

    private void BeginTransmission(NbdExportOpen open)
    {
        Invariant.That(ReferenceEquals(open.Device!.Loop, _loop), "an export lives on another loop than its connection");
        _idleTimer?.Cancel();
        _idleTimer = null;
        _device = open.Device;
        _exportName = open.FullName;
        _flow = _server.JoinFlow(open.FullName);
        _volume = VolumeExports.VolumeOf(open.FullName);
        _ofVolume = _server.Volumes.Join(_volume);
        _socket.Flow = _flow;
        _contexts = _structured && _metaAllocation && _metaExport == open.FullName;
        _state = State.Command;
        NbdLog.Using(_server.Logger, _client, open.FullName);
    }

    /// <summary>Below the bounds, for a command or for the next piece of one: a piece may go over that of bytes by its own size.</summary>
    private bool MayTakeCommand()
    {
        if (_state is not (State.Command or State.Payload)) return true;
        var isBegun = _state == State.Payload || _reading is not null;
        if (isBegun && !_server.Options.HasLimit) return true;
        return (isBegun || _commands < NbdLimits.CommandsMax) && _socket.QueuedBytes <= NbdLimits.OutQueueBytesMax &&
            (IsNextWithoutData || ((_countedBytes < _server.Options.ConnectionBytesMax || _atDevice.Count == 0) && _server.MayTake(this)));
    }

    /// <summary>What needs no memory, and may be what makes some: a trim where writes wait for room (R21), or a flush.</summary>
    private bool IsNextWithoutData => _state == State.Command && _reading is null && _in is not null && Available.Length >= NbdProtocol.RequestBytes
        && (NbdCommandType)U16(Available, 6) is NbdCommandType.Flush or NbdCommandType.Trim or NbdCommandType.WriteZeroes or NbdCommandType.Disconnect;

    /// <summary>Nothing is on its way, and little waits to be sent: a piece may always be.</summary>
    internal bool IsSpare => _server.Options.HasLimit ? _atDevice.Count == 0 && !IsUnread && (_reading is not { } read || !IsGathered(read) || _server.MayGather(this)) : _countedBytes == 0;

    /// <summary>Its client leaves replies where they are.</summary>
    internal bool IsUnread => _socket.QueuedBytes > NbdLimits.SpareQueueBytesMax;

    private bool TakeCommand()
    {
        if (Available.Length < NbdProtocol.RequestBytes) return false;
        if (!MayTakeCommand())
        {
            Wait();
            return false;
        }
        if (!Take(NbdProtocol.RequestBytes, out var bytes)) return false;
        if (U32(bytes, 0) != NbdProtocol.RequestMagic)
        {
            Break($"request magic 0x{U32(bytes, 0):x8}");
            return false;
        }
        var flags = (NbdCommandFlags)U16(bytes, 4);
        var type = (NbdCommandType)U16(bytes, 6);
        if (type == NbdCommandType.Disconnect)
        {
            _state = State.Draining;
            CloseIfDrained();
            return false;
        }
        var command = _server.Rent();
        command.Begin(U64(bytes, 8), type, flags, U64(bytes, 16), U32(bytes, 24));
        command.SampledAt = _loop.Stages.Sample();
        _commands++;
        var (error, reason) = Check(command);
        if (error != NbdError.None) RefuseCommand(command, error, reason);
        else Start(command);
        return _state != State.Closed;
    }

    /// <summary>A write's payload follows even if it is refused, and must be swallowed first.</summary>
    private void RefuseCommand(NbdCommand command, NbdError error, string reason)
    {
        if (command.Type != NbdCommandType.Write)
        {
            EndCommand(command, error, reason);
            return;
        }
        if (command.LengthBytes > NbdLimits.DiscardBytesMax)
        {
            Break(reason);
            return;
        }
        Discard(command.LengthBytes, State.Command, () => EndCommand(command, error, reason));
    }

    private void Start(NbdCommand command)
    {
        switch (command.Type)
        {
            case NbdCommandType.Write:
                _receiving = command;
                _state = State.Payload;
                BeginChunk();
                break;
            case NbdCommandType.Read:
                _flow!.Charge(command.LengthBytes);
                StartRead(command);
                break;
            case NbdCommandType.Cache:
                EndCommand(command, NbdError.None, "");
                break;
            case NbdCommandType.Flush:
                SubmitWhole(command, BlockOperation.Flush);
                break;
            case NbdCommandType.Trim:
                SubmitWhole(command, BlockOperation.Trim);
                break;
            case NbdCommandType.WriteZeroes:
                SubmitWhole(command, BlockOperation.WriteZeroes);
                break;
            default:
                SubmitWhole(command, BlockOperation.Status);
                break;
        }
    }

    /// <summary>Smaller pieces where there is no memory, which is when nothing else is on its way.</summary>
    private ulong ChunkEnd(NbdCommand command)
    {
        var chunkBytes = (ulong)(!_server.Options.HasLimit || _server.HasMemory ? NbdLimits.ChunkBytes : NbdLimits.SpareChunkBytes);
        return Math.Min(command.EndBytes, (command.CursorBytes / chunkBytes * chunkBytes) + chunkBytes);
    }

    private NbdChunk NewChunk(NbdCommand command, BlockOperation operation, ulong fromBytes, ulong lengthBytes)
    {
        var chunk = _server.RentChunk();
        (chunk.Connection, chunk.Command, chunk.Operation) = (this, command, operation);
        (chunk.OffsetBytes, chunk.LengthBytes, chunk.FilledBytes, chunk.Abandoned) = (fromBytes, lengthBytes, 0, false);
        chunk.ForceUnitAccess = (command.Flags & NbdCommandFlags.Fua) != 0;
        chunk.NoHole = (command.Flags & NbdCommandFlags.NoHole) != 0;
        chunk.ExtentsMax = (command.Flags & NbdCommandFlags.RequestOne) != 0 ? 1 : NbdLimits.ExtentsMax;
        return chunk;
    }

    private void AttachBuffer(NbdChunk chunk)
    {
        chunk.Buffer = BufferPool.Shared.Rent((int)chunk.LengthBytes);
        chunk.Data = chunk.Buffer.Memory[..(int)chunk.LengthBytes];
        chunk.CountedBytes = (long)chunk.LengthBytes;
        _countedBytes += chunk.CountedBytes;
        _server.Count(chunk.CountedBytes);
    }

    private void SubmitWhole(NbdCommand command, BlockOperation operation)
    {
        var chunk = NewChunk(command, operation, command.OffsetBytes, command.LengthBytes);
        if (operation == BlockOperation.Status) chunk.Extents ??= [];
        command.CursorBytes = command.EndBytes;
        Submit(chunk);
    }

    private void StartRead(NbdCommand command)
    {
        _reading = command;
        GoOnReading();
    }

    /// <summary>Asks for the next pieces, as far as there is memory for them. The first one was allowed with the command, or by <see cref="Resume"/>.</summary>
    private void GoOnReading()
    {
        var command = _reading!;
        command.ChunksOpen++;
        var isFirst = true;
        while (!command.AllSubmitted)
        {
            if (!isFirst && !MayTakeCommand())
            {
                Wait();
                break;
            }
            isFirst = false;
            var end = ChunkEnd(command);
            var chunk = NewChunk(command, BlockOperation.Read, command.CursorBytes, end - command.CursorBytes);
            AttachBuffer(chunk);
            command.CursorBytes = end;
            if (IsGathered(command)) command.Gathered.Add(chunk);
            Submit(chunk);
        }
        if (command.AllSubmitted) _reading = null;
        command.ChunksOpen--;
        EndIfDone(command);
    }

    private void BeginChunk()
    {
        var command = _receiving!;
        _filling = NewChunk(command, BlockOperation.Write, command.CursorBytes, ChunkEnd(command) - command.CursorBytes);
        AttachBuffer(_filling);
    }

    private Span<byte> PayloadRoom() => _filling!.Buffer!.Span[_filling.FilledBytes..];

    private bool TakePayload()
    {
        var room = PayloadRoom();
        var count = Math.Min(room.Length, _end - _from);
        Available[..count].CopyTo(room);
        _from += count;
        OnPayload(count);
        return _state != State.Closed;
    }

    /// <summary>So many bytes more of the payload are in place; full chunks go to the device.</summary>
    private void OnPayload(int count)
    {
        var chunk = _filling!;
        chunk.FilledBytes += count;
        if (chunk.FilledBytes < (int)chunk.LengthBytes) return;
        var command = _receiving!;
        command.CursorBytes += chunk.LengthBytes;
        _filling = null;
        if (command.AllSubmitted) (_receiving, _state) = (null, State.Command);
        Submit(chunk);
        if (_receiving != command) return;
        if (MayTakeCommand()) BeginChunk();
        else Wait();
    }

    private void Submit(NbdChunk chunk)
    {
        chunk.Command.ChunksOpen++;
        chunk.Index = _atDevice.Count;
        _atDevice.Add(chunk);
        _device!.Submit(chunk);
    }

    /// <summary>From the device, once per chunk.</summary>
    public void OnChunkCompleted(NbdChunk chunk, IoStatus status)
    {
        var last = _atDevice[^1];
        (_atDevice[chunk.Index], last.Index) = (last, chunk.Index);
        _atDevice.RemoveAt(_atDevice.Count - 1);
        var command = chunk.Command;
        command.ChunksOpen--;
        if (status != IoStatus.Ok && command.Status == IoStatus.Ok) command.Status = status;
        if (_state != State.Closed) OnChunkAnswered(chunk, status);
        if (command.Type != NbdCommandType.Read || !IsGathered(command)) Free(chunk);
        EndIfDone(command);
        // More of a command that is not whole yet may fit now.
        if (_reading is not null || _receiving is not null) Resume();
    }

    private void EndIfDone(NbdCommand command)
    {
        if (command.ChunksOpen > 0 || !command.AllSubmitted) return;
        if (_state == State.Closed) Recycle(command);
        else EndCommand(command, ErrorOf(command), "");
    }

    private void Free(NbdChunk chunk)
    {
        chunk.Buffer?.Release();
        (chunk.Buffer, chunk.Data) = (null, default);
        _countedBytes -= chunk.CountedBytes;
        if (chunk.CountedBytes > 0) _server.Uncount(chunk.CountedBytes);
        chunk.CountedBytes = 0;
        _server.Return(chunk);
    }

    private void Recycle(NbdCommand command)
    {
        foreach (var chunk in command.Gathered) Free(chunk);
        if (command.Gathered.Count > 0) _server.EndGathering(this);
        command.Gathered.Clear();
        _commands--;
        _server.Return(command);
    }

    /// <summary>The client is gone: what is at the device comes back without being answered, and is not sent again from there.</summary>
    private void Abandon()
    {
        foreach (var chunk in _atDevice) chunk.Abandoned = true;
        if (_filling is { } filling) Free(filling);
        _filling = null;
        if (_receiving is { } receiving)
        {
            receiving.CursorBytes = receiving.EndBytes;
            if (receiving.ChunksOpen == 0) Recycle(receiving);
        }
        _receiving = null;
        if (_reading is { } reading)
        {
            reading.CursorBytes = reading.EndBytes;
            if (reading.ChunksOpen == 0) Recycle(reading);
        }
        _reading = null;
        _device?.Close();
        _device = null;
    }

    private void CloseIfDrained()
    {
        if (_state == State.Draining && _commands == 0) Close(CloseReason.Local, "the client disconnected");
    }

    private (NbdError Error, string Reason) Check(NbdCommand command)
    {
        if (command.Type > NbdCommandType.BlockStatus) return (NbdError.Invalid, $"command {(ushort)command.Type} is not supported");
        if ((command.Flags & ~ValidFlags(command.Type)) != 0)
            return (NbdError.Invalid, $"flags 0x{(ushort)command.Flags:x} are not valid for command {(ushort)command.Type}");
        if (command.Type == NbdCommandType.Flush)
            return (command.OffsetBytes | command.LengthBytes) == 0 ? default : (NbdError.Invalid, "FLUSH has neither offset nor length");
        if (command.Type == NbdCommandType.BlockStatus && !_contexts) return (NbdError.Invalid, "no metadata context was negotiated");
        var writes = command.Type is NbdCommandType.Write or NbdCommandType.Trim or NbdCommandType.WriteZeroes;
        if (writes && _device!.ReadOnly) return (NbdError.NotPermitted, $"the export {_exportName} is read-only");
        if (command.LengthBytes == 0) return (NbdError.Invalid, "a length of zero");
        if (command.LengthBytes > NbdLimits.PayloadBytesMax && command.Type is NbdCommandType.Read or NbdCommandType.Write)
            return (NbdError.Invalid, $"length {command.LengthBytes} is above the advertised {NbdLimits.PayloadBytesMax}");
        var size = _device!.SizeBytes;
        if (command.OffsetBytes <= size && command.LengthBytes <= size - command.OffsetBytes) return default;
        return (command.Type is NbdCommandType.Write or NbdCommandType.WriteZeroes ? NbdError.NoSpace : NbdError.Invalid,
            $"offset {command.OffsetBytes} + length {command.LengthBytes} is beyond the end of the export ({size} B)");
    }

    private NbdCommandFlags ValidFlags(NbdCommandType type) => NbdCommandFlags.Fua | type switch
    {
        NbdCommandType.Read => _structured ? NbdCommandFlags.DontFragment : NbdCommandFlags.None,
        NbdCommandType.WriteZeroes => NbdCommandFlags.NoHole | NbdCommandFlags.FastZero,
        NbdCommandType.BlockStatus => NbdCommandFlags.RequestOne,
        _ => NbdCommandFlags.None,
    };
}
