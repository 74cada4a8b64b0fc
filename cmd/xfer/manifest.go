package main

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/spf13/cobra"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
	"github.com/xfer-cli/xfer/transfer/batch"
)

func (a *app) batchCommand() *cobra.Command { return &cobra.Command{Use: "batch", Hidden: true} }

// sharedLinks are the connections of many commands, one pool for each server,
// login and way to use it.
type sharedLinks struct {
	limit int

	mu    sync.Mutex
	pools map[string]*batch.Links
}

func (s *sharedLinks) pool(a *app, p place, e *policy.Engine) *batch.Links {
	opt, _ := json.Marshal(p.opt) // it only has to tell options apart
	key := fmt.Sprintf("%s %s %v", p.login(), opt, e.Limits)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pools == nil {
		s.pools = map[string]*batch.Links{}
	}
	links := s.pools[key]
	if links == nil {
		dial := a.dialer(p)
		links = batch.NewLinks(p.loc, func() *transfer.Link { return a.newLink(p, dial) }, e, s.limit)
		s.pools[key] = links
	}
	return links
}

func (s *sharedLinks) close(ctx context.Context) (errs []error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pools {
		errs = append(errs, p.Close(ctx))
	}
	return errs
}
