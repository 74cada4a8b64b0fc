package ftp

import (
	"fmt"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// abilities is what the server is known to do and to refuse: what FEAT lists
// (RFC 2389), and what it answered when it was asked, in this session or, with
// Hints, in one of the last days.
type abilities struct {
	// features are the lines of FEAT by their first word, those of SITE by two;
	// nil when FEAT itself was refused.
	features map[string]string
	// refused are the commands that are not asked for again.
	refused map[string]refusal
}

// refusal is one "500 unknown command". seen is how many replies there had been:
// a server that said nothing afterwards may have been dying (500 OOPS of
// vsftpd), and its words are not remembered.
type refusal struct {
	fact transfer.Fact
	seen int64
}

// refusedFact is the prefix of facts about refused commands: "no:MLSD".
const refusedFact = "no:"

func newAbilities(hints transfer.Facts) *abilities {
	a := &abilities{refused: map[string]refusal{}}
	for name, fact := range hints {
		if verb, ok := strings.CutPrefix(name, refusedFact); ok && remembered(hints, name) != "" {
			a.refused[verb] = refusal{fact: fact}
		}
	}
	return a
}

// offers says whether FEAT lists the verb and the server did not refuse it.
func (a *abilities) offers(verb string) bool {
	_, listed := a.features[verb]
	return listed && a.may(verb)
}

// may says whether it is worth asking: the server did not refuse it yet.
func (a *abilities) may(verb string) bool {
	_, refused := a.refused[verb]
	return !refused
}

// refuse notes that the server does not know a verb; seen is how many replies
// it had given by then.
func (a *abilities) refuse(verb string, r reply, seen int64) {
	a.refused[verb] = refusal{
		fact: transfer.Fact{
			Value: "refused", At: time.Now(),
			Reason: policy.Sanitize(fmt.Sprintf("%s: %d %s", verb, r.code, r.text())),
		},
		seen: seen,
	}
}

// facts adds what is worth remembering. seen is the number of replies so far.
func (a *abilities) facts(to transfer.Facts, seen int64) {
	for verb, r := range a.refused {
		if seen > r.seen {
			to[refusedFact+verb] = r.fact
		}
	}
}

// parseFEAT reads the lines of a 211 (RFC 2389 §3.2). Servers differ in how
// they indent them; some repeat the code.
func parseFEAT(lines []string) map[string]string {
	features := map[string]string{}
	if len(lines) < 3 {
		return features
	}
	for _, line := range lines[1 : len(lines)-1] {
		line = strings.TrimSpace(strings.TrimPrefix(line, "211-"))
		verb, args, _ := strings.Cut(line, " ")
		if verb == "" {
			continue
		}
		features[strings.ToUpper(verb)] = strings.TrimSpace(args)
		if strings.EqualFold(verb, "SITE") { // one line for each of its commands
			features[strings.ToUpper(verb+" "+strings.TrimSpace(args))] = ""
		}
	}
	return features
}

// learnFeatures asks for FEAT. A server without it may still have everything.
func (x *interposer) learnFeatures() {
	if !x.able.may("FEAT") {
		return
	}
	r, err := x.exchange("FEAT", "")
	switch {
	case err != nil:
		x.fail(x.lost(policy.Auth, "FEAT", "", err))
	case r.code == 211:
		x.able.features = parseFEAT(r.lines)
	case r.unsupported():
		x.able.refuse("FEAT", r, x.w.seen.Load())
	}
	if x.able.features != nil && x.ends.local.Is4() {
		// Old servers and firewalls know only the commands of RFC 959.
		if _, ok := x.able.features["EPSV"]; !ok && x.modes.noEPSV == "" {
			x.modes.noEPSV = "not in FEAT"
		}
		if _, ok := x.able.features["EPRT"]; !ok && x.modes.noEPRT == "" {
			x.modes.noEPRT = "not in FEAT"
		}
	}
}

// optional sends a command that can be done without. ok is false when the
// server does not know it, now or from before.
func (x *interposer) optional(verb, arg string) (r reply, ok bool, err error) {
	if !x.able.may(verb) {
		return reply{}, false, nil
	}
	r, err = x.cmd(verb, arg)
	if err == nil && r.unsupported() {
		x.able.refuse(verb, r, x.w.seen.Load())
		return r, false, nil
	}
	return r, err == nil, err
}
