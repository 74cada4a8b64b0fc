//go:build !linux

package main

import (
	"errors"
	"os/exec"
	"runtime"
)

// The real servers run on Linux only; none of this is called elsewhere.
var errNotLinux = errors.New("xferbench runs on Linux only")

func supervise([]string) error    { return errNotLinux }
func isolate(*exec.Cmd)           {}
func ownAs(string, string) error  { return errNotLinux }
func scatter(string, int64) error { return errNotLinux }
func kernel() string              { return runtime.GOOS }
func load() float64               { return 0 }
