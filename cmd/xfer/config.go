package main

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for time_zone: Windows and small containers have no zone database

	"github.com/pelletier/go-toml/v2"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
	"github.com/xfer-cli/xfer/transfer/ftp"
	"github.com/xfer-cli/xfer/transfer/sftp"
)

// Config is the configuration file; config.example.toml shows every key.
type Config struct {
	// LedgerFile is what is remembered between runs, "" for the default.
	LedgerFile string `toml:"ledger_file"`

	Defaults Options         `toml:"defaults"`
	Policy   PolicyConfig    `toml:"policy"`
	Sites    map[string]Site `toml:"site"`

	Jobs map[string]JobConfig `toml:"job"`
}

// Options can be set for everything ([defaults]), for one site and by flags. A
// nil field was not set there.
type Options struct {
	Timeout    *Duration          `toml:"timeout"`
	Mode       *transfer.Mode     `toml:"mode"`
	OnExists   *transfer.OnExists `toml:"on_exists"`
	Resume     *bool              `toml:"resume"`
	Times      *bool              `toml:"times"`
	InPlace    *bool              `toml:"in_place"`
	Parents    *bool              `toml:"parents"`
	CAFile     *string            `toml:"ca_file"`
	KnownHosts *string            `toml:"known_hosts"`
	HostKeys   *HostKeys          `toml:"host_keys"`
	Keys       *[]string          `toml:"keys"`
	Agent      *bool              `toml:"agent"`
	SSHConfig  *string            `toml:"ssh_config"`
	Modes      *bool              `toml:"modes"`
	Chmod      *FileMode          `toml:"chmod"`
	Probe      *sftp.Probe        `toml:"probe"`
	Ledger     *bool              `toml:"ledger"`
	// MaxConnections and LimitRate hold for a host, over all processes of this
	// user; 0 is no limit.
	MaxConnections *int      `toml:"max_connections"`
	LimitRate      *ByteRate `toml:"limit_rate"`

	Verify           *transfer.Verify `toml:"verify"`
	Proxy            *Proxy           `toml:"proxy"`
	ProxyPasswordEnv *string          `toml:"proxy_password_env"`
	KeepAlive        *Duration        `toml:"keepalive"`
	RequireTLS       *bool            `toml:"require_tls"`
	TLSMinVersion    *string          `toml:"tls_min_version"`
	ClientCert       *string          `toml:"client_cert"`
	ClientKey        *string          `toml:"client_key"`
}

// builtin are the options when nobody says anything.
func builtin() Options {
	return Options{
		Timeout: new(Duration(transfer.DefaultTimeout)), Mode: new(transfer.ModeAuto), OnExists: new(transfer.Replace),
		Resume: new(true), Times: new(true), InPlace: new(false), Parents: new(false),
		CAFile: new(""), KnownHosts: new("~/.ssh/known_hosts"), HostKeys: new(HostKeysStrict),
		Keys: new([]string(nil)), Agent: new(true), SSHConfig: new(""), Modes: new(false), Chmod: new(FileMode(0)), Probe: new(sftp.ProbeSafe), Ledger: new(false),
		MaxConnections: new(0), LimitRate: new(ByteRate(0)),
		Verify: new(transfer.VerifySize), Proxy: new(Proxy{}), ProxyPasswordEnv: new(""),
		KeepAlive: new(Duration(0)), RequireTLS: new(false), TLSMinVersion: new("1.2"),
		ClientCert: new(""), ClientKey: new(""),
	}
}

// over gives o with every option that is set in top replaced.
func (o Options) over(tops ...Options) Options {
	dst := reflect.ValueOf(&o).Elem()
	for _, top := range tops {
		src := reflect.ValueOf(top)
		for i := range src.NumField() {
			if !src.Field(i).IsNil() {
				dst.Field(i).Set(src.Field(i))
			}
		}
	}
	return o
}

