using System.Collections.Immutable;
using System.Reflection;
using System.Runtime.Loader;
using Cluster.Tests.Architecture;
using Microsoft.CodeAnalysis;
using Microsoft.CodeAnalysis.CSharp;
using Microsoft.CodeAnalysis.Diagnostics;
using Microsoft.CodeAnalysis.Emit;

namespace Cluster.Tests.Simulation.Mutants;

/// <summary>
/// Compiles the machines, the store and the simulator anew, with one piece of text replaced, into an assembly of its own. What is not compiled anew (the model,
/// the wire format, actors) is that of the program itself.
/// </summary>
internal sealed class MutantCompiler
{
    private const string GlobalUsings = """
        global using System;
        global using System.Collections.Generic;
        global using System.IO;
        global using System.Linq;
        global using System.Threading;
        global using System.Threading.Tasks;
        global using Xunit;
        """;

    private static readonly string[] Folders =
        ["Cluster.Node/Owner", "Cluster.Node/Replica", "Cluster.Node/Store", "Cluster.Node/Repair", "Cluster.Tests/Simulation/Cluster", "Cluster.Tests/Simulation/Store",
            "Cluster.Tests/Simulation/Catalogue"];

    private static readonly string[] Files =
        ["Cluster.Node/Hosting/Volumes/LocalReplica.cs", "Cluster.Csi/Client/KeptWrites.cs", "Cluster.Node/Placement/ChangeMachine.cs", "Cluster.Csi/Client/CachedVolume.cs", "Cluster.Csi/Client/ReadCache.cs"];

    /// <summary>What mentions these is bound to actors or to the test runner, and decides nothing that a mutant changes.</summary>
    private static readonly string[] Foreign = ["using Akka", "[Fact", "[Theory"];

    /// <summary>The generators of the SDK that the sources rely on, in its reference packs.</summary>
    private static readonly string[] Generators = ["Microsoft.Interop.LibraryImportGenerator.dll", "Microsoft.Extensions.Logging.Generators.dll"];

    private readonly string _root = Repository.Root;
    private readonly Dictionary<string, string> _texts = [];
    private readonly CSharpCompilation _healthy;

    public MutantCompiler()
    {
        var files = Folders.SelectMany(folder => Directory.EnumerateFiles(Path.Combine(_root, folder), "*.cs")).Concat(Files.Select(file => Path.Combine(_root, file)));
        foreach (var file in files.Order(StringComparer.Ordinal))
        {
            var text = File.ReadAllText(file);
            if (!Array.Exists(Foreign, mark => text.Contains(mark, StringComparison.Ordinal))) _texts.Add(Path.GetRelativePath(_root, file), text);
        }
        var trees = _texts.Select(pair => Parse(pair.Value, pair.Key)).Append(Parse(GlobalUsings, "GlobalUsings.cs"));
        var references = ((string)AppContext.GetData("TRUSTED_PLATFORM_ASSEMBLIES")!).Split(Path.PathSeparator)
            .Where(path => Path.GetFileNameWithoutExtension(path) != "Cluster.Tests").Select(path => MetadataReference.CreateFromFile(path));
        // The name is one that the program shows its internals to.
        var compilation = CSharpCompilation.Create("Cluster.Tests", trees, references, new CSharpCompilationOptions(OutputKind.DynamicallyLinkedLibrary,
            optimizationLevel: OptimizationLevel.Release, allowUnsafe: true, nullableContextOptions: NullableContextOptions.Enable,
            // A type compiled anew comes before the program's own of that name; that is the point here.
            specificDiagnosticOptions: ImmutableDictionary<string, ReportDiagnostic>.Empty.Add("CS0436", ReportDiagnostic.Suppress)));
        CSharpGeneratorDriver.Create(SourceGenerators(), parseOptions: Options).RunGeneratorsAndUpdateCompilation(compilation, out var generated, out _);
        _healthy = (CSharpCompilation)generated;
    }

    /// <summary>The program as it is, compiled the same way.</summary>
    public Assembly Healthy() => Load(_healthy);

    public Assembly Compile(Mutant mutant)
    {
        Assert.True(_texts.TryGetValue(mutant.File, out var text), $"{mutant}: there is no source {mutant.File}");
        var at = text!.IndexOf(mutant.Text, StringComparison.Ordinal);
        Assert.True(at >= 0 && text.IndexOf(mutant.Text, at + 1, StringComparison.Ordinal) < 0,
            $"{mutant}: '{mutant.Text}' is not there exactly once in {mutant.File}; the mutant must follow the source");
        var changed = Parse(text.Replace(mutant.Text, mutant.Replacement, StringComparison.Ordinal), mutant.File);
        return Load(_healthy.ReplaceSyntaxTree(_healthy.SyntaxTrees.Single(tree => tree.FilePath == mutant.File), changed));
    }

    private static CSharpParseOptions Options { get; } = new(LanguageVersion.Latest);

    private static SyntaxTree Parse(string text, string path) => CSharpSyntaxTree.ParseText(text, Options, path, System.Text.Encoding.UTF8);

    private static IEnumerable<ISourceGenerator> SourceGenerators()
    {
        var packs = Path.Combine(System.Runtime.InteropServices.RuntimeEnvironment.GetRuntimeDirectory(), "..", "..", "..", "packs");
        foreach (var name in Generators)
        {
            var path = Directory.EnumerateFiles(packs, name, SearchOption.AllDirectories).Order(StringComparer.Ordinal).LastOrDefault();
            Assert.True(path is not null, $"the SDK has no {name} below {packs}");
            foreach (var generator in new AnalyzerFileReference(path!, new GeneratorLoader()).GetGenerators(LanguageNames.CSharp)) yield return generator;
        }
    }

    private sealed class GeneratorLoader : IAnalyzerAssemblyLoader
    {
        public void AddDependencyLocation(string fullPath)
        {
            // All that the generators need lies beside them or is the compiler itself.
        }

        public Assembly LoadFromPath(string fullPath) => Assembly.LoadFrom(fullPath);
    }

    private static Assembly Load(CSharpCompilation compilation)
    {
        using var image = new MemoryStream();
        var result = compilation.Emit(image, options: new EmitOptions());
        Assert.True(result.Success, string.Join('\n', result.Diagnostics.Where(diagnostic => diagnostic.Severity == DiagnosticSeverity.Error).Take(10)));
        image.Position = 0;
        return new AssemblyLoadContext("mutant", isCollectible: true).LoadFromStream(image);
    }
}
