// Command xfer transfers files over FTP, FTPS and SFTP and understands the
// server's answer.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
)

// spare is how much garbage, in bytes, may lie about beyond what the garbage
// collector allows, which is 4 MiB for a program as small as this one: with many
// small files it would run all the time.
const spare = 8 << 20

func main() {
	// The ballast is never touched, so only the collector counts it. It is made when
	// that has run once: what moves a single file never needs it.
	var ballast []byte
	runtime.AddCleanup(new(*byte), func(int) { ballast = make([]byte, spare) }, 0)
	status := run(signalContext(), osSystem(), os.Args[1:])
	runtime.KeepAlive(&ballast)
	os.Exit(status)
}

// errSignal is the cause of the context's end when a signal ended it.
type errSignal struct{ os.Signal }

func (e errSignal) Error() string { return e.String() }

// Unwrap makes it what it is for whoever knows no signals.
func (e errSignal) Unwrap() error { return context.Canceled }

// signalContext ends with the first SIGINT, SIGTERM or SIGHUP; a second SIGINT or
// SIGTERM kills the process as if there were no handler. Of SIGHUP two come when a
// terminal closes, from the shell and from the system; under nohup none counts.
func signalContext() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		s := <-signals
		signal.Reset(os.Interrupt, syscall.SIGTERM)
		cancel(errSignal{s})
	}()
	return ctx
}