// Site is a server with a name.
type Site struct {
	Options
	Protocol string `toml:"protocol"`
	Host     string `toml:"host"`
	Port     int    `toml:"port"`
	User     string `toml:"user"`
	// Path is where relative paths of this site begin.
	Path string `toml:"path"`

	PasswordEnv     string   `toml:"password_env"`
	PasswordFile    string   `toml:"password_file"`
	PasswordCommand []string `toml:"password_command"`
	Keyring         bool     `toml:"keyring"`
	Netrc           *bool    `toml:"netrc"`
	AccountEnv      string   `toml:"account_env"`
	PassphraseEnv   string   `toml:"passphrase_env"`

	ForwardAgent bool `toml:"forward_agent"`
	Legacy       bool `toml:"legacy"`
	Shell        bool `toml:"shell"`

	ActiveAddress string `toml:"active_address"`
	ActivePorts   string `toml:"active_ports"`

	TLSPin      string `toml:"tls_pin"`
	VirtualHost string `toml:"virtual_host"`
	Encoding    string `toml:"encoding"`
	TimeZone    Zone   `toml:"time_zone"`
}

// PolicyConfig are the numbers of the policy and what to do differently.
type PolicyConfig struct {
	Tries    *int                    `toml:"tries"`
	Few      *int                    `toml:"few"`
	Base     *Duration               `toml:"base"`
	Cap      *Duration               `toml:"cap"`
	Factor   *float64                `toml:"factor"`
	Jitter   *float64                `toml:"jitter"`
	Slow     *int                    `toml:"slow"`
	Deadline *Duration               `toml:"deadline"`
	Codes    map[string]CodeOverride `toml:"codes"`
}

// CodeOverride changes what is done about one code or rule.
type CodeOverride struct {
	Remedy string   `toml:"remedy"`
	Tries  int      `toml:"tries"`
	Delay  Duration `toml:"delay"`
}

// limits gives the policy's numbers with the defaults filled in.
func (p PolicyConfig) limits() (policy.Limits, []error) {
	l := policy.DefaultLimits()
	var errs []error
	set := func(dst *int, src *int, name string) {
		if src != nil {
			*dst = *src
			if *src < 1 {
				errs = append(errs, fmt.Errorf("policy.%s: must be at least 1", name))
			}
		}
	}
	set(&l.Tries, p.Tries, "tries")
	set(&l.Few, p.Few, "few")
	set(&l.Slow, p.Slow, "slow")
	if p.Base != nil {
		l.Base = time.Duration(*p.Base)
	}
	if p.Cap != nil {
		l.Cap = time.Duration(*p.Cap)
	}
	if p.Factor != nil {
		if l.Factor = *p.Factor; l.Factor < 1 {
			errs = append(errs, errors.New("policy.factor: must be at least 1"))
		}
	}
	if p.Jitter != nil {
		if l.Jitter = *p.Jitter; l.Jitter < 0 || l.Jitter > 1 {
			errs = append(errs, errors.New("policy.jitter: must be from 0 to 1"))
		}
	}
	for key, c := range p.Codes {
		o, err := c.override(key)
		if err != nil {
			errs = append(errs, fmt.Errorf("policy.codes: %w", err))
			continue
		}
		if l.Overrides == nil {
			l.Overrides = map[string]policy.Override{}
		}
		l.Overrides[key] = o
	}
	return l, errs
}

func (c CodeOverride) override(key string) (policy.Override, error) {
	o := policy.Override{Tries: c.Tries, Delay: time.Duration(c.Delay)}
	if c.Remedy != "" {
		if err := o.Remedy.UnmarshalText([]byte(c.Remedy)); err != nil {
			return o, fmt.Errorf("%s: remedy %w", key, err)
		}
		o.Set = true
	}
	return o, policy.CheckOverride(key, o)
}

// Duration is written "90s", "5m", "1h30m", or as a number of seconds.
type Duration time.Duration

// UnmarshalText reads it. The error does not repeat the text: it may have been
// meant for another key.
func (d *Duration) UnmarshalText(text []byte) error {
	if n, err := strconv.ParseFloat(string(text), 64); err == nil && n >= 0 && n < 1e9 {
		*d = Duration(n * float64(time.Second))
		return nil
	}
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return errors.New(`must be a duration such as "30s", "5m" or "1h30m"`)
	}
	*d = Duration(v)
	return nil
}

