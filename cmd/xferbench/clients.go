package main

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// task is what a client is asked to do.
type task struct {
	workload
	*site
	// local is the source of a put and the directory for a get, remote the
	// directory for a put and the source of a get. The target keeps the name.
	local, remote string
	// files are the paths below a source that is a directory.
	files []string
	// script is a file with what the client's script gives.
	script string
	// jobs is what makes xfer transfer the files of a tree in parallel.
	jobs []string
}

func (t task) tree() bool { return t.Files > 0 }

// base is the name of what is transferred.
func (t task) base() string {
	if t.Op == "get" {
		return path.Base(t.remote)
	}
	return filepath.Base(t.local)
}

// streams is how many files at a time are best for peers that can do several:
// measured, nearby more of them slow lftp and rclone down.
func (t task) streams(nearby, farAway int) int {
	if t.RTT > 0 {
		return farAway
	}
	return nearby
}

// client turns a task into a command.
type client struct {
	name    string
	program string // "" is xfer, which is built
	// care is what it does for the safety of a file, beyond reading the
	// server's replies.
	care string
	// takes says whether it can do the task.
	takes func(task) bool
	// argv, env and script are its arguments, environment and input file; the
	// latter two may be nil. No password is among the arguments.
	argv, env func(task) []string
	script    func(task) string
}

var clients = []client{
	{
		name: "xfer", care: "temporary name, size compared, fsync (SFTP puts, all gets), rename, time set",
		takes: func(task) bool { return true },
		argv:  xferArgv,
		env:   func(t task) []string { return []string{"XFER_PASSWORD=" + t.password} },
	},
	{
		name: "sftp", program: "sftp", care: "none",
		takes:  sshOnly,
		argv:   func(t task) []string { return []string{"-q", "-F", t.sshConfig, "-b", t.script, t.host} },
		script: func(t task) string { return fmt.Sprintln(t.Op, dashR(t), t.from(), t.into()) },
	},
	{
		name: "scp", program: "scp", care: "none",
		takes: sshOnly,
		argv:  func(t task) []string { return scpArgv(t) },
	},
	{
		name: "scp -O", program: "scp", care: "none",
		takes: sshOnly,
		argv:  func(t task) []string { return append([]string{"-O"}, scpArgv(t)...) },
	},
	{
		name: "lftp", program: "lftp", care: "none; reconnects after 1 s (its default is 30 s)",
		takes:  func(task) bool { return true },
		argv:   func(t task) []string { return []string{"--norc", "-f", t.script} },
		script: func(t task) string { return lftpSetup(t) + lftpCommand(t) },
	},
	{
		name: "lftp pget", program: "lftp", care: "none; five segments",
		takes:  func(t task) bool { return t.Op == "get" && !t.tree() },
		argv:   func(t task) []string { return []string{"--norc", "-f", t.script} },
		script: func(t task) string { return lftpSetup(t) + fmt.Sprintf("pget -n 5 -O %s %s\n", t.local, t.remote) },
	},
	{
		name: "curl", program: "curl", care: "none; with libssh2 before 1.11 aes128-ctr, for want of AES-GCM",
		takes:  func(t task) bool { return t.Op != "sync" && t.Files <= 1000 },
		argv:   func(t task) []string { return []string{"-q", "-K", t.script} },
		script: curlScript,
	},
	ncftp("put"),
	ncftp("get"),
	{
		name: "rclone", program: "rclone", care: "size compared, time set (SFTP)",
		takes: func(task) bool { return true },
		argv:  rcloneArgv,
		env:   rcloneEnv,
	},
}

// ncftp has a program for each direction, with the same arguments.
func ncftp(op string) client {
	return client{
		name: "ncftp", program: "ncftp" + op, care: "time set",
		takes: func(t task) bool { return t.scheme == "ftp" && t.Op == op },
		argv: func(t task) []string {
			argv := []string{"-f", t.script, "-P", fmt.Sprint(t.port), "-V"}
			if t.tree() {
				argv = append(argv, "-R")
			}
			return append(argv, t.into(), t.from())
		},
		script: func(t task) string {
			return fmt.Sprintf("host %s\nuser %s\npass %s\n", t.host, t.user, t.password)
		},
	}
}

func sshOnly(t task) bool { return t.sftp() && t.Op != "sync" }

// from and into are the arguments of clients that name the source and the
// directory for it.
func (t task) from() string {
	if t.Op == "get" {
		return t.remote
	}
	return t.local
}

func (t task) into() string {
	if t.Op == "get" {
		return t.local
	}
	return t.remote
}

func dashR(t task) string {
	if t.tree() {
		return "-r"
	}
	return ""
}

func xferArgv(t task) []string {
	argv := []string{t.Op, "-q"}
	if t.sftp() {
		argv = append(argv, "--known-hosts", t.knownHosts, "--key", t.keyFile)
	} else if t.caFile != "" {
		argv = append(argv, "--ca-file", t.caFile)
	}
	if t.InPlace {
		argv = append(argv, "--in-place")
	}
	switch {
	case t.Op == "sync":
		return append(argv, t.local, t.url(path.Join(t.remote, t.base())))
	case t.tree():
		argv = append(append(argv, "-r"), t.jobs...)
		if t.jobs == nil && t.RTT > 0 && !t.sftp() {
			argv = append(argv, "-j", fmt.Sprint(t.streams(0, 32))) // as many connections as the peers are given
		}
	}
	if t.Op == "get" {
		return append(argv, t.url(t.remote), t.local+"/")
	}
	return append(argv, t.local, t.url(t.remote+"/"))
}

