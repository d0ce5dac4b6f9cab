using Cluster.Messages.Wire;

namespace Cluster.Tests.Simulation.Volumes;

/// <summary>
/// Something that will happen, to a node's process (one incarnation of it) or to the world. Its body is released when it was dropped,
/// and when it ran unless
/// what ran took it over.
/// </summary>
internal sealed class SimEvent(Action run, SimNode? node, IoBuffer? body = null, bool takesBody = false)
{
    public SimNode? Node => node;

    public int Incarnation { get; } = node?.Incarnation ?? 0;

    public void Run()
    {
        run();
        if (!takesBody) body?.Release();
    }

    public void Drop() => body?.Release();
}
