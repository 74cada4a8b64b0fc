package policy

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"unicode"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestEveryCodeHasAVerdict(t *testing.T) {
	check := func(p Protocol, code int) {
		t.Helper()
		row, ok := Lookup(p, code)
		if !ok {
			t.Fatalf("%v %d: no row", p, code)
		}
		if row.Code != code || row.Protocol != p {
			t.Errorf("%v %d: row %s is about %v %d", p, code, row.Rule, row.Protocol, row.Code)
		}
		for phase := Command; phase <= Finish; phase++ {
			v := Classify(&Fault{Protocol: p, Phase: phase, Op: "STOR", Code: code})
			if v.Rule == "" || v.Head == "" || v.Means == "" || v.Next == "" || v.Kind == KindOK || v.Remedy == Proceed {
				t.Errorf("%v %d in phase %v: not a failure with words: %+v", p, code, phase, v)
			}
		}
	}
	for code := 100; code <= 699; code++ {
		check(FTP, code)
	}
	for code := 1; code <= 31; code++ {
		check(SFTP, code)
	}
	check(SFTP, 32) // unassigned: as little as 4 says
	if row, ok := Lookup(SFTP, 0); !ok || row.Remedy != Proceed {
		t.Errorf("SFTP 0: %+v %v", row, ok)
	}
}

func TestLookupOutsideTheRanges(t *testing.T) {
	for _, c := range []struct {
		protocol Protocol
		code     int
	}{{FTP, 0}, {FTP, 99}, {FTP, 700}, {FTP, -1}, {SFTP, -1}, {Net, 425}, {SSH, 4}} {
		if row, ok := Lookup(c.protocol, c.code); ok {
			t.Errorf("%v %d: row %s", c.protocol, c.code, row.Rule)
		}
	}
}

func TestClassRows(t *testing.T) {
	for _, c := range []struct {
		code       int
		rule, name string
		remedy     Remedy
		kind       Kind
	}{
		{199, "ftp-1yz", "Positive preliminary reply: unassigned", Proceed, KindOK},
		{299, "ftp-2yz", "Positive completion reply: unassigned", Proceed, KindOK},
		{300, "ftp-3yz", "Positive intermediate reply: syntax", Proceed, KindOK},
		{413, "ftp-4yz", "Transient negative completion reply: information", Retry, KindTemporary},
		{429, "ftp-4yz", "Transient negative completion reply: connections", Retry, KindTemporary},
		{439, "ftp-4yz", "Transient negative completion reply: authentication and accounting", Retry, KindTemporary},
		{549, "ftp-5yz", "Permanent negative completion reply: unspecified", GiveUp, KindRefused},
		{559, "ftp-5yz", "Permanent negative completion reply: file system", GiveUp, KindRefused},
		{600, "ftp-6yz", "Protected reply: syntax", GiveUp, KindTrust},
		{699, "ftp-6yz", "Protected reply: unassigned", GiveUp, KindTrust},
	} {
		row, ok := Lookup(FTP, c.code)
		if !ok || row.Rule != c.rule || row.Name != c.name || row.Remedy != c.remedy || row.Kind != c.kind {
			t.Errorf("%d: %s %q %v %v", c.code, row.Rule, row.Name, row.Remedy, row.Kind)
		}
	}
}

// The codes that a standard names, or that are in common use: each has a row of
// its own, not that of its class.
func TestNamedCodesHaveTheirOwnRow(t *testing.T) {
	for _, code := range []int{
		110, 120, 125, 150, 200, 202, 211, 212, 213, 214, 215, 220, 221, 225, 226, 227, 228, 229, 230, 231, 232, 234, 235, 250, 257,
		331, 332, 334, 335, 336, 350, 421, 425, 426, 430, 431, 434, 450, 451, 452,
		500, 501, 502, 503, 504, 521, 522, 530, 531, 532, 533, 534, 535, 536, 537, 550, 551, 552, 553, 554, 555, 631, 632, 633,
	} {
		if row, _ := Lookup(FTP, code); row.Rule != "ftp-"+strconv.Itoa(code) {
			t.Errorf("%d has the row %q", code, row.Rule)
		}
	}
	names := []string{
		"OK", "EOF", "NO_SUCH_FILE", "PERMISSION_DENIED", "FAILURE", "BAD_MESSAGE", "NO_CONNECTION", "CONNECTION_LOST", "OP_UNSUPPORTED",
		"INVALID_HANDLE", "NO_SUCH_PATH", "FILE_ALREADY_EXISTS", "WRITE_PROTECT", "NO_MEDIA", "NO_SPACE_ON_FILESYSTEM", "QUOTA_EXCEEDED",
		"UNKNOWN_PRINCIPAL", "LOCK_CONFLICT", "DIR_NOT_EMPTY", "NOT_A_DIRECTORY", "INVALID_FILENAME", "LINK_LOOP", "CANNOT_DELETE",
		"INVALID_PARAMETER", "FILE_IS_A_DIRECTORY", "BYTE_RANGE_LOCK_CONFLICT", "BYTE_RANGE_LOCK_REFUSED", "DELETE_PENDING", "FILE_CORRUPT",
		"OWNER_INVALID", "GROUP_INVALID", "NO_MATCHING_BYTE_RANGE_LOCK",
	}
	for code, name := range names {
		row, _ := Lookup(SFTP, code)
		if row.Rule != "sftp-"+strconv.Itoa(code) || row.Name != "SSH_FX_"+name {
			t.Errorf("%d has the row %q, %q", code, row.Rule, row.Name)
		}
	}
}

