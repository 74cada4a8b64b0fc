// Package auth proves who we are and who the server is.
//
// It owns secrets (and keeps them out of every log and error), the order in
// which they are looked for, SSH keys, agents and known_hosts, and the TLS
// configuration with its roots, pins and session cache. It refuses to know
// what the proof is for: no transfer, no retry, no terminal. Where a person has
// to be asked it calls a Prompter that the program provides.
package auth
