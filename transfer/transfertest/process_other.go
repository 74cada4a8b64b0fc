//go:build !linux

package transfertest

import (
	"os/exec"
	"syscall"
	"testing"
)

// Real servers run on Linux only; newServer sees to it that none of this is
// called elsewhere.
const (
	killSignal   = syscall.Signal(0)
	pauseSignal  = syscall.Signal(0)
	resumeSignal = syscall.Signal(0)
)

func isolate(*exec.Cmd)                     {}
func as(*exec.Cmd, owner)                   {}
func signalTree(int, syscall.Signal)        {}
func listening(int) bool                    { return false }
func limit(testing.TB, int, uint64, uint64) {}
func processID(int) string                  { return "" }
func isMine(string) bool                    { return false }
