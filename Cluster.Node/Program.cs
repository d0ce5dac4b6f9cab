using Cluster.Node.Cli;

// The only executable: `myrmidon node` runs a node, every other verb is a client or starts local nodes.
return await CommandLine.RunAsync(args, Console.Out, Console.Error);