func TestEveryCauseHasARow(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "causes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			lit, ok := spec.Values[i].(*ast.BasicLit)
			if !ok {
				t.Errorf("%s is no literal", name.Name)
				continue
			}
			rule, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			found++
			if row, ok := RowOf(rule); !ok {
				t.Errorf("%s = %q has no row", name.Name, rule)
			} else if row.Code != 0 {
				t.Errorf("%s = %q is the row of a code", name.Name, rule)
			}
		}
		return true
	})
	if found < 60 {
		t.Fatalf("only %d causes found in causes.go", found)
	}
	for phase := Command; phase <= Finish; phase++ {
		if _, ok := RowOf("no-reply-" + phase.String()); !ok {
			t.Errorf("no row for a missing reply in phase %v", phase)
		}
	}
}

func TestRowsAreWhole(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range Rows() {
		if seen[r.Rule] {
			t.Errorf("%s stands twice", r.Rule)
		}
		seen[r.Rule] = true
		if r.Rule == "" || r.Name == "" || r.Means == "" || r.Does == "" || r.Source == "" {
			t.Errorf("%s: a field is empty: %+v", r.Rule, r)
		}
		success := r.Remedy == Proceed
		if success != (r.Kind == KindOK) {
			t.Errorf("%s: remedy %v with kind %v", r.Rule, r.Remedy, r.Kind)
		}
		if !success && (r.Next == "" || len(r.Causes) == 0) {
			t.Errorf("%s: a failure without causes or next step", r.Rule)
		}
		if r.Login && (r.Remedy != GiveUp || r.Kind != KindPermission) {
			t.Errorf("%s: a refused login is given up, as a matter of permission; this is %v, %v", r.Rule, r.Remedy, r.Kind)
		}
		if r.Crowded && (r.Remedy == GiveUp || r.Kind != KindTemporary) {
			t.Errorf("%s: too many connections pass; this is %v, %v", r.Rule, r.Remedy, r.Kind)
		}
		if r.Kind == KindTrust && !slices.Contains([]Remedy{GiveUp, Reconnect}, r.Remedy) {
			t.Errorf("%s: an identity that is not proved can't be repeated into one: %v", r.Rule, r.Remedy)
		}
		if r.Kind == KindTrust && r.Remedy == Reconnect && r.Pace != Once {
			t.Errorf("%s: a matter of trust is tried anew once, not %v", r.Rule, r.Pace)
		}
	}
}

// A 5yz code is a refusal for good: whatever the rows say, none is repeated for
// long except the few whose words say that it passes.
func TestRefusalsForGoodAreNotRepeated(t *testing.T) {
	passing := []string{"ftp-500-oops", "ftp-530-limit", "ftp-550-busy"}
	for _, r := range Rows() {
		if r.Protocol != FTP || r.Code < 500 || r.Code > 599 || slices.Contains(passing, r.Rule) {
			continue
		}
		if r.Remedy != GiveUp && r.Remedy != Diagnose && r.Pace != Once {
			t.Errorf("%s: %v %v", r.Rule, r.Remedy, r.Pace)
		}
	}
}

