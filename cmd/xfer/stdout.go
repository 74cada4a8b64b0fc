package main

import (
	"errors"
	"io"
	"sync"

	"github.com/xfer-cli/xfer/policy"
)

// stdout remembers the first failure to write it, which many of those who write
// pass over: a command that has not said what it was asked to say has failed.
type stdout struct {
	w     io.Writer
	mu    sync.Mutex
	first error
}

func (s *stdout) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		err = policy.LocalFault("write", "standard output", err)
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.first == nil {
			s.first = err
		}
	}
	return n, err
}

// failure is that of the command called name: err, or that it could not write.
func (s *stdout) failure(name string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil || err != nil && !errors.Is(err, s.first) {
		return err
	}
	return policy.GiveUpOn(name, policy.FaultOf(s.first))
}
