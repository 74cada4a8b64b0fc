package sftp

import (
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
	factExtensions = "extensions" // their names
	factPipelining = "pipelining" // as with FTP

	pipeliningWorks   = "works"
	pipeliningDropped = "dropped"
)

// foretold are the extensions with which a server will greet that need not be waited
// for; nil if it must.
func foretold(facts transfer.Facts) []string {
	names, known := facts[factExtensions]
	if !known || facts[factPipelining].Value != pipeliningWorks {
		return nil
	}
	return append([]string{}, strings.Fields(names.Value)...)
}

// canRemember says whether a server's extensions fit into a fact.
func canRemember(extensions []string) bool {
	return len(extensions) <= 64 && !slices.ContainsFunc(extensions, func(name string) bool {
		return name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
	})
}

// pipelines notes that a request behind the greeting was answered.
func (s *session) pipelines() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.o.Facts[factPipelining].Value == "" {
		s.facts[factPipelining] = transfer.Fact{Value: pipeliningWorks, Reason: "it worked", At: time.Now()}
	}
}