func TestEveryRuleOfTheTextsExists(t *testing.T) {
	named := map[string]bool{}
	for _, w := range wordings {
		named[w.rule] = true
		row, ok := RowOf(w.rule)
		if !ok {
			t.Errorf("texts.go names %q, which is no rule", w.rule)
		}
		if row.Remedy == Proceed {
			t.Errorf("texts.go turns %v into a success, %s", w.codes, w.rule)
		}
		if w.says == "" || len(w.codes) == 0 || (w.words == nil && w.ops == nil && w.phases == nil) {
			t.Errorf("a row of texts.go is too wide or does not say who says it: %+v", w)
		}
	}
	refinement := regexp.MustCompile(`^(ftp-\d\d\d|sftp-\d+)-`)
	for _, r := range Rows() {
		if refinement.MatchString(r.Rule) && !named[r.Rule] {
			t.Errorf("%s: nothing in texts.go leads to it", r.Rule)
		}
	}
}

var placeholder = regexp.MustCompile(`\{[^}]*\}?`)

func TestPlaceholders(t *testing.T) {
	known := []string{"{host}", "{user}", "{path}", "{dir}", "{name}", "{url}", "{dirurl}", "{localdir}", "{said}", "{action}", "{file}"}
	full := &Fault{
		Protocol: FTP, Op: "STOR", Host: "h", User: "u", Path: "/in/a.csv", Code: 550, Text: "no",
		Locate: func(p string) string { return "acme:" + p },
	}
	for _, r := range Rows() {
		for _, text := range []string{r.Head, r.Means, r.Next} {
			for _, p := range placeholder.FindAllString(text, -1) {
				if !slices.Contains(known, p) {
					t.Errorf("%s: unknown placeholder %s", r.Rule, p)
				}
			}
		}
		// Nobody replaces them elsewhere.
		for _, text := range append([]string{r.Name, r.Does, r.Source}, r.Causes...) {
			if strings.ContainsAny(text, "{}") {
				t.Errorf("%s: placeholder in %q", r.Rule, text)
			}
		}
		for _, f := range []*Fault{full, {}} {
			v := r.Verdict(f)
			if s := v.Head + v.Means + v.Next; strings.ContainsAny(s, "{}") {
				t.Errorf("%s: left in the text: %s", r.Rule, s)
			}
		}
	}
}

// The words follow one form, so that the three lines of a failure read as one.
func TestRowsReadWell(t *testing.T) {
	commands := []string{"ls", "stat", "rm", "put", "get", "mkdir", "hosts", "history", "run", "recover"}
	invoked := regexp.MustCompile(`\bxfer (?:--?\S+ (?:FILE |active )?)*([a-z]+)`)
	for _, r := range Rows() {
		for field, text := range map[string]string{"head": r.Head, "means": r.Means, "does": r.Does, "next": r.Next} {
			if text == "" {
				continue
			}
			first, _ := firstRune(text)
			if unicode.IsUpper(first) || strings.HasSuffix(text, ".") || strings.Contains(text, "  ") || strings.TrimSpace(text) != text {
				t.Errorf("%s: %s starts small, ends without a full stop: %q", r.Rule, field, text)
			}
			if strings.Count(text, ";") > 2 {
				t.Errorf("%s: %s has too many clauses: %q", r.Rule, field, text)
			}
		}
		for _, m := range invoked.FindAllStringSubmatch(r.Next, -1) {
			if !slices.Contains(commands, m[1]) {
				t.Errorf("%s: no command %q: %s", r.Rule, m[1], r.Next)
			}
		}
		// What is copied into a shell is quoted; a bare path may hold anything.
		if regexp.MustCompile(`(xfer|ls -la|df|ssh-keygen)[^;,)]* \{(path|dir|name)\}`).MatchString(r.Next) {
			t.Errorf("%s: an unquoted path in a command: %s", r.Rule, r.Next)
		}
	}
}

func firstRune(s string) (rune, bool) {
	for _, r := range s {
		return r, true
	}
	return 0, false
}

