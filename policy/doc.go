// Package policy decides what a failure means and what to do about it.
//
// It owns three things: the vocabulary in which adapters report a failure
// (Fault), the catalogue of every code and cause with its meaning and its
// remedy (Rows), and the only loop and the only sleep in xfer (Engine.Do).
//
// It refuses to know protocols in action: it opens no connection, reads no
// file, logs nothing and never looks at the clock except to wait in the engine.
// Whoever wants to know "what happens on 452?" finds the answer in ftpcodes.go
// and, if the server's words matter, in texts.go.
package policy
