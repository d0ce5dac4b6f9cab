using Cluster.Csi.Attach;
using Cluster.Messages.Model;

namespace Cluster.Tests.Unit.Attach;

public sealed class VolumeNotesSpecs : IDisposable
{
    private static readonly VolumeId Volume = new(7);

    private readonly string _directory = Directory.CreateTempSubdirectory("myrmidon-notes-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private sealed record Note(string? Text);

    private VolumeNotes<Note> Notes => new(_directory, note => note.Text is not null);

    [Fact(DisplayName = "What a killed process left unfinished goes with the next start, and what was noted stays")]
    public void Swept()
    {
        Assert.True(Notes.Write(Volume, new Note("a")).IsOk);
        File.WriteAllText(Path.Combine(_directory, "v9.json.new"), "{\"Te");
        Assert.True(Notes.Sweep().IsOk);
        Assert.EndsWith(".json", Assert.Single(Directory.GetFiles(_directory)), StringComparison.Ordinal);
        Assert.Equal("a", Notes.Read(Volume)?.Text);
    }

    [Fact(DisplayName = "A note that can't be put in its place is told with its file, and leaves nothing unfinished")]
    public void Not_written()
    {
        var file = Path.Combine(_directory, $"{Volume}.json");
        Directory.CreateDirectory(file);
        var written = Notes.Write(Volume, new Note("a"));
        Assert.Equal(AttachStatus.Failed, written.Status);
        Assert.StartsWith($"The note {file} can't be written: ", written.Reason, StringComparison.Ordinal);
        Assert.Equal(file, Assert.Single(Directory.GetFileSystemEntries(_directory)));
    }

    [Fact(DisplayName = "What is no note, or lacks something, counts as none, and what is not there is deleted already")]
    public void No_note()
    {
        File.WriteAllText(Path.Combine(_directory, $"{Volume}.json"), "{}");
        Assert.Null(Notes.Read(Volume));
        Assert.Empty(Notes.All());
        Assert.True(Notes.Delete(new VolumeId(8)).IsOk);
        Directory.Delete(_directory, recursive: true);
        Assert.Null(Notes.Read(Volume));
        Assert.True(Notes.Delete(Volume).IsOk && Notes.DeleteAll(_ => true).IsOk && Notes.Sweep().IsOk);
        Directory.CreateDirectory(_directory);
    }
}
