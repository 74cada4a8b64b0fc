package main

import (
	"encoding"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// TestExampleConfig: the example decodes strictly, shows every key, and shows
// the defaults that the program really has.
func TestExampleConfig(t *testing.T) {
	data, err := os.ReadFile("../../config.example.toml")
	if err != nil {
		t.Fatal(err)
	}
	cfg, problems := parseConfig(data)
	if len(problems) > 0 {
		t.Fatalf("problems: %q", problems)
	}
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Site](), reflect.TypeFor[PolicyConfig](), reflect.TypeFor[CodeOverride](),
		reflect.TypeFor[JobConfig](), reflect.TypeFor[Expect](), reflect.TypeFor[HookConfig]()} {
		for _, f := range reflect.VisibleFields(typ) {
			if key := f.Tag.Get("toml"); key != "" && !regexp.MustCompile(`(?m)(^|\[|\{ |, |\.)`+key+`( =|\]|\.)`).Match(data) {
				t.Errorf("%s: key %q is not shown", typ.Name(), key)
			}
		}
	}
	if got, want := builtin().over(cfg.Defaults), builtin(); !sameOptions(got, want) {
		t.Errorf("[defaults] shows other values than the program has")
	}
	limits, errs := cfg.Policy.limits()
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	override := limits.Overrides["452"]
	if override != (policy.Override{Remedy: policy.Retry, Set: true, Tries: 3, Delay: 5 * time.Minute}) {
		t.Errorf("override %+v", override)
	}
	limits.Overrides = nil
	if !reflect.DeepEqual(limits, policy.DefaultLimits()) {
		t.Errorf("[policy] shows %+v, the program has %+v", limits, policy.DefaultLimits())
	}
}

// sameOptions compares what the pointers point to; an empty list is as good as none.
func sameOptions(a, b Options) bool {
	va, vb := reflect.ValueOf(a), reflect.ValueOf(b)
	for i := range va.NumField() {
		x, y := va.Field(i).Elem(), vb.Field(i).Elem()
		if x.Kind() == reflect.Slice && x.Len() == 0 && y.Len() == 0 {
			continue
		}
		if !reflect.DeepEqual(x.Interface(), y.Interface()) {
			return false
		}
	}
	return true
}

func TestEmptyConfig(t *testing.T) {
	if _, problems := parseConfig(nil); len(problems) > 0 {
		t.Errorf("%q", problems)
	}
}

