package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer/batch"
)

// hookTimeout is what a hook may take when nothing else is said.
const hookTimeout = 30 * time.Second

// tellHook sends a run's summary to a hook.
func (a *app) tellHook(ctx context.Context, id string, h HookConfig, s summary) error {
	hook := batch.Hook{Command: slices.Clone(h.Command), URL: h.URL, Timeout: time.Duration(h.Timeout), Output: a.report.stderr}
	if hook.Timeout == 0 {
		hook.Timeout = hookTimeout
	}
	if h.URLEnv != "" {
		if hook.URL = a.sys.env(h.URLEnv); hook.URL == "" {
			return configError{fmt.Errorf("the hook of job %s: the variable %s is empty", s.Job, h.URLEnv)}
		}
	}
	if len(hook.Command) > 0 {
		hook.Command[0] = a.file(hook.Command[0])
		hook.Env = withoutSecrets(os.Environ())
	} else {
		client, err := a.webClient()
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		hook.Client = client
	}
	engine, err := a.engine()
	if err != nil {
		return err
	}
	message, err := json.Marshal(s)
	if err != nil {
		return policy.GiveUpOn("hook", policy.LocalFault("encode", "", err))
	}
	return hook.Tell(ctx, engine, id, append(message, '\n'))
}

// webClient trusts whom the servers are judged by, too, and goes through the
// proxy of the environment.
func (a *app) webClient() (*http.Client, error) {
	cfg, err := a.config()
	if err != nil {
		return nil, err
	}
	opt := builtin().over(cfg.Defaults, a.flags.options)
	conf, err := auth.TLS{CAFile: a.file(*opt.CAFile), MinVersion: *opt.TLSMinVersion}.Config()
	if err != nil {
		return nil, configError{err}
	}
	return &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: conf, ForceAttemptHTTP2: true,
	}}, nil
}

// withoutSecrets leaves out what is for xfer alone.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(env, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasPrefix(name, "XFER_") && (strings.Contains(name, "PASS") || name == "XFER_ACCOUNT")
	})
}
