//go:build unix

package main

// ttyName is the terminal of the process, whatever its stdin is.
const ttyName = "/dev/tty"
