namespace Cluster.Node.Cli.Output;

/// <summary>How a command prints what it answers.</summary>
internal enum OutputFormat
{
    Table,
    Json,
    Yaml,
}