// ByteRate is in bytes per second, written "2MB/s" or "500k".
type ByteRate int64

// UnmarshalText reads it; the units are powers of 1024, as curl's.
func (r *ByteRate) UnmarshalText(text []byte) error {
	n, err := batch.ParseSize(strings.TrimSuffix(string(text), "/s"))
	if err != nil {
		return errors.New(`must be a rate such as "500k" or "2MB/s"`)
	}
	*r = ByteRate(n)
	return nil
}

// FileMode are permission bits, written in octal as for chmod(1); "" and 0 leave
// them to the target.
type FileMode fs.FileMode

// UnmarshalText reads it.
func (m *FileMode) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint("0"+string(text), 8, 32)
	if err != nil || n > 0o777 {
		return errors.New(`must be octal, from "000" to "777"`)
	}
	*m = FileMode(n)
	return nil
}

// HostKeys says what to do about the key of a host that is not known.
type HostKeys string

// The policies. A key that changed is refused under all of them.
const (
	HostKeysStrict    HostKeys = "strict"     // ask on a terminal, else refuse
	HostKeysAcceptNew HostKeys = "accept-new" // accept and remember
)

// UnmarshalText reads one of the names.
func (h *HostKeys) UnmarshalText(text []byte) error {
	switch v := HostKeys(text); v {
	case HostKeysStrict, HostKeysAcceptNew:
		*h = v
		return nil
	}
	return errors.New("must be strict or accept-new")
}

// configPath is the file that --config, XDG_CONFIG_HOME or the home directory
// say. As in the specification of XDG, a relative directory counts for nothing:
// the file may name programs to run, and is not whoever's directory this is.
func (a *app) configPath() (path string, explicit bool) {
	if a.flags.config != "" {
		return a.flags.config, true
	}
	dir := a.sys.env("XDG_CONFIG_HOME")
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(a.home(), ".config")
	}
	return filepath.Join(dir, "xfer", "config.toml"), false
}

// loadConfig reads the file. A missing one is empty, unless it was asked for.
func (a *app) loadConfig() (*Config, error) {
	path, explicit := a.configPath()
	data, err := readConfig(path)
	if errors.Is(err, fs.ErrNotExist) && !explicit {
		return &Config{}, nil
	}
	if err != nil {
		return nil, configError{err}
	}
	cfg, problems := parseConfig(data)
	if len(problems) > 0 {
		for i, p := range problems {
			problems[i] = path + ":" + p
		}
		return nil, configError{errors.New(strings.Join(problems, "\n      "))}
	}
	return cfg, nil
}

