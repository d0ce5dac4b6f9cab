using System.Net.Sockets;
using System.Threading.Channels;
using Cluster.Node.Journal.Format;
using Cluster.Node.Journal.Net;

namespace Cluster.Tests.Unit.Journal;

public sealed class JournalDialerSpecs
{
    [Fact(DisplayName = "A connection that is closed in the middle of a question, as by a stop, is no answer like a broken one, whatever it was closed for; a fault of the program is not passed over")]
    public void No_answer()
    {
        Exception[] none = [new IOException(), new SocketException(), new JournalFormatException("x"), new JournalRefusedException("x"), new ObjectDisposedException("socket"), new ChannelClosedException()];
        Assert.All(none, e => Assert.True(JournalDialer.IsNoAnswer(e), e.GetType().Name));
        Exception[] faults = [new InvalidOperationException(), new ArgumentException("x"), new InvalidCastException(), new OperationCanceledException()];
        Assert.All(faults, e => Assert.False(JournalDialer.IsNoAnswer(e), e.GetType().Name));
    }
}
