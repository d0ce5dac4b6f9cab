using Cluster.Messages.Model;
using Cluster.Messages.Wire;
using Cluster.Node.Replica;

namespace Cluster.Tests.Unit.Replica;

/// <summary>Which copy of a volume a node answers for.</summary>
public class ReplicaAdmissionSpecs
{
    private static readonly Guid Identity = Guid.Parse("00000000-0000-0000-0000-000000000009");

    [Theory(DisplayName = "R5: a copy that was never in sync is made; one that was and is not there is missing")]
    [InlineData(true, AdmissionStep.Make)]
    [InlineData(false, AdmissionStep.Missing)]
    public void R5_nothing_held(bool create, AdmissionStep expected) => Assert.Equal(expected, ReplicaAdmission.Decide(null, Asked(2, create)));

    [Theory(DisplayName = "The copy that is held answers for itself, also when it may be made anew")]
    [InlineData(true)]
    [InlineData(false)]
    public void Held(bool create) => Assert.Equal(AdmissionStep.Answer, ReplicaAdmission.Decide(Copy(2, promisedEpoch: 7), Asked(2, create)));

    [Theory(DisplayName = "R22: a copy under another number stays, however old its epoch is: only the journal's word deletes it")]
    [InlineData(0UL)]
    [InlineData(7UL)]
    public void R22_another_is_held(ulong promisedEpoch) =>
        Assert.Equal(AdmissionStep.Held, ReplicaAdmission.Decide(Copy(2, promisedEpoch), Asked(4, create: true)));

    private static PromiseBody Asked(ushort number, bool create) => new(new NodeId(Identity), new ReplicaId(number), Identity, create, []);

    private static ReplicaHeader Copy(ushort number, ulong promisedEpoch) =>
        new(Identity, default, new VolumeId(1), new ReplicaId(number), Identity, promisedEpoch, default, 0, 0, 0, false, 0, 0, []);
}
