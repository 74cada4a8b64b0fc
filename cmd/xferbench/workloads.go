package main

import (
	"fmt"
	"strings"
	"time"
)

// Sizes in bytes.
const (
	KiB = 1 << 10
	MiB = 1 << 20
	GiB = 1 << 30
)

// ms is the unit of round-trip times.
const ms = time.Millisecond

// workload is one row of the table: what is transferred, over which way, and
// what xfer has to reach.
type workload struct {
	// Server is a key of servers.
	Server string `json:"server"`
	// Op is put, get or sync, which is a put of what is there already.
	Op string `json:"op"`
	// Size is that of one file in bytes, Files how many there are: 0 is one
	// file, any other number a directory.
	Size  int64 `json:"size"`
	Files int   `json:"files,omitempty"`
	// RTT is the round-trip time that a proxy makes.
	RTT time.Duration `json:"rtt,omitempty"`
	// Cut is after how many bytes all connections break, 0 never.
	Cut int64 `json:"cut,omitempty"`
	// InPlace does without temporary names.
	InPlace bool `json:"in_place,omitempty"`
	// Huge rows run only when asked for, once, and without peers.
	Huge bool `json:"huge,omitempty"`
	// Peers are the clients to compare with, all if nil.
	Peers []string `json:"peers,omitempty"`
	// Wall and CPU are the most that xfer may need, as a ratio to the best peer,
	// RSS the most memory in MiB. 0 sets no target.
	Wall float64 `json:"wall_target,omitempty"`
	CPU  float64 `json:"cpu_target,omitempty"`
	RSS  float64 `json:"rss_target,omitempty"`
}

var workloads = []workload{
	{Server: "sftp", Op: "put", Size: GiB, Wall: 0.75, CPU: 1, RSS: 48},
	{Server: "sftp", Op: "get", Size: GiB, Wall: 0.80, CPU: 1, RSS: 48},
	{Server: "sftp", Op: "put", Size: 256 * MiB, RTT: 100 * ms, Wall: 0.20, CPU: 1},
	{Server: "sftp", Op: "get", Size: 256 * MiB, RTT: 100 * ms, Wall: 0.45, CPU: 1},
	{Server: "sftp", Op: "put", Size: 256 * MiB, RTT: 20 * ms, Wall: 0.35, CPU: 1},
	{Server: "sftp", Op: "get", Size: 256 * MiB, RTT: 20 * ms, Wall: 0.50, CPU: 1},
	{Server: "sftp", Op: "put", Size: 4 * KiB, Files: 1000, Wall: 0.50, CPU: 0.6},
	{Server: "sftp", Op: "get", Size: 4 * KiB, Files: 1000, Wall: 0.40, CPU: 0.6},
	{Server: "sftp", Op: "put", Size: 4 * KiB, Files: 1000, InPlace: true, Wall: 0.33, CPU: 0.4},
	{Server: "sftp", Op: "get", Size: 4 * KiB, Files: 1000, InPlace: true, Wall: 0.33, CPU: 0.4},
	{Server: "sftp", Op: "put", Size: 4 * KiB, Files: 1000, RTT: 20 * ms, Wall: 0.16},
	{Server: "sftp", Op: "get", Size: 4 * KiB, Files: 1000, RTT: 20 * ms, Wall: 0.25},
	{Server: "ftp", Op: "put", Size: GiB, Wall: 1, CPU: 0.6, RSS: 48},
	{Server: "ftp", Op: "get", Size: GiB, Wall: 1, CPU: 0.9, RSS: 48},
	{Server: "ftpes", Op: "put", Size: GiB, Wall: 0.9, CPU: 0.9, RSS: 48},
	{Server: "ftpes", Op: "get", Size: GiB, Wall: 0.9, CPU: 0.9, RSS: 48},
	{Server: "ftpes proftpd", Op: "put", Size: GiB, Wall: 0.9, CPU: 0.9, RSS: 48},
	{Server: "ftpes proftpd", Op: "get", Size: GiB, Wall: 0.9, CPU: 0.9, RSS: 48},
	{Server: "ftp", Op: "put", Size: 4 * KiB, Files: 1000, Wall: 0.5},
	{Server: "ftp", Op: "get", Size: 4 * KiB, Files: 1000, Wall: 0.5},
	{Server: "ftp", Op: "put", Size: 4 * KiB, Files: 1000, RTT: 20 * ms, Wall: 0.5},
	{Server: "ftp", Op: "get", Size: 4 * KiB, Files: 1000, RTT: 20 * ms, Wall: 0.5},
	{Server: "sftp", Op: "put", Size: 1, Wall: 1},
	{Server: "ftp", Op: "put", Size: 1, Wall: 1},
	{Server: "ftpes", Op: "put", Size: 1, Wall: 1},
	// Without a target: what each round trip of a cold start costs.
	{Server: "sftp", Op: "put", Size: 1, RTT: 100 * ms},
	{Server: "ftp", Op: "put", Size: 1, RTT: 100 * ms},
	{Server: "ftpes", Op: "put", Size: 1, RTT: 100 * ms},
	{Server: "sftp", Op: "sync", Size: 1, Files: 100_000, Peers: []string{"lftp", "rclone"}, Wall: 0.5},
	{Server: "sftp", Op: "put", Size: GiB, Cut: 100 * MiB, Peers: []string{"lftp"}, Wall: 0.8},
	{Server: "ftp", Op: "put", Size: GiB, Cut: 100 * MiB, Peers: []string{"lftp"}, Wall: 0.8},
	{Server: "sftp", Op: "put", Size: 1, Files: 1_000_000, Huge: true, RSS: 128},
	{Server: "sftp", Op: "get", Size: 1, Files: 1_000_000, Huge: true, RSS: 128},
}

// quick makes the row small enough to see whether everything works; its figures
// mean nothing.
func (w workload) quick() workload {
	w.Size = min(w.Size, 16*MiB)
	if w.Cut > 0 {
		// What the sockets hold must be less: lftp, once it has read the whole
		// file, does not recover from a cut (it reconnects, sends what it has in
		// its buffer, and waits).
		w.Size, w.Cut = 64*MiB, 24*MiB
	}
	if w.Files > 0 {
		w.Files = max(50, w.Files/100)
	}
	return w
}

// String names the row: "sftp put 1000 × 4 KiB, RTT 20 ms, in place".
func (w workload) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s ", w.Server, w.Op)
	if w.Files > 0 {
		fmt.Fprintf(&b, "%d × ", w.Files)
	}
	b.WriteString(bytes(w.Size))
	if w.RTT > 0 {
		fmt.Fprintf(&b, ", RTT %d ms", w.RTT.Milliseconds())
	}
	if w.Cut > 0 {
		fmt.Fprintf(&b, ", cut every %s", bytes(w.Cut))
	}
	if w.InPlace {
		b.WriteString(", in place")
	}
	return b.String()
}

// limit is how long one run may take. OpenSSH's sftp takes 80 s for 1000 files
// at 20 ms.
func (w workload) limit() time.Duration {
	if w.Huge {
		return time.Hour
	}
	return 10 * time.Minute
}

func bytes(n int64) string {
	switch {
	case n >= GiB && n%GiB == 0:
		return fmt.Sprintf("%d GiB", n/GiB)
	case n >= MiB:
		return fmt.Sprintf("%d MiB", n/MiB)
	case n >= KiB:
		return fmt.Sprintf("%d KiB", n/KiB)
	default:
		return fmt.Sprintf("%d B", n)
	}
}
