using System.Text;
using Cluster.Csi.Attach;

namespace Cluster.Csi.Kernel;

/// <summary>
/// Whose a device is, as the kernel keeps it: "myrmidon:NODE:v12.7". NODE is a random number that a node's directory of devices keeps in its file "id": a path would not do, as
/// nodes in containers of one host may have the same paths, and see each other's devices.
/// </summary>
internal sealed class BackendName
{
    private const string Program = "myrmidon";

    private readonly string _prefix;

    private BackendName(string node) => _prefix = $"{Program}:{node}:";

    /// <summary>The directory's, made if it has none. Throws IOException, also if what is there was damaged: devices would not be known again.</summary>
    public static BackendName Of(string directory)
    {
        var file = Path.Combine(directory, "id");
        if (!File.Exists(file))
        {
            using (var made = new FileStream(file + ".new", FileMode.Create, FileAccess.Write))
            {
                made.Write(Encoding.ASCII.GetBytes(Guid.NewGuid().ToString("N")));
                // No loss of power leaves an empty one.
                made.Flush(flushToDisk: true);
            }
            File.Move(file + ".new", file);
        }
        var text = File.ReadAllText(file);
        return Guid.TryParseExact(text, "N", out _) ? new BackendName(text) : throw new IOException($"{file} was damaged: detach what is attached on this host (umount, nbd-client -d), and delete it");
    }

    public string For(DeviceIdentity identity) => _prefix + identity;

    /// <summary>Null: it is another node's, or another program's.</summary>
    public DeviceIdentity? IdentityOf(string backend) =>
        backend.StartsWith(_prefix, StringComparison.Ordinal) && DeviceIdentity.TryParse(backend[_prefix.Length..], out var identity) ? identity : null;
}