// TestConfigProblems: every problem is named, with its line, all at once, and no
// text of the file is repeated.
func TestConfigProblems(t *testing.T) {
	tests := []struct {
		name, toml string
		want       []string
	}{
		{"unknown keys", "[defaults]\ntimout = \"hunter2\"\n\n[site.acme]\nprotocol = \"sftp\"\nhost = \"h\"\npasword_env = \"X\"\nzzz = 1\n",
			[]string{"2: unknown key defaults.timout; did you mean timeout?", "7: unknown key site.acme.pasword_env; did you mean password_env?", "8: unknown key site.acme.zzz"}},
		{"unknown table", "[polcy]\ntries = 3\n", []string{"1: unknown key polcy; did you mean policy?"}},
		{"secret in the file", "[site.acme]\nprotocol = \"ftp\"\nhost = \"h\"\npassword = \"hunter2\"\n",
			[]string{"4: site.acme.password: a secret does not belong in this file; use password_env, password_file, password_command or keyring"}},
		{"syntax", "[site.acme]\npassword = \"hunter2\nhost = \"h\"\n", []string{"2: "}},
		{"type", "[site.acme]\nprotocol = \"ftp\"\nhost = \"h\"\nport = \"hunter2\"\n", []string{"4: site.acme.port: "}},
		{"duration", "[defaults]\ntimeout = \"hunter2\"\n", []string{`2: defaults.timeout: must be a duration such as "30s", "5m" or "1h30m"`}},
		{"several values", "[defaults]\ntimeout = \"hunter2\"\nmode = \"hunter2\"\ntimout = 1\n[site.acme]\nport = \"hunter2\"\n",
			[]string{"2: defaults.timeout: must be", "3: defaults.mode: must be", "6: site.acme.port: ", "4: unknown key defaults.timout"}},
		{"value and syntax", "[defaults]\ntimeout = \"hunter2\"\nmode = \"hunter2\n", []string{"2: defaults.timeout: must be"}},
		{"mode", "[defaults]\nmode = \"hunter2\"\n", []string{"2: defaults.mode: must be one of auto, passive, active, passive-only, active-only"}},
		{"values", "[site.acme]\nport = 99999\nactive_ports = \"5-1\"\n[policy]\ntries = 0\njitter = 2.0\n",
			[]string{" policy.jitter: must be from 0 to 1", " policy.tries: must be at least 1", " site.acme: active_ports: must be a range",
				" site.acme: host: missing", " site.acme: port: must be from 1", " site.acme: protocol: must be one of"}},
		{"FTP and proxies", "[defaults]\ntls_min_version = \"9\"\n[site.acme]\nprotocol = \"ftp\"\nhost = \"h\"\ntls_pin = \"hunter2\"\nencoding = \"hunter2\"\nproxy = \"http://u:hunter2@p\"\n",
			[]string{" defaults.tls_min_version: must be one of", " site.acme: encoding: not a code page", " site.acme: proxy: a secret does not belong", " site.acme: tls_pin: must be"}},
		{"proxy", "[defaults]\nproxy = \"gopher://u:hunter2@p\"\n", []string{"2: defaults.proxy: must begin with"}},
		{"zone", "[site.acme]\ntime_zone = \"hunter2\"\n", []string{"2: site.acme.time_zone: must be like"}},
		{"verify", "[defaults]\nverify = \"hunter2\"\n", []string{"2: defaults.verify: must be one of size, hash, readback"}},
		{"overrides", "[policy.codes]\n\"530\" = { remedy = \"retry\" }\n\"999\" = { remedy = \"fail\" }\n\"452\" = { remedy = \"dance\" }\n",
			[]string{" policy.codes: 452: remedy must be one of", " policy.codes: 530: ", " policy.codes: no such code or rule: \"999\""}},
		{"jobs", "[job.a]\ndo = \"move\"\nsource = \"out\"\ndestination = \"acme:in\"\noptions = { setle = 1, json = true }\n[job.b]\ndo = \"put\"\nsource = \"/out\"\ndestination = \"sftp://u:hunter2@h/\"\noptions = { verify = \"hunter2\", jobs = \"hunter2\" }\n",
			[]string{" job.a: options.json: is said on the command line only", " job.a: source: must be absolute", " job.b: destination: a secret does not belong", " job.b: options.jobs: must be a number"}},
		{"a job's keys", "[job.a]\nsorce = 1\n[job.a.expect]\nbye = \"06:00\"\n[job.a.on_failure]\ncmd = []\n",
			[]string{"2: unknown key job.a.sorce; did you mean source?", "4: unknown key job.a.expect.bye; did you mean by?", "6: unknown key job.a.on_failure.cmd", " job.a: destination: missing", " job.a: do: must be one of", " job.a: source: missing"}},
		{"a job's times", "[job.a]\nschedule = \"every day\"\n", []string{"2: job.a.schedule: must be five fields"}},
		{"a job's window", "[job.a]\nwindow = \"22-5\"\n", []string{"2: job.a.window: must be two times of day"}},
		{"a job's options", "[job.a]\ndo = \"move\"\nsource = \"/out\"\ndestination = \"acme:in\"\noptions = { setle = 1 }\non_success = { url = \"hunter2\" }\n",
			[]string{" job.a: on_success: url: must begin with", " job.a: options: move has no option setle; did you mean settle?"}},
		{"a job's choices", "[job.a]\ndo = \"move\"\nsource = \"/out\"\ndestination = \"acme:in\"\noptions = { resend = \"hunter2\" }\n[job.b]\ndo = \"move\"\nsource = \"/out\"\ndestination = \"acme:in\"\noptions = { failures = \"hunter2\" }\n[job.c]\ndo = \"move\"\nsource = \"/out\"\ndestination = \"acme:in\"\noptions = { archive = \"\" }\n",
			[]string{" job.a: options.resend: must be true or false", " job.b: options.failures: must be a whole number", " job.c: options.archive: is empty"}},
		{"numbers without quotes", "[defaults]\ntimeout = 5\nkeepalive = 0\nlimit_rate = 500000\nchmod = 640\nmode = 1\n[policy]\nbase = 3\n[policy.codes]\n\"452\" = { delay = 7 }\n[site.ab]\nprotocol = \"ftp\"\nhost = \"h\"\ntimeout = 6\n",
			[]string{` defaults.chmod: must be in quotes, such as "640"`, " defaults.mode: must be one of auto", ` defaults.timeout: must be in quotes, such as "5s"`,
				` policy.base: must be in quotes, such as "3s"`, ` policy.codes.452.delay: must be in quotes, such as "7s"`, ` site.ab.timeout: must be in quotes, such as "6s"`}},
		{"site name", "[site.a]\nprotocol = \"ftp\"\nhost = \"h\"\n", []string{" site.a: a site's name has at least two characters"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := parseConfig([]byte(tt.toml))
			all := strings.Join(problems, "\n")
			if strings.Contains(all, "hunter2") {
				t.Errorf("a value of the file is repeated:\n%s", all)
			}
			if len(problems) != len(tt.want) {
				t.Fatalf("%d problems, want %d:\n%s", len(problems), len(tt.want), all)
			}
			for i, want := range tt.want {
				if !strings.HasPrefix(problems[i], want) {
					t.Errorf("problem %q, want %q", problems[i], want)
				}
			}
		})
	}
}

