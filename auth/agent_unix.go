//go:build unix

package auth

import (
	"io"
	"net"
)

const defaultAgent = ""

func dialAgent(socket string) (io.ReadWriteCloser, error) {
	return net.DialTimeout("unix", socket, agentListLimit)
}