func scpArgv(t task) []string {
	argv := []string{"-q", "-F", t.sshConfig}
	if t.tree() {
		argv = append(argv, "-r")
	}
	if t.Op == "get" {
		return append(argv, t.host+":"+t.remote, t.local)
	}
	return append(argv, t.local, t.host+":"+t.remote)
}

// lftpSetup logs in. The 64 requests under way are four times the default: as
// many as OpenSSH's sftp has, and the window of a channel.
func lftpSetup(t task) string {
	setup := []string{
		"set cmd:fail-exit yes", "set net:max-retries 30", "set net:timeout 30",
		"set net:reconnect-interval-base 1", "set net:reconnect-interval-multiplier 1",
	}
	switch t.scheme {
	case "sftp":
		setup = append(setup, fmt.Sprintf("set sftp:connect-program \"ssh -a -x -F %s\"", t.sshConfig),
			"set sftp:max-packets-in-flight 64")
	case "ftp":
		setup = append(setup, "set ftp:ssl-allow no")
	default:
		setup = append(setup, "set ftp:ssl-force yes", "set ftp:ssl-protect-data yes", "set ssl:ca-file "+t.caFile,
			"set ssl:priority NORMAL:-CIPHER-ALL:+AES-128-GCM")
	}
	scheme := strings.Replace(t.scheme, "ftpes", "ftp", 1)
	open := fmt.Sprintf("open -u %s,%s -p %d %s://%s\n", t.user, t.password, t.port, scheme, t.host)
	return strings.Join(setup, "\n") + "\n" + open
}

func lftpCommand(t task) string {
	target := path.Join(t.into(), t.base())
	switch {
	case t.Op == "sync":
		return fmt.Sprintf("mirror -R %s %s\n", t.local, target)
	case t.tree() && t.Op == "get":
		return fmt.Sprintf("mirror -P%d %s %s\n", t.streams(1, 8), t.remote, target)
	case t.tree():
		return fmt.Sprintf("mirror -R -P%d %s %s\n", t.streams(1, 8), t.local, target)
	case t.Op == "get":
		return fmt.Sprintf("get -O %s %s\n", t.local, t.remote)
	case t.Cut > 0:
		return fmt.Sprintf("put -c -O %s %s\n", t.remote, t.local)
	default:
		return fmt.Sprintf("put -O %s %s\n", t.remote, t.local)
	}
}

// curlScript is a configuration file: curl has no trees, but takes any number of
// pairs.
func curlScript(t task) string {
	lines := []string{
		"silent", "show-error", "fail-early", "create-dirs", "ftp-create-dirs", "parallel",
		fmt.Sprintf("parallel-max = %d", t.streams(4, 32)),
	}
	user := t.user + ":" + t.password
	switch t.scheme {
	case "sftp":
		lines = append(lines, fmt.Sprintf("key = %q", t.keyFile), fmt.Sprintf("pubkey = %q", t.keyFile+".pub"))
		user = t.user + ":"
	case "ftpes":
		lines = append(lines, "ssl-reqd", fmt.Sprintf("cacert = %q", t.caFile),
			`ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256"`, `tls13-ciphers = "TLS_AES_128_GCM_SHA256"`)
	}
	files := []string{""}
	if t.tree() {
		files = t.files
	}
	scheme := strings.Replace(t.scheme, "ftpes", "ftp", 1)
	for _, f := range files {
		remote, local := path.Join(t.remote, t.base(), f), filepath.Join(t.local, f)
		option := "upload-file"
		if t.Op == "get" {
			remote, local, option = path.Join(t.remote, f), filepath.Join(t.local, t.base(), f), "output"
		}
		lines = append(lines, fmt.Sprintf("%s = %q", option, local),
			fmt.Sprintf(`url = "%s://%s:%d%s"`, scheme, t.host, t.port, remote))
	}
	return strings.Join(append(lines, fmt.Sprintf("user = %q", user), ""), "\n")
}

func rcloneArgv(t task) []string {
	argv := []string{
		"--config", "/dev/null", "-q", "--retries", "1",
		"--transfers", fmt.Sprint(t.streams(4, 32)), "--checkers", fmt.Sprint(t.streams(8, 32)),
	}
	verb, from, into := "copy", t.from(), t.into()
	if t.Op == "get" {
		from = "bench:" + from
	} else {
		into = "bench:" + into
	}
	if t.Op == "sync" {
		verb = "sync"
	}
	if t.tree() {
		into = path.Join(into, t.base())
	}
	return append(argv, verb, from, into)
}

func rcloneEnv(t task) []string {
	remote := []string{"HOST=" + t.host, fmt.Sprint("PORT=", t.port), "USER=" + t.user}
	if t.sftp() {
		// Its own order of ciphers begins with AES-128-GCM. 255 KiB is what
		// OpenSSH takes.
		remote = append(remote, "TYPE=sftp", "KEY_FILE="+t.keyFile, "KNOWN_HOSTS_FILE="+t.knownHosts,
			"CHUNK_SIZE=255k", "DISABLE_HASHCHECK=true")
	} else {
		remote = append(remote, "TYPE=ftp", "PASS="+t.obscured, fmt.Sprint("EXPLICIT_TLS=", t.scheme == "ftpes"))
	}
	for i := range remote {
		remote[i] = "RCLONE_CONFIG_BENCH_" + remote[i]
	}
	return append(remote, "SSL_CERT_FILE="+t.caFile)
}