// What a row says that xfer does is what its remedy and pace make xfer do.
func TestDoesAgreesWithTheRemedy(t *testing.T) {
	does := map[Remedy]string{
		GiveUp: "gives up", Retry: "tries again", Reconnect: "logs in anew", SwitchMode: "switches",
		Diagnose: "looks", Reconcile: "looks", Proceed: "goes on",
	}
	paces := map[Pace]string{
		Steady: "growing delays", AtOnce: "at once", Slow: "long delays", Few: "a few times", FewSlow: "a few times, with long delays", Once: "once",
	}
	for _, r := range Rows() {
		if !strings.Contains(r.Does, does[r.Remedy]) {
			t.Errorf("%s: remedy %v, but xfer %s", r.Rule, r.Remedy, r.Does)
		}
		switch r.Remedy {
		case GiveUp, Proceed:
			if strings.Contains(r.Does, "tries again") || strings.Contains(r.Does, "logs in anew") || r.Pace != Steady {
				t.Errorf("%s: remedy %v %v, but xfer %s", r.Rule, r.Remedy, r.Pace, r.Does)
			}
		case Retry, Reconnect, SwitchMode:
			if !strings.Contains(r.Does, paces[r.Pace]) {
				t.Errorf("%s: pace %v, but xfer %s", r.Rule, r.Pace, r.Does)
			}
			for pace, words := range paces {
				if pace != r.Pace && (pace == Few || pace == FewSlow) && r.Pace != Few && r.Pace != FewSlow && strings.Contains(r.Does, words) {
					t.Errorf("%s: pace %v, but xfer %s", r.Rule, r.Pace, r.Does)
				}
			}
		}
	}
}

// What the article and the standard see differently, the rows say.
func TestDisagreementsAreNamed(t *testing.T) {
	for rule, words := range map[string]string{
		"sftp-9":  `some guides list 9 as "file already exists", which is 11`,
		"sftp-10": `some guides list 10 as "write-protect", which is 12`,
		"sftp-11": `some guides list 11 as "no media", which is 13`,
		"sftp-12": `some guides list 12 as "no space", which is 14`,
		"ftp-631": "some guides call 6xx a disguise",
		"sftp-5":  "some guides call it an error of the client",
		"ftp-451": "some guides advise to check the command's syntax",
		"ftp-552": "some guides also list a transfer that the client aborted",
	} {
		if row, _ := RowOf(rule); !strings.Contains(row.Source, words) {
			t.Errorf("%s: %q", rule, row.Source)
		}
	}
}

// The three lines of STYLE.
func TestVerdictFillsTheWords(t *testing.T) {
	f := &Fault{
		Protocol: FTP, Phase: Command, Op: "STOR", Host: "partner.example", User: "acme", Path: "/in/my report.csv",
		Code: 550, Text: "Permission denied",
		Locate: func(p string) string { return "acme:" + p },
	}
	v := Classify(f)
	g := &GaveUp{Op: "put report.csv", Verdict: v, Last: f}
	for _, c := range []struct{ got, want string }{
		{g.Error(), "put report.csv: partner.example refused the upload (550 Permission denied)"},
		{v.Rule, "ftp-550-permission"},
		{v.Means, `the server denies this to "acme" in /in; trying again cannot help`},
		{v.Next, "ask the server's operator for the right on /in, or check the path with: xfer ls acme:/in"},
	} {
		if c.got != c.want {
			t.Errorf("got  %s\nwant %s", c.got, c.want)
		}
	}

	f.Text = "File is in use"
	if got, want := Classify(f).Next, "look at it with: xfer stat 'acme:/in/my report.csv'"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want the end %q", got, want)
	}
}

