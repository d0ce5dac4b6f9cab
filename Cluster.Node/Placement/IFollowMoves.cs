using Cluster.Messages.Model;

namespace Cluster.Node.Placement;

public enum FollowAnswer : byte
{
    Asked = 1,
    /// <summary>An operator has moved the owner to where it is.</summary>
    Pinned = 2,
    /// <summary>Another move of it was asked for and is not made yet.</summary>
    Taken = 3,
    /// <summary>The journal does not answer.</summary>
    Unavailable = 4,
}

/// <summary>Where placement asks for moves of owners to who uses their volumes. Any thread; nothing throws.</summary>
public interface IFollowMoves
{
    /// <param name="owner">Name of the node where the owner is now.</param>
    Task<FollowAnswer> AskAsync(VolumeId volume, ulong generation, string owner, string node);

    /// <summary>The move to this node is not wanted any more.</summary>
    Task WithdrawAsync(VolumeId volume, string node);

    /// <summary>The volume is gone.</summary>
    Task ForgetVolumeAsync(VolumeId volume);
}