// readConfig reads a file that may name programs to run.
func readConfig(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if err := auth.CheckWritable(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return io.ReadAll(f)
}

// parseConfig decodes strictly and names all problems at once, each as
// "LINE: what" or " what". It never quotes the file: a line may be a password.
func parseConfig(data []byte) (*Config, []string) {
	var cfg Config
	problems, err := decodeConfig(data, &cfg)
	fits := len(problems) == 0
	if missing, ok := errors.AsType[*toml.StrictMissingError](err); ok {
		for i := range missing.Errors {
			line, _ := missing.Errors[i].Position()
			problems = append(problems, fmt.Sprintf("%d: %s", line, unknownKey(missing.Errors[i].Key())))
		}
	} else if err != nil {
		return nil, append(problems, " "+err.Error())
	}
	if !fits {
		return nil, problems
	}
	var said map[string]any
	_ = toml.Unmarshal(data, &said) // was decoded above
	for _, err := range append(unquoted(reflect.TypeFor[Config](), said, ""), cfg.check()...) {
		problems = append(problems, " "+err.Error())
	}
	return &cfg, problems
}

// decodeConfig names the values that do not fit. Each ends the decoding, and what
// follows is seen without its line.
func decodeConfig(data []byte, cfg *Config) (problems []string, err error) {
	for {
		*cfg = Config{}
		err := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields().Decode(cfg)
		bad, ok := errors.AsType[*toml.DecodeError](err)
		if _, unknown := errors.AsType[*toml.StrictMissingError](err); unknown || !ok {
			return problems, err
		}
		line, _ := bad.Position()
		what := strings.TrimPrefix(bad.Error(), "toml: ")
		if len(bad.Key()) == 0 { // it is the syntax; a line that was left out may have made it
			if problems == nil {
				problems = []string{fmt.Sprintf("%d: %s", line, what)}
			}
			return problems, nil
		}
		problems = append(problems, fmt.Sprintf("%d: %s: %s", line, strings.Join(bad.Key(), "."), what))
		if data, ok = withoutLine(data, line); !ok {
			return problems, nil
		}
	}
}

// withoutLine empties a line, counted from 1, if there is anything in it.
func withoutLine(data []byte, line int) ([]byte, bool) {
	lines := bytes.Split(data, []byte("\n"))
	if line < 1 || line > len(lines) || len(bytes.TrimSpace(lines[line-1])) == 0 {
		return data, false
	}
	lines[line-1] = nil
	return bytes.Join(lines, []byte("\n")), true
}

// unquoted finds numbers where text is expected: TOML fills an integer with them
// past its UnmarshalText, and "timeout = 5" would be five nanoseconds. One that
// means the same without quotes is none.
func unquoted(t reflect.Type, v any, key string) (errs []error) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			below := strings.TrimPrefix(key+"."+k, ".")
			if f, ok := fieldOf(t, k); ok {
				errs = append(errs, unquoted(f.Type, v[k], below)...)
			} else if t.Kind() == reflect.Map {
				errs = append(errs, unquoted(t.Elem(), v[k], below)...)
			}
		}
	case int64:
		into := reflect.New(t)
		text, ok := into.Interface().(encoding.TextUnmarshaler)
		if !ok {
			return nil
		}
		if err := text.UnmarshalText(strconv.AppendInt(nil, v, 10)); err != nil {
			return []error{fmt.Errorf("%s: %w", key, err)}
		}
		if same := into.Elem().CanInt() && into.Elem().Int() == v || into.Elem().CanUint() && into.Elem().Uint() == uint64(v); !same {
			example := "640"
			if t == reflect.TypeFor[Duration]() {
				example = fmt.Sprintf("%ds", v)
			}
			return []error{fmt.Errorf("%s: must be in quotes, such as %q", key, example)}
		}
	}
	return errs
}

