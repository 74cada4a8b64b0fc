package auth

import (
	"os"
	"os/user"
	"path/filepath"
)

// Home is the person's home directory, an absolute path: what the environment
// says, else what the system knows of the user, as cron and services may lack HOME.
// "" is none.
func Home() string {
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return home
	}
	if u, err := user.Current(); err == nil && filepath.IsAbs(u.HomeDir) {
		return u.HomeDir
	}
	return ""
}
