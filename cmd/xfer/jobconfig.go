package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/transfer/batch"
)

// JobConfig is a command line with a name, and when and how it is run.
type JobConfig struct {
	CommandLine
	Schedule batch.Schedule `toml:"schedule"`
	Window   batch.Window   `toml:"window"`
	Deadline Duration       `toml:"deadline"`
	OnBusy   OnBusy         `toml:"on_busy"`
	// AlertSkips is how many skipped runs in a row are a failure; 0 is the default.
	AlertSkips int        `toml:"alert_skips"`
	Expect     Expect     `toml:"expect"`
	OnSuccess  HookConfig `toml:"on_success"`
	OnFailure  HookConfig `toml:"on_failure"`
	OnMissing  HookConfig `toml:"on_missing"`
}

// Expect is how many files there have to be. With By, they are counted from the
// last Since on; without, each run needs them.
type Expect struct {
	MinFiles int              `toml:"min_files"`
	Since    batch.TimeOfDay  `toml:"since"`
	By       *batch.TimeOfDay `toml:"by"`
}

// files is how many, 0 for no expectation.
func (e Expect) files() int {
	if e.MinFiles == 0 && e.By != nil {
		return 1
	}
	return e.MinFiles
}

// due says whether the files should be there now, and since when they are counted
// and were due. After the next Since the next ones are waited for.
func (e Expect) due(now time.Time) (due bool, since, by time.Time) {
	by = e.By.Last(now)
	since = e.Since.Last(by.Add(-time.Nanosecond))
	return !e.Since.Last(now).After(by), since, by
}

// HookConfig is who is told: a program or a URL.
type HookConfig struct {
	Command []string `toml:"command"`
	URL     string   `toml:"url"`
	// URLEnv names the variable with the URL, where that holds a secret.
	URLEnv  string   `toml:"url_env"`
	Timeout Duration `toml:"timeout"`
}

func (h HookConfig) isSet() bool { return len(h.Command) > 0 || h.URL != "" || h.URLEnv != "" }

func (h HookConfig) check() error {
	n := 0
	for _, set := range []bool{len(h.Command) > 0, h.URL != "", h.URLEnv != ""} {
		if set {
			n++
		}
	}
	switch {
	case n > 1:
		return errors.New("takes one of command, url, url_env")
	case n == 0 && h.Timeout != 0:
		return errors.New("needs command, url or url_env")
	case h.URL != "" && !strings.HasPrefix(h.URL, "https://") && !strings.HasPrefix(h.URL, "http://"):
		return errors.New("url: must begin with https:// or http://")
	}
	return nil
}

// OnBusy is what a run does while another of the same job is under way.
type OnBusy string

// The choices.
const (
	BusySkip OnBusy = "skip"
	BusyWait OnBusy = "wait"
	BusyFail OnBusy = "fail"
)

// UnmarshalText reads one of the names.
func (b *OnBusy) UnmarshalText(text []byte) error {
	switch v := OnBusy(text); v {
	case BusySkip, BusyWait, BusyFail:
		*b = v
		return nil
	}
	return errors.New("must be skip, wait or fail")
}

// jobName is what names units of systemd, labels of metrics and files.
var jobName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

func (j JobConfig) check(name string) []error {
	errs := j.CommandLine.check()
	if !jobName.MatchString(name) {
		errs = append(errs, errors.New("a job's name has letters, digits, _ - . only"))
	}
	for _, end := range []struct{ key, value string }{{"source", j.Source}, {"destination", j.Destination}} {
		if end.value != "" && !isRemote(end.value) && !filepath.IsAbs(end.value) && !strings.HasPrefix(end.value, "~/") {
			errs = append(errs, fmt.Errorf("%s: must be absolute, or begin with ~/: nobody knows where cron starts", end.key))
		}
	}
	if j.AlertSkips < 0 || j.Expect.MinFiles < 0 {
		errs = append(errs, errors.New("alert_skips and expect.min_files must be at least 0"))
	}
	for _, h := range j.hooks() {
		if err := h.check(); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", h.key, err))
		}
	}
	return errs
}

// namedHook is a hook and its key.
type namedHook struct {
	key string
	HookConfig
}

func (j JobConfig) hooks() []namedHook {
	return []namedHook{{"on_success", j.OnSuccess}, {"on_failure", j.OnFailure}, {"on_missing", j.OnMissing}}
}
