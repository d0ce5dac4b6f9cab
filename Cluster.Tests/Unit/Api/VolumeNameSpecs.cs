using Cluster.Node.Api;

namespace Cluster.Tests.Unit.Api;

public class VolumeNameSpecs
{
    [Theory(DisplayName = "NAME and NAMESPACE/NAME are read and written back")]
    [InlineData("db", "default", "db", "db")]
    [InlineData("shop/db-1", "shop", "db-1", "shop/db-1")]
    [InlineData("default/db", "default", "db", "db")]
    public void Names_are_read(string text, string scope, string name, string back)
    {
        Assert.True(VolumeName.TryParse(text, out var read, out _));
        Assert.Equal((scope, name, back), (read.Namespace, read.Name, read.ToString()));
    }

    [Theory(DisplayName = "What is not a DNS label is refused by a sentence that names it")]
    [InlineData("")]
    [InlineData("Upper")]
    [InlineData("-a")]
    [InlineData("a-")]
    [InlineData("a_b")]
    [InlineData("a/b/c")]
    [InlineData("/a")]
    [InlineData("ä")]
    [InlineData("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")]
    public void Bad_names_are_refused(string text)
    {
        Assert.False(VolumeName.TryParse(text, out _, out var reason));
        Assert.Contains("is not valid: use 1 to 63 of a-z", reason, StringComparison.Ordinal);
    }

    public static TheoryData<CreateVolumeRequest, string> BadRequests => new()
    {
        { new CreateVolumeRequest { Name = "v", SizeBytes = 0 }, "The size of 0 bytes is out of range" },
        { new CreateVolumeRequest { Name = "v", SizeBytes = 513 }, "use a multiple of 512 bytes" },
        { new CreateVolumeRequest { Name = "v", SizeBytes = ulong.MaxValue }, "out of range" },
        { new CreateVolumeRequest { Name = "v", SizeBytes = 4096, Replicas = 6 },
            "The number of copies 6 is out of range: ask for 1 to 5." },
        { new CreateVolumeRequest { Name = "v", SizeBytes = 4096, Namespace = "X" }, "The namespace \"X\"" },
        { new CreateVolumeRequest { Name = "v", SizeBytes = 4096, Labels = new() { ["a b"] = "c" } }, "The label \"a b\"" },
        { new CreateVolumeRequest { Name = "v", SizeBytes = 4096, Labels = new() { ["a"] = "c\nd" } }, "The value of label \"a\"" },
    };

    [Theory(DisplayName = "A wrong request is refused by a sentence that names the input")]
    [MemberData(nameof(BadRequests))]
    public void Bad_requests_are_refused(CreateVolumeRequest request, string sentence)
    {
        var failure = RequestChecks.Check(request);
        Assert.Equal(ControlStatus.Invalid, failure?.Status);
        Assert.Contains(sentence, failure!.Reason, StringComparison.Ordinal);
    }

    [Fact(DisplayName = "A well-formed request and change pass; an empty change does not")]
    public void Good_requests_pass()
    {
        Assert.Null(RequestChecks.Check(
            new CreateVolumeRequest { Name = "v", SizeBytes = 512, Replicas = 5, Labels = new() { ["a"] = "" } }));
        Assert.Null(RequestChecks.Check(new ChangeVolumeRequest { Labels = new() { ["a"] = null } }));
        Assert.NotNull(RequestChecks.Check(new ChangeVolumeRequest()));
    }
}
