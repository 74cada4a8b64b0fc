package auth

import (
	"io"
	"net"
	"os"
	"strings"
)

// defaultAgent is the pipe of the service "OpenSSH Authentication Agent".
const defaultAgent = `\\.\pipe\openssh-ssh-agent`

// dialAgent opens a named pipe like a file: the protocol asks and answers in
// turn, which a pipe opened in this way can do. Anything else is a Unix socket.
func dialAgent(socket string) (io.ReadWriteCloser, error) {
	if strings.HasPrefix(socket, `\\.\pipe\`) {
		return os.OpenFile(socket, os.O_RDWR, 0)
	}
	return net.DialTimeout("unix", socket, agentListLimit)
}
