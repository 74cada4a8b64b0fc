// Xferbench runs xfer and every other client that is installed against the same
// real servers, in turns, and prints what each took. It is not shipped.
//
//	go run ./cmd/xferbench [-quick] [-huge] [-workloads REGEXP] [-peers REGEXP] [-rounds N]
//		[-j N] [-json FILE] [-plot FILE] [-xfer BINARY]
//
// It needs Linux, root and the servers of package transfertest, and keeps all
// files in memory (/dev/shm). It owns the workloads and the arguments of each
// client. It refuses to judge a run by what the client says: it looks at what
// arrived.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/xfer-cli/xfer/transfer/transfertest"
)

// superviseArg makes this program the supervisor of a client.
const superviseArg = "supervise"

func main() {
	var err error
	if len(os.Args) > 2 && os.Args[1] == superviseArg {
		err = supervise(os.Args[2:])
	} else {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		err = run(ctx, os.Args[1:], os.Stdout)
		stop()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "xferbench:", err)
		os.Exit(1)
	}
}

// report is what -json writes.
type report struct {
	System  string  `json:"system"`
	CPUs    int     `json:"cpus"`
	Go      string  `json:"go"`
	Rounds  int     `json:"rounds"`
	Quick   bool    `json:"quick"`
	Memory  bool    `json:"files_in_memory"`
	Load    float64 `json:"load_before"`
	LoadEnd float64 `json:"load_after"`
	Rows    []row   `json:"rows"`
}

func run(ctx context.Context, args []string, out io.Writer) (err error) {
	f := flag.NewFlagSet("xferbench", flag.ContinueOnError)
	match := f.String("workloads", "", "run those whose names match the `REGEXP`")
	peers := f.String("peers", "", "compare with clients whose names match the `REGEXP`")
	jobs := f.Int("j", 0, "pass -j `N` to xfer for trees (default: what a user gets)")
	rounds := f.Int("rounds", 0, "measured `ROUNDS` after a warm-up (default 5, with -quick 3)")
	quick := f.Bool("quick", false, "small sizes, to see whether everything works")
	huge := f.Bool("huge", false, "also the trees of 1,000,000 files (10 GB of memory)")
	jsonFile := f.String("json", "", "write the results to `FILE` as JSON")
	plotFile := f.String("plot", "", "draw the results to `FILE` as SVG")
	xfer := f.String("xfer", "", "`BINARY` to measure (default: built from this module)")
	if err := f.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*match)
	against, peersErr := regexp.Compile(*peers)
	if err := errors.Join(err, peersErr); err != nil {
		return err
	}
	if *rounds == 0 {
		*rounds = 5
		if *quick {
			*rounds = 3
		}
	}
	b, err := prepare(ctx, *xfer, out)
	if err != nil {
		return err
	}
	defer b.tb.close()
	if b.inMemory() && !*quick {
		if err := scatter(filepath.Join(b.dir, "scattered"), usedMemory); err != nil {
			return err
		}
	}
	b.rounds, b.peers = *rounds, against
	if *jobs > 0 {
		b.jobs = []string{"-j", strconv.Itoa(*jobs)}
	}
	rep := report{
		System: kernel(), CPUs: runtime.NumCPU(), Go: runtime.Version(), Rounds: *rounds, Quick: *quick,
		Memory: b.inMemory(), Load: load(),
	}
	b.header(rep)
	for _, w := range workloads {
		if w.Huge && !*huge || !pattern.MatchString(w.String()) {
			continue
		}
		if *quick {
			w = w.quick()
		}
		r, err := b.measure(ctx, w)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			r.Skipped = err.Error()
		}
		r.write(out)
		rep.Rows = append(rep.Rows, r)
	}
	rep.LoadEnd = load()
	writeSummary(out, rep.Rows)
	fmt.Fprintf(out, "\nload average: %.2f before, %.2f after\n", rep.Load, rep.LoadEnd)
	if *jsonFile != "" {
		text, jsonErr := json.MarshalIndent(rep, "", "\t")
		err = errors.Join(err, jsonErr, os.WriteFile(*jsonFile, append(text, '\n'), 0o644))
	}
	if *plotFile != "" {
		err = errors.Join(err, os.WriteFile(*plotFile, []byte(plot(rep.Rows)), 0o644))
	}
	return err
}

