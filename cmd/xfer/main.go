// Command xfer transfers files over FTP, FTPS and SFTP and understands the
// server's answer.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	os.Exit(run(signalContext(), osSystem(), os.Args[1:]))
}

// errSignal is the cause of the context's end when a signal ended it.
type errSignal struct{ os.Signal }

func (e errSignal) Error() string { return e.String() }

// signalContext ends with the first SIGINT or SIGTERM; a second one kills the
// process as if there were no handler.
func signalContext() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals)
		cancel(errSignal{s})
	}()
	return ctx
}
