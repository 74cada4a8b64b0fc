package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// measurement is what one run of a client took. Times are in nanoseconds in
// JSON.
type measurement struct {
	Wall time.Duration `json:"wall"`
	// CPU is user and system time of the client and all its processes.
	CPU time.Duration `json:"cpu"`
	// Machine is what all processors worked meanwhile: the client, the server
	// and the proxy. Half of it, on two processors, is the least Wall can be.
	Machine time.Duration `json:"machine"`
	// Stolen is how long a hypervisor kept the processors meanwhile.
	Stolen time.Duration `json:"stolen"`
	// RSS is the peak memory of its largest process, in bytes.
	RSS int64 `json:"rss"`
	// Err is why the run does not count.
	Err string `json:"error,omitempty"`
}

// disturbed says that a run tells more about other machines than about this one.
func (m measurement) disturbed() bool { return m.Stolen > m.Wall/10 }

// result is what a client needed for a workload: the median of each quantity
// over the runs that succeeded.
type result struct {
	Client string `json:"client"`
	measurement
	Runs     []measurement `json:"runs,omitempty"`
	Failures []string      `json:"failures,omitempty"`
}

func (r result) disturbedRuns() (n int) {
	for _, m := range r.Runs {
		if m.disturbed() {
			n++
		}
	}
	return n
}

// row is a workload with the clients' results.
type row struct {
	workload
	Name    string   `json:"name"`
	Skipped string   `json:"skipped,omitempty"` // why there is no result
	Results []result `json:"results,omitempty"`
	Ratios  ratios   `json:"ratios"`
}

// ratios is xfer against the best peer: the fastest for the time, the thriftiest
// for the processor. 0 means that there is nothing to compare.
type ratios struct {
	Wall     float64 `json:"wall,omitempty"`
	WallPeer string  `json:"wall_peer,omitempty"`
	CPU      float64 `json:"cpu,omitempty"`
	CPUPeer  string  `json:"cpu_peer,omitempty"`
	RSS      float64 `json:"rss_mib,omitempty"` // xfer's own, absolute
}

// median is the middle one, the mean of the two middle ones of an even number.
func median[T ~int64](values []T) T {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// summarise takes the medians. A client without a run that succeeded has failed,
// and so has xfer with one that did not: nothing is gained by being fast then.
func summarise(client string, runs []measurement, failures []string) result {
	r := result{Client: client, Runs: runs, Failures: failures}
	if n := len(failures); n > 0 && (client == "xfer" || len(runs) == 0) {
		r.Err = failures[n-1]
	}
	var wall, cpu, machine []time.Duration
	var rss []int64
	for _, m := range runs {
		wall, cpu, machine, rss = append(wall, m.Wall), append(cpu, m.CPU), append(machine, m.Machine), append(rss, m.RSS)
	}
	r.Wall, r.CPU, r.Machine, r.RSS = median(wall), median(cpu), median(machine), median(rss)
	return r
}

// compare finds the best peers. A client that failed does not count.
func compare(results []result) ratios {
	var x ratios
	var xfer *result
	var wall, cpu time.Duration
	for i := range results {
		r := &results[i]
		switch {
		case r.Err != "":
		case r.Client == "xfer":
			xfer = r
		default:
			if wall == 0 || r.Wall < wall {
				wall, x.WallPeer = r.Wall, r.Client
			}
			if cpu == 0 || r.CPU < cpu {
				cpu, x.CPUPeer = r.CPU, r.Client
			}
		}
	}
	if xfer == nil {
		return ratios{}
	}
	x.RSS = float64(xfer.RSS) / MiB
	if wall > 0 {
		x.Wall = float64(xfer.Wall) / float64(wall)
	}
	if cpu > 0 {
		x.CPU = float64(xfer.CPU) / float64(cpu)
	}
	return x
}

// verdict compares a figure with its target.
func verdict(value, target float64) string {
	switch {
	case target == 0:
		return ""
	case value == 0:
		return "not measured"
	case value <= target:
		return "met"
	default:
		return "MISSED"
	}
}

// rate is the throughput, in files where there are many, else in megabytes.
func (w workload) rate(wall time.Duration) string {
	switch {
	case wall <= 0:
		return ""
	case w.Files > 0:
		return fmt.Sprintf("%.0f files/s", float64(w.Files)/wall.Seconds())
	case w.Size >= MiB:
		return fmt.Sprintf("%.0f MB/s", float64(w.Size)/1e6/wall.Seconds())
	default:
		return ""
	}
}

// write prints a row as it is measured.
func (r row) write(out io.Writer) {
	fmt.Fprintf(out, "\n%s\n", r.Name)
	if r.Skipped != "" {
		fmt.Fprintf(out, "  not measured: %s\n", r.Skipped)
		return
	}
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "  client\twall\trate\tCPU\tof all\tpeak RSS\trounds")
	for _, x := range r.Results {
		if x.Err != "" {
			fmt.Fprintf(t, "  %s\tfailed: %s\n", x.Client, x.Err)
			continue
		}
		fmt.Fprintf(t, "  %s\t%.3f s\t%s\t%.3f s\t%.2f s\t%.0f MiB\t%d", x.Client, x.Wall.Seconds(), r.rate(x.Wall),
			x.CPU.Seconds(), x.Machine.Seconds(), float64(x.RSS)/MiB, len(x.Runs))
		if n := len(x.Failures); n > 0 {
			fmt.Fprintf(t, ", %d more failed: %s", n, x.Failures[n-1])
		}
		if n := x.disturbedRuns(); n > 0 {
			fmt.Fprintf(t, ", %d of them disturbed", n)
		}
		fmt.Fprintln(t)
	}
	_ = t.Flush() // so would the next line fail
}

// writeSummary prints what was reached beside what had to be.
func writeSummary(out io.Writer, rows []row) {
	fmt.Fprintln(out, "\nxfer against the best peer of the same run (the fastest; the one that needs least CPU)")
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "workload\twall\ttarget\t\tCPU\ttarget\t\tRSS MiB\ttarget\t")
	for _, r := range rows {
		if r.Skipped != "" {
			fmt.Fprintf(t, "%s\tnot measured: %s\n", r.Name, r.Skipped)
			continue
		}
		x := r.Ratios
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.Name,
			against(x.Wall, x.WallPeer), goal(x.Wall, r.Wall, "%.2f"),
			against(x.CPU, x.CPUPeer), goal(x.CPU, r.CPU, "%.2f"),
			strings.Join([]string{number(x.RSS, "%.0f"), goal(x.RSS, r.RSS, "%.0f")}, "\t"))
	}
	_ = t.Flush() // to the same place as the line above
}

func against(ratio float64, peer string) string {
	if ratio == 0 {
		return "–"
	}
	return fmt.Sprintf("%.2f × %s", ratio, peer)
}

func number(v float64, format string) string {
	if v == 0 {
		return "–"
	}
	return fmt.Sprintf(format, v)
}

// goal is two cells: the target, and whether it is met.
func goal(value, target float64, format string) string {
	if target == 0 {
		return "–\t"
	}
	return fmt.Sprintf("≤ "+format+"\t", target) + verdict(value, target)
}