// Every placeholder, for a fault that knows everything and for one that knows
// nothing, as in xfer explain.
func TestFill(t *testing.T) {
	row := Row{Head: "{host} {user} {path} {dir} {name} {url} {dirurl} {localdir} {said} {action}"}
	locate := func(p string) string { return "acme:" + p }
	for _, c := range []struct {
		fault Fault
		want  string
	}{
		{
			Fault{Host: "h", User: "u", Path: "/in/a b.csv", Op: "STOR", Code: 550, Text: "no", Locate: locate},
			`h "u" /in/a b.csv /in a b.csv 'acme:/in/a b.csv' acme:/in /in 550 no the upload`,
		},
		{ // a temporary name is not the person's
			Fault{Host: "h", User: "u", Path: "in/.a.csv.part", Final: "in/a.csv", Op: "write", Code: 4, Locate: locate},
			`h "u" in/a.csv in a.csv acme:in/a.csv acme:in in 4 the upload`,
		},
		{
			Fault{Host: "h", User: "u", Path: "a.csv", Op: "RETR", Locate: locate},
			`h "u" a.csv the login directory a.csv acme:a.csv acme:. . no reply the download`,
		},
		{
			Fault{Host: "h\x1b[2J", User: "u\n", Path: "\x07", Op: "X\x00", Locate: locate},
			"h?[2J \"u\" ? the login directory ? 'acme:?' acme:. . no reply the command X?",
		},
		{Fault{}, "the server this login the path the directory the name URL URL DIRECTORY no reply the operation"},
		{Fault{Locate: locate}, "the server this login the path the directory the name acme:. acme:. DIRECTORY no reply the operation"},
	} {
		if got := row.Verdict(&c.fault).Head; got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}

func TestDefaultHeads(t *testing.T) {
	for _, c := range []struct {
		row  Row
		want string
	}{
		{Row{Protocol: FTP, Code: 399}, "the server refused the listing"},
		{Row{Protocol: FTP, Code: 400}, "the server could not do the listing now"},
		{Row{Protocol: FTP, Code: 499}, "the server could not do the listing now"},
		{Row{Protocol: FTP, Code: 500}, "the server refused the listing"},
		{Row{Protocol: SFTP, Code: 4}, "the server refused the listing"},
		{Row{Protocol: Net, Name: "no way"}, "no way"},
		{Row{Protocol: FTP, Code: 450, Head: "{host} has none"}, "the server has none"},
	} {
		if got := c.row.Verdict(&Fault{Op: "MLSD"}).Head; got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestActions(t *testing.T) {
	for ops, want := range map[string]string{
		"STOR APPE STOU ALLO write put":  "the upload",
		"RETR read get":                  "the download",
		"LIST MLSD NLST opendir readdir": "the listing",
		"MKD mkdir":                      "creating the directory",
		"RMD rmdir":                      "removing the directory",
		"DELE remove":                    "the deletion",
		"RNFR RNTO rename posix-rename":  "the rename",
		"USER PASS ACCT auth":            "the login",
		"open":                           "opening the file",
		"stat lstat SIZE MDTM MLST":      "looking at the file",
		"setstat MFMT":                   "setting time or mode",
		"symlink link":                   "the link",
		"greeting dial":                  "the connection",
		"NOOP":                           "the command NOOP",
	} {
		for op := range strings.FieldsSeq(ops) {
			if got := action(&Fault{Op: op}); got != want {
				t.Errorf("%s: %q, want %q", op, got, want)
			}
		}
	}
}

func TestHostKeyAdvice(t *testing.T) {
	f := &Fault{
		Protocol: SSH, Op: "handshake", Host: "[sftp.example]:2222", Cause: CauseHostKeyChanged,
		Locate: func(p string) string { return "sftp://acme@sftp.example:2222/~/" },
	}
	want := "ssh-keygen -f ~/.ssh/known_hosts -R '[sftp.example]:2222', then xfer --accept-new ls 'sftp://acme@sftp.example:2222/~/'"
	if v := Classify(f); !strings.HasSuffix(v.Next, want) || v.Kind != KindTrust || v.Remedy != GiveUp {
		t.Errorf("%+v", v)
	}
	f.Cause = CauseHostKeyUnknown
	if v := Classify(f); !strings.HasSuffix(v.Next, "xfer --accept-new ls 'sftp://acme@sftp.example:2222/~/'") {
		t.Error(v.Next)
	}
}

func TestFoundPanicsOnAnUnknownRule(t *testing.T) {
	v := Found(&Fault{Protocol: SFTP, Code: 4}, "remote-space", "0 B of 1.0 GiB free on /in")
	if v.Evidence != "0 B of 1.0 GiB free on /in" || v.Remedy != Retry || v.Pace != FewSlow {
		t.Errorf("%+v", v)
	}
	defer func() {
		if got := recover(); got != "policy: no such rule: remote-nonsense" {
			t.Errorf("panic: %v", got)
		}
	}()
	Found(&Fault{}, "remote-nonsense", "")
}

func TestCatalogueGolden(t *testing.T) {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range Rows() {
		code, flags := "", ""
		if r.Code != 0 || r.Rule == "sftp-0" {
			code = strconv.Itoa(r.Code)
		}
		if r.Login {
			flags = "login"
		}
		if r.Crowded {
			flags = "crowded"
		}
		_, _ = fmt.Fprintf(w, "%s\t%s\t%v\t%v\t%v\t%s\n", r.Rule, code, r.Remedy, r.Pace, r.Kind, flags)
	}
	_ = w.Flush()
	got := regexp.MustCompile(`(?m) +$`).ReplaceAllString(b.String(), "")

	golden := filepath.Join("testdata", "catalogue.golden")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != strings.ReplaceAll(string(want), "\r\n", "\n") {
		t.Errorf("the catalogue changed; look at the difference, then: go test ./policy -run Golden -update\n%s", got)
	}
}
