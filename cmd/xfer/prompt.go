package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/xfer-cli/xfer/auth"
	"github.com/xfer-cli/xfer/policy"
)

// prompter asks the person at the terminal, also when stdin is a pipe.
type prompter struct {
	bars *bars
	in   *os.File
}

// prompter gives the person, nil where there is none: a cron job must fail, not
// wait.
func (a *app) prompter() auth.Prompter {
	if !a.sys.errTerminal {
		return nil
	}
	if in, ok := a.sys.stdin.(*os.File); ok && a.sys.inTerminal {
		return &prompter{a.bars, in}
	}
	if tty, err := os.Open(ttyName); err == nil { // kept open until the process ends
		return &prompter{a.bars, tty}
	}
	return nil
}

var errNoAnswer = errors.New("no answer")

// Secret asks without showing what is typed.
func (p *prompter) Secret(ctx context.Context, question string) (auth.Secret, error) {
	text, err := p.ask(ctx, question+": ", func() (string, error) {
		b, err := term.ReadPassword(int(p.in.Fd()))
		_, _ = fmt.Fprintln(p.bars)
		return string(b), err
	})
	if err == nil && text == "" {
		err = errNoAnswer
	}
	return auth.NewSecret(text), err
}

// Line asks and shows what is typed.
func (p *prompter) Line(ctx context.Context, question string) (string, error) {
	return p.ask(ctx, question+" ", func() (string, error) {
		line, err := bufio.NewReader(p.in).ReadString('\n')
		return strings.TrimRight(line, "\r\n"), err
	})
}

// Confirm asks until the answer is yes or no.
func (p *prompter) Confirm(ctx context.Context, question string) (bool, error) {
	for range 3 {
		answer, err := p.Line(ctx, question+" (yes/no)")
		if err != nil {
			return false, err
		}
		switch strings.ToLower(strings.TrimSpace(answer)) {
		case "yes", "y":
			return true, nil
		case "no", "n":
			return false, nil
		}
	}
	return false, errNoAnswer
}

// ask reads in the background: a read of a terminal can't be interrupted. When
// the context ends the terminal is put back as it was.
func (p *prompter) ask(ctx context.Context, question string, read func() (string, error)) (string, error) {
	defer p.bars.hold()()
	for i, line := range strings.Split(question, "\n") {
		if i > 0 {
			_, _ = fmt.Fprintln(p.bars)
		}
		_, _ = fmt.Fprint(p.bars, policy.Sanitize(line), trailingSpace(line))
	}
	before, stateErr := term.GetState(int(p.in.Fd()))
	type answer struct {
		text string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		text, err := read()
		got <- answer{text, err}
	}()
	select {
	case a := <-got:
		return a.text, a.err
	case <-ctx.Done():
		if stateErr == nil {
			_ = term.Restore(int(p.in.Fd()), before)
		}
		_, _ = fmt.Fprintln(p.bars)
		return "", context.Cause(ctx)
	}
}

// trailingSpace keeps the space behind a question, which Sanitize trims.
func trailingSpace(s string) string {
	if strings.HasSuffix(s, " ") {
		return " "
	}
	return ""
}
