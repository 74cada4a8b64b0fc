package auth

import "context"

// Prompter asks the person at the terminal. The program provides it; where
// there is nobody to ask it is nil. Questions have no colon at their end.
type Prompter interface {
	// Secret asks without showing what is typed.
	Secret(ctx context.Context, question string) (Secret, error)
	// Line asks and shows what is typed.
	Line(ctx context.Context, question string) (string, error)
	// Confirm asks a question that is answered with yes or no.
	Confirm(ctx context.Context, question string) (bool, error)
}

// Pause is called when the proof has to wait for this side: a person, a
// password command, an agent that wants a touch. The func it returns is called
// when the wait is over. A caller that limits how long the server may take
// stops its clock with it. nil does nothing.
type Pause func() (resume func())

func (p Pause) begin() (resume func()) {
	if p == nil {
		return func() {}
	}
	return p()
}