// TestNumbersMeanTheSame: no key of any table takes a number that would mean
// something else in quotes.
func TestNumbersMeanTheSame(t *testing.T) {
	keys := 0
	var look func(typ reflect.Type, key string)
	look = func(typ reflect.Type, key string) {
		for typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if _, isText := reflect.New(typ).Interface().(encoding.TextUnmarshaler); isText {
			into := reflect.New(typ).Elem()
			if !into.CanInt() && !into.CanUint() {
				return // TOML itself refuses a number
			}
			keys++
			_, problems := parseConfig([]byte(key + " = 123"))
			refused := slices.ContainsFunc(problems, func(p string) bool { return strings.HasPrefix(p, " "+key+": must be") })
			if same := typ == reflect.TypeFor[ByteRate](); refused == same {
				t.Errorf("%s = 123: refused: %v; problems %q", key, refused, problems)
			}
			return
		}
		switch typ.Kind() {
		case reflect.Map:
			look(typ.Elem(), key+".aa")
		case reflect.Struct:
			for _, f := range reflect.VisibleFields(typ) {
				if tag := f.Tag.Get("toml"); tag != "" {
					look(f.Type, strings.TrimPrefix(key+"."+tag, "."))
				}
			}
		}
	}
	look(reflect.TypeFor[Config](), "")
	if keys < 20 {
		t.Errorf("only %d keys were found", keys)
	}
}

// TestNoHome: without a home directory nothing is read from or written to the
// working directory, which may be anybody's.
func TestNoHome(t *testing.T) {
	t.Setenv("HOME", "")
	for _, env := range []map[string]string{{}, {"HOME": "."}, {"XDG_CONFIG_HOME": "here", "XDG_STATE_HOME": "."}} {
		a := newApp(system{env: func(name string) string { return env[name] }, stdout: io.Discard, stderr: io.Discard})
		config, _ := a.configPath()
		for _, path := range []string{a.home(), config, a.stateDir("ledger.db"), a.file("~/.ssh/known_hosts")} {
			if !filepath.IsAbs(path) {
				t.Errorf("%v: %s is below the working directory", env, path)
			}
		}
	}
}

// TestConfigThatAnyoneMayWrite: it may name programs to run.
func TestConfigThatAnyoneMayWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no modes")
	}
	path := filepath.Join(t.TempDir(), "config.toml")
	for mode, refused := range map[os.FileMode]bool{0o600: false, 0o644: false, 0o664: false, 0o666: true, 0o646: true} {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		a := newApp(system{env: func(string) string { return "" }, stdout: io.Discard, stderr: io.Discard})
		a.flags.config = path
		_, err := a.config()
		if (err != nil) != refused || refused && kindOf(err) != policy.KindConfig {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
}

// TestOptionsLayers: flags come before the site, the site before the defaults.
func TestOptionsLayers(t *testing.T) {
	got := builtin().over(
		Options{Mode: new(transfer.ModeActive), OnExists: new(transfer.Skip), Resume: new(false)},
		Options{Mode: new(transfer.ModePassive), OnExists: new(transfer.Newer)},
		Options{Mode: new(transfer.ModePassiveOnly)},
	)
	if *got.Mode != transfer.ModePassiveOnly || *got.OnExists != transfer.Newer || *got.Resume || !*got.Times {
		t.Errorf("%v %v %v %v", *got.Mode, *got.OnExists, *got.Resume, *got.Times)
	}
}

func TestDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{"30s": 30 * time.Second, "1h30m": 90 * time.Minute, "45": 45 * time.Second, "0.5": 500 * time.Millisecond, "0": 0} {
		var d Duration
		if err := d.UnmarshalText([]byte(text)); err != nil || time.Duration(d) != want {
			t.Errorf("%s: %v %v", text, time.Duration(d), err)
		}
	}
	for _, text := range []string{"", "-1", "-5s", "soon", "1e30"} {
		if err := new(Duration).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte("[site.acme]\nhost = \"h\"\n[policy.codes]\n\"452\" = { remedy = \"fail\" }"))
	f.Fuzz(func(t *testing.T, data []byte) {
		parseConfig(data) // must not panic
	})
}
