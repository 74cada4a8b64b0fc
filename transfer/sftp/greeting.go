package sftp

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/transfer"
)

// The facts that save the round trip of the greeting. A server has to greet before it
// answers, but requests may be on their way already, where it is known to take that:
// further channels, whose server is the same as that of the first, show it. What it
// would offer is remembered as well.
const (
	factExtensions = "extensions" // their names, or noExtensions
	noExtensions   = "none"
	factPipelining = "pipelining" // as with FTP

	pipeliningWorks   = "works"
	pipeliningDropped = "dropped"
)

// foretold are the extensions with which a server will greet that need not be waited
// for; nil if it must.
func foretold(facts transfer.Facts) []string {
	names := facts[factExtensions]
	if names.Value == "" || facts[factPipelining].Value != pipeliningWorks {
		return nil
	}
	if names.Value == noExtensions {
		return []string{}
	}
	return strings.Fields(names.Value)
}

// canRemember says whether a server's extensions fit into a fact.
func canRemember(extensions []string) bool {
	return len(extensions) <= 64 && !slices.ContainsFunc(extensions, func(name string) bool {
		return name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
	})
}

// greeted waits for the greeting, if it was not waited for. Before it comes nobody
// knows what is at the other end, and nothing is changed there but temporary files.
func (s *session) greeted(ctx context.Context) error {
	t := s.control.tap
	if !t.foretold {
		return nil
	}
	if err := s.conn.wait(ctx, s.conn.limits.Reply, t.heard); err != nil {
		return err
	}
	return t.failed()
}

// tryEarly asks for something on a further channel whose server has not greeted yet,
// unless it is known what comes of that. Whoever uses the channel does not wait for
// the greeting either.
func (s *session) tryEarly(ch *channel) {
	if s.o.Facts[factPipelining].Value == pipeliningWorks || ch.tap.extensions.Load() != nil {
		return
	}
	early := ch.tap.start(newRequest(fxpStat).string("."), nil)
	go func() {
		<-early.done          // at the latest when the channel ends
		if early.err == nil { // whatever it says
			s.mu.Lock()
			s.facts[factPipelining] = transfer.Fact{Value: pipeliningWorks, Reason: "it worked", At: time.Now()}
			s.mu.Unlock()
		}
		early.release()
	}()
}