// check finds what decodes but makes no sense.
func (c *Config) check() []error {
	_, errs := c.Policy.limits()
	if n := c.Defaults.MaxConnections; n != nil && *n < 0 {
		errs = append(errs, errors.New("defaults.max_connections: must be at least 0"))
	}
	for _, err := range c.Defaults.check() {
		errs = append(errs, fmt.Errorf("defaults.%w", err))
	}
	for name, site := range c.Sites {
		for _, err := range site.check() {
			errs = append(errs, fmt.Errorf("site.%s: %w", name, err))
		}
		if _, _, ok := transfer.SplitSite(name + ":"); !ok {
			errs = append(errs, fmt.Errorf("site.%s: a site's name has at least two characters and none of / \\ . ~ : and space", name))
		}
	}
	for name, job := range c.Jobs {
		for _, err := range job.check(name) {
			errs = append(errs, fmt.Errorf("job.%s: %w", name, err))
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

func (o Options) check() (errs []error) {
	if o.Proxy.hasSecret() {
		errs = append(errs, errors.New("proxy: a secret does not belong in this file; use proxy_password_env"))
	}
	if o.TLSMinVersion != nil {
		if _, err := (auth.TLS{MinVersion: *o.TLSMinVersion}).Config(); err != nil {
			errs = append(errs, errors.New("tls_min_version: must be one of 1.0, 1.1, 1.2, 1.3"))
		}
	}
	return errs
}

func (s Site) check() (errs []error) {
	errs = s.Options.check()
	if transfer.DefaultPort(s.Protocol) == 0 {
		errs = append(errs, errors.New("protocol: must be one of ftp, ftpes, ftps, sftp"))
	}
	if s.Host == "" {
		errs = append(errs, errors.New("host: missing"))
	}
	if s.Port < 0 || s.Port > 65535 {
		errs = append(errs, errors.New("port: must be from 1 to 65535"))
	}
	if n := s.MaxConnections; n != nil && *n < 0 {
		errs = append(errs, errors.New("max_connections: must be at least 0"))
	}
	for key, v := range map[string]string{"host": s.Host, "user": s.User, "path": s.Path, "virtual_host": s.VirtualHost} {
		if strings.ContainsAny(v, "\r\n\x00") {
			errs = append(errs, fmt.Errorf("%s: contains a control character", key))
		}
	}
	if _, err := parsePorts(s.ActivePorts); err != nil {
		errs = append(errs, fmt.Errorf("active_ports: %w", err))
	}
	if _, err := (auth.TLS{Pin: s.TLSPin}).Config(); err != nil {
		errs = append(errs, errors.New("tls_pin: must be sha256//BASE64 or 64 hex digits"))
	}
	if err := ftp.CheckEncoding(s.Encoding); err != nil {
		errs = append(errs, errors.New("encoding: not a code page that is known here, such as gbk, shift_jis, windows-1252"))
	}
	return errs
}

// Zone is a time zone: a name of the IANA's database or an offset from UTC.
type Zone struct{ *time.Location }

// UnmarshalText reads "Europe/Berlin", "+02:00" or "", which is not known.
func (z *Zone) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		return nil
	}
	if t, err := time.Parse("-07:00", string(text)); err == nil {
		z.Location = t.Location()
		return nil
	}
	location, err := time.LoadLocation(string(text))
	if err != nil || string(text) == "Local" {
		return errors.New(`must be like "Europe/Berlin" or "+02:00"`)
	}
	z.Location = location
	return nil
}

// parsePorts reads "50000-50100"; "" is any.
func parsePorts(s string) (ftp.PortRange, error) {
	if s == "" {
		return ftp.PortRange{}, nil
	}
	a, b, _ := strings.Cut(s, "-")
	first, err1 := strconv.ParseUint(a, 10, 16)
	last, err2 := strconv.ParseUint(b, 10, 16)
	if err1 != nil || err2 != nil || first < 1 || first > last {
		return ftp.PortRange{}, errors.New(`must be a range such as "50000-50100"`)
	}
	return ftp.PortRange{First: uint16(first), Last: uint16(last)}, nil
}

// unknownKey says what is wrong with a key that the configuration does not have.
func unknownKey(key toml.Key) string {
	name := strings.Join(key, ".")
	last := key[len(key)-1]
	if slices.Contains([]string{"password", "passphrase", "account", "secret"}, last) {
		return fmt.Sprintf("%s: a secret does not belong in this file; use %s_env, password_file, password_command or keyring", name, last)
	}
	msg := fmt.Sprintf("unknown key %s", name)
	if best := closest(last, keysAt(reflect.TypeFor[Config](), key[:len(key)-1])); best != "" {
		msg += fmt.Sprintf("; did you mean %s?", best)
	}
	return msg
}

// keysAt lists the keys that the table at path can have.
func keysAt(t reflect.Type, path toml.Key) []string {
	for _, part := range path {
		switch {
		case t.Kind() == reflect.Map:
			t = t.Elem()
		default:
			f, ok := fieldOf(t, part)
			if !ok {
				return nil
			}
			t = f.Type
		}
	}
	if t.Kind() != reflect.Struct {
		return nil
	}
	var keys []string
	for _, f := range reflect.VisibleFields(t) {
		if tag := f.Tag.Get("toml"); tag != "" {
			keys = append(keys, tag)
		}
	}
	return keys
}

func fieldOf(t reflect.Type, tag string) (reflect.StructField, bool) {
	if t.Kind() == reflect.Struct {
		for _, f := range reflect.VisibleFields(t) {
			if f.Tag.Get("toml") == tag {
				return f, true
			}
		}
	}
	return reflect.StructField{}, false
}

// closest is the candidate with the smallest edit distance, "" if none is near.
func closest(s string, candidates []string) string {
	best, distance := "", 3
	for _, c := range candidates {
		if d := editDistance(s, c); d < distance {
			best, distance = c, d
		}
	}
	return best
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
