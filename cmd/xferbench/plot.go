package main

import (
	"fmt"
	"html"
	"strings"
)

// Sizes of the drawing, in pixels. A bar ends at edge however long it took.
const (
	barHeight = 14
	labels    = 110
	unit      = 160 // the best peer's time
	edge      = 4.0 // in units
	width     = labels + unit*edge + 150
)

// plot draws, for each workload, the time of each client relative to the best
// peer's, which is 1, and xfer's target as a line.
func plot(rows []row) string {
	var body strings.Builder
	y := 30
	for _, r := range rows {
		best := bestPeer(r)
		if best == 0 {
			continue
		}
		fmt.Fprintf(&body, `<text x="4" y="%d" font-weight="bold">%s</text>`+"\n", y, html.EscapeString(r.Name))
		y += 6
		top := y
		for _, x := range r.Results {
			if x.Err != "" {
				continue
			}
			ratio := x.Wall.Seconds() / best
			colour := "#a0a8b0"
			if x.Client == "xfer" {
				colour = "#2a7ab8"
			}
			length := unit * min(ratio, edge)
			fmt.Fprintf(&body, `<text x="%d" y="%d" text-anchor="end">%s</text>`, labels-6, y+barHeight-3, html.EscapeString(x.Client))
			fmt.Fprintf(&body, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`, labels, y+1, length, barHeight-2, colour)
			fmt.Fprintf(&body, `<text x="%.1f" y="%d">%.2f (%.3f s)</text>`+"\n", labels+length+4, y+barHeight-3, ratio, x.Wall.Seconds())
			y += barHeight
		}
		if r.Wall > 0 {
			x := labels + unit*r.Wall
			fmt.Fprintf(&body, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="#c03020" stroke-dasharray="3 2"/>`+"\n", x, top, x, y)
		}
		y += 24
	}
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" font-family="sans-serif" font-size="11">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n"+
		`<text x="4" y="14">wall time, best peer = 1; dashed: the target</text>`+"\n%s</svg>\n", width, y, body.String())
}

// bestPeer is the time of the fastest peer in seconds, 0 without any.
func bestPeer(r row) (best float64) {
	for _, x := range r.Results {
		if s := x.Wall.Seconds(); x.Client != "xfer" && x.Err == "" && (best == 0 || s < best) {
			best = s
		}
	}
	return best
}
