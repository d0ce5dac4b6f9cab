using Cluster.Node.Cli;
using Cluster.Tests.Chaos.Hosts;
using Cluster.Tests.Integration.Cli;

namespace Cluster.Tests.Chaos.Devices;

[Trait("Category", "Chaos")]
public sealed class ReadOnlyStoreSpecs
{
    [Theory(DisplayName = "A store on a file system that is mounted read-only is shown and checked, with its lock file and without; what changes it is refused with the reason")]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Read_only_file_system(bool hasLock)
    {
        RootTools.Require("mount", "umount");
        var directory = Directory.CreateTempSubdirectory("myrmidon-read-only-").FullName;
        var data = await StoreCommandSpecs.NewStoreAsync(directory);
        var lockFile = Path.Combine(data, "store", "lock");
        if (hasLock) await File.WriteAllTextAsync(lockFile, "");
        else File.Delete(lockFile);
        await RootTools.RunAsync("mount", "--bind", data, data);
        try
        {
            await RootTools.RunAsync("mount", "-o", "remount,bind,ro", data);
            Assert.ThrowsAny<IOException>(() => File.WriteAllText(Path.Combine(data, "x"), ""));
            foreach (var verb in (string[])["show", "check"])
            {
                var (exit, _, error) = await StoreCommandSpecs.RunAsync("store", verb, "--data", data);
                Assert.True(exit == ExitCode.Ok, error);
            }
            var refused = await StoreCommandSpecs.RunAsync("store", "forget", Guid.NewGuid().ToString("N"), "--data", data);
            Assert.Equal(ExitCode.Failure, refused.Exit);
            Assert.Contains("can't be changed: Read-only file system", refused.Error, StringComparison.Ordinal);
        }
        finally
        {
            await RootTools.RunAsync("umount", data);
            Directory.Delete(directory, recursive: true);
        }
    }
}
