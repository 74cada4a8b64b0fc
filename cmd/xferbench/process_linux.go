package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervise runs a command and all that it starts, to its end, and writes what
// it took as JSON to stdout. It is a process of its own so that every descendant
// becomes its child and is counted, also those that the command does not wait
// for (lftp leaves its ssh behind). SIGTERM ends them all.
func supervise(argv []string) error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return err
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	busyBefore, stolenBefore := ticks()
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	var done atomic.Bool
	go func() {
		<-term
		// Those of a process that has ended are its own children next.
		for !done.Load() {
			for _, pid := range children() {
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may be gone
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	var m measurement
	var status syscall.WaitStatus
	for {
		var s syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &s, 0, nil)
		if errors.Is(err, syscall.ECHILD) {
			break
		}
		if pid == cmd.Process.Pid {
			busy, stolen := ticks()
			m.Wall, m.Machine, m.Stolen, status = time.Since(began), busy-busyBefore, stolen-stolenBefore, s
			// What it left behind may finish, but not for ever.
			time.AfterFunc(5*time.Second, func() { term <- syscall.SIGTERM })
		}
	}
	done.Store(true)
	var all syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_CHILDREN, &all); err != nil {
		return err
	}
	m.CPU = time.Duration(all.Utime.Nano() + all.Stime.Nano())
	m.RSS = all.Maxrss << 10
	switch {
	case status.Signaled():
		m.Err = "ended by " + status.Signal().String()
	case status.ExitStatus() != 0:
		m.Err = fmt.Sprint("exit status ", status.ExitStatus())
	}
	return json.NewEncoder(os.Stdout).Encode(m)
}

// children gives the processes that have this one as their parent.
func children() []int {
	files, _ := filepath.Glob("/proc/self/task/*/children")
	var all []int
	for _, file := range files {
		text, _ := os.ReadFile(file) // none when the thread has just ended
		for field := range strings.FieldsSeq(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// isolate keeps the terminal's Ctrl-C away from a supervisor, and has it end its
// command when this process ends.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
}

// ownAs gives a file the owner of another.
func ownAs(name, like string) error {
	info, err := os.Stat(like)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return os.Chown(name, int(owner.Uid), int(owner.Gid))
}

// scatter makes size bytes of memory that runs find fast. A virtual machine gives
// what it does not use back to its host in blocks of 2 MiB, within seconds, and to
// touch it again takes several times as long as to copy a file into it: so much that
// nothing else would be measured. Here one page of each MiB stays in use. What lies
// between is free, and taken first (the kernel takes the smallest piece that fits).
func scatter(name string, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	block := make([]byte, MiB)
	for off := int64(0); off < size && err == nil; off += MiB {
		_, err = f.Write(block)
	}
	page := int64(os.Getpagesize())
	for off := int64(0); off < size && err == nil; off += MiB {
		err = unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off+page, MiB-page)
	}
	return err
}

// kernel names the machine.
func kernel() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return ""
	}
	return "Linux " + unix.ByteSliceToString(u.Release[:])
}

// ticks is the time that all processors together have worked since the machine
// started, and the time that they wanted to and a hypervisor kept them from it
// (proc_stat(5)). Each processor's is in steps of 10 ms.
func ticks() (busy, stolen time.Duration) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0
	}
	// cpu user nice system idle iowait irq softirq steal …
	line, _, _ := strings.Cut(string(text), "\n")
	for i, field := range strings.Fields(line) {
		n, err := strconv.Atoi(field)
		switch d := time.Duration(n) * 10 * time.Millisecond; {
		case err != nil:
		case i <= 3, i == 6, i == 7:
			busy += d
		case i == 8:
			stolen = d
		}
	}
	return busy, stolen
}

// load is how many processes want a processor, on average of the last minute.
func load() float64 {
	var i unix.Sysinfo_t
	if err := unix.Sysinfo(&i); err != nil {
		return 0
	}
	return float64(i.Loads[0]) / (1 << 16)
}
