package batch

import "os/exec"

// endAll leaves it at what package os/exec does: the program ends, what it has
// started does not. That would take a job object.
func endAll(*exec.Cmd) {}
