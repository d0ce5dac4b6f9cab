using System.Text.RegularExpressions;

namespace Cluster.Tests.Architecture;

/// <summary>The repository's own files, as the tidy specs read them: what git would track, without what builds leave behind.</summary>
internal static partial class Repository
{
    private static readonly string[] Skipped = [".git", "bin", "obj", "artifacts", "TestResults", ".vs", ".idea", "node_modules"];

    public static string Root { get; } = FindRoot();

    public static IReadOnlyList<string> Files { get; } = [.. Walk(Root).Select(path => Path.GetRelativePath(Root, path))
        .Order(StringComparer.Ordinal)];

    public static IEnumerable<string> Sources => Files.Where(file => file.EndsWith(".cs", StringComparison.Ordinal));

    public static string Read(string file) => File.ReadAllText(Path.Combine(Root, file));

    public static IEnumerable<string> Under(params string[] folders) =>
        Sources.Where(file => folders.Any(folder => file.StartsWith(folder + "/", StringComparison.Ordinal)));

    public static bool IsText(string file) => !BinaryName().IsMatch(file);

    private static IEnumerable<string> Walk(string directory)
    {
        foreach (var file in Directory.EnumerateFiles(directory)
            .Where(file => !Skipped.Contains(Path.GetFileName(file), StringComparer.Ordinal))) yield return file;
        foreach (var inner in Directory.EnumerateDirectories(directory))
        {
            if (Skipped.Contains(Path.GetFileName(inner), StringComparer.Ordinal)) continue;
            foreach (var file in Walk(inner)) yield return file;
        }
    }

    private static string FindRoot()
    {
        var directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "Cluster.sln")))
            directory = Path.GetDirectoryName(directory)
                ?? throw new InvalidOperationException("the tests do not run inside the repository");
        return directory;
    }

    [GeneratedRegex(@"\.(png|ico|woff2|gz|bin|dll)$", RegexOptions.CultureInvariant)]
    private static partial Regex BinaryName();
}