// memory is the file system that costs nothing.
const memory = "/dev/shm"

// prepare makes the directory for everything and finds or builds xfer.
func prepare(ctx context.Context, xfer string, out io.Writer) (*bench, error) {
	parent := os.TempDir()
	if info, err := os.Stat(memory); err == nil && info.IsDir() {
		parent = memory
	}
	dir, err := os.MkdirTemp(parent, "xferbench-")
	if err != nil {
		return nil, err
	}
	b := &bench{tb: &stub{}, dir: dir, home: filepath.Join(dir, "home"), out: out, servers: map[string]*running{}}
	b.tb.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			b.tb.Fatal(err)
		}
	})
	b.env = []string{"HOME=" + b.home, "PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "TMPDIR=" + dir}
	// The servers' users must get in. The fixtures ask for the first variable,
	// and put their files where the second says.
	b.self, err = os.Executable()
	err = errors.Join(err, os.Chmod(dir, 0o755), os.Mkdir(b.home, 0o755),
		os.Setenv(transfertest.RealServersEnv, "1"), os.Setenv("TMPDIR", dir))
	if b.xfer = xfer; xfer == "" && err == nil {
		b.xfer = filepath.Join(dir, "xfer")
		build := exec.CommandContext(ctx, "go", "build", "-o", b.xfer, "github.com/xfer-cli/xfer/cmd/xfer")
		build.Stderr = os.Stderr
		err = build.Run()
	}
	if b.xfer, _ = filepath.Abs(b.xfer); err == nil {
		return b, nil
	}
	b.tb.close()
	return nil, err
}

func (b *bench) inMemory() bool { return strings.HasPrefix(b.dir, memory) }

// usedMemory is about what a run takes in bytes: the largest file, twice, and room.
const usedMemory = 3 * GiB

// header says under which conditions the figures were made.
func (b *bench) header(r report) {
	place := b.dir + ", in memory"
	if !r.Memory {
		place = b.dir + ", NOT in memory: the disk is measured, too"
	}
	fmt.Fprintf(b.out, "%s, %d CPUs, %s, load average %.2f\n", r.System, r.CPUs, r.Go, r.Load)
	fmt.Fprintf(b.out, "all files in %s; a warm-up and %d rounds in turns, medians\n", place, r.Rounds)
	fmt.Fprintf(b.out, "servers: OpenSSH sshd (%s), vsftpd, proftpd (AES-128-GCM where the client can choose)\n", cipher)
	fmt.Fprintln(b.out, "every result is checked by its size, in the warm-up by its SHA-256, outside the timing")
	fmt.Fprintln(b.out, "CPU is the client's; of all: with the server and the proxy, which share the processors")
	fmt.Fprintln(b.out, "a run is repeated, up to", patience, "times, if a hypervisor kept the processors for more than a tenth of it")
	fmt.Fprintln(b.out, "memory for what arrives is kept from being given back to a hypervisor, so that no run has to wait for it")
	fmt.Fprintln(b.out, "peak RSS is that of the largest process; the kernel counts the supervisor that starts it, so below 8 MiB nothing shows")
	fmt.Fprintln(b.out, "what each client does for a file beyond reading the server's replies:")
	seen := map[string]bool{}
	for _, c := range clients {
		if c.program != "" && !have(c.program) {
			fmt.Fprintf(b.out, "  %s: not installed\n", c.program)
		} else if !seen[c.name] {
			fmt.Fprintf(b.out, "  %s: %s\n", c.name, c.care)
		}
		seen[c.name] = true
	}
}
