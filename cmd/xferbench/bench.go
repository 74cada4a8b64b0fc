package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// bench is one run of the program.
type bench struct {
	tb      *stub
	dir     string // everything lies below it
	home    string // of the clients
	self    string // this program
	xfer    string
	rounds  int
	peers   *regexp.Regexp
	jobs    []string // for trees
	out     io.Writer
	servers map[string]*running
	env     []string
}

// measure runs a workload with all clients, in turns.
func (b *bench) measure(ctx context.Context, w workload) (row, error) {
	r := row{workload: w, Name: w.String()}
	s, srv, leave, err := b.open(w)
	if err != nil {
		return r, err
	}
	defer leave()
	data, err := b.dataset(w)
	if err != nil {
		return r, err
	}
	var field []*entrant
	for _, c := range clients {
		t := task{workload: w, site: s, jobs: b.jobs, files: data.files, script: filepath.Join(b.dir, "script")}
		isPeer := c.program != ""
		switch {
		case isPeer && (w.Huge || w.Peers != nil && !slices.Contains(w.Peers, c.name)):
		case isPeer && (!have(c.program) || !b.peers.MatchString(c.name)), !c.takes(t):
		default:
			field = append(field, &entrant{client: c, task: t})
		}
	}
	rounds := b.rounds
	if w.Huge {
		rounds = 0
	}
	for round := range rounds + 1 {
		best := fastest(field)
		for i := range field {
			// Each round begins with another client, so that none always runs
			// in the wake of the same one.
			e := field[(i+round)%len(field)]
			if e.out() || round > 1 && e.hopeless(best) {
				continue
			}
			m, err := b.undisturbed(ctx, e, srv, data, round == 0 || w.Cut > 0)
			if ctx.Err() != nil {
				return r, context.Cause(ctx)
			}
			switch {
			case err != nil:
				e.failures = append(e.failures, err.Error())
			case round == 0 && rounds > 0:
				e.warmUp = m
			default:
				e.runs = append(e.runs, m)
			}
		}
	}
	for _, e := range field {
		r.Results = append(r.Results, summarise(e.name, e.runs, e.failures))
	}
	r.Ratios = compare(r.Results)
	return r, nil
}

// entrant is a client with its task.
type entrant struct {
	client
	task
	warmUp   measurement
	runs     []measurement
	failures []string
}

// out is a client that does not get there. One failure is no reason: lftp loses
// some of the files whose connections are cut.
func (e *entrant) out() bool { return len(e.failures) > 1 && len(e.runs) == 0 }

// fastest is the best warm-up so far.
func fastest(field []*entrant) (best time.Duration) {
	for _, e := range field {
		if wall := e.warmUp.Wall; wall > 0 && (best == 0 || wall < best) {
			best = wall
		}
	}
	return best
}

// hopeless is a peer that takes long and can't be the best: it runs one round.
func (e *entrant) hopeless(best time.Duration) bool {
	return e.program != "" && e.warmUp.Wall > 15*time.Second && e.warmUp.Wall > 3*best
}

// patience is how often a run that was disturbed is repeated.
const patience = 5

// undisturbed runs a client until a run was not disturbed, or gives the least
// disturbed one.
func (b *bench) undisturbed(ctx context.Context, e *entrant, srv *running, data *dataset, thorough bool) (m measurement, err error) {
	m, err = b.run(ctx, e, srv, data, thorough)
	for range patience {
		if err != nil || !m.disturbed() || e.Huge {
			break
		}
		var again measurement
		if again, err = b.run(ctx, e, srv, data, thorough); again.Stolen*m.Wall < m.Stolen*again.Wall {
			m = again
		}
	}
	return m, err
}

// run is one run of a client: everything made ready, the command, and a look at
// what it brought about; the contents too if thorough.
func (b *bench) run(ctx context.Context, e *entrant, srv *running, data *dataset, thorough bool) (measurement, error) {
	inbox, remote, err := srv.inbox()
	if err != nil {
		return measurement{}, err
	}
	outbox, down := filepath.Join(srv.Dir, "out"), filepath.Join(b.dir, "down")
	err = errors.Join(os.RemoveAll(outbox), os.RemoveAll(down), os.Mkdir(down, 0o755))
	e.local, e.remote = filepath.Join(data.dir, data.base), remote
	target := inbox
	switch e.Op {
	case "get":
		e.local, e.remote = down, path.Join(srv.Root, "out", data.base)
		target = down
		err = errors.Join(err, linkTree(data.dir, outbox))
	case "sync":
		err = errors.Join(err, os.RemoveAll(inbox), linkTree(data.dir, inbox))
	}
	if e.client.script != nil {
		err = errors.Join(err, writeFile(e.task.script, e.client.script(e.task)))
	}
	if err != nil {
		return measurement{}, err
	}
	m, err := b.command(ctx, e)
	if err != nil {
		return m, err
	}
	want := data.outline
	if thorough {
		want = data.content
	}
	got, err := fingerprint(target, thorough)
	if err == nil && got != want {
		err = fmt.Errorf("it said after %.1f s that all was well, but what arrived is %v instead of %v", m.Wall.Seconds(), got, want)
	}
	return m, err
}

// command runs a client under the supervisor.
func (b *bench) command(ctx context.Context, e *entrant) (measurement, error) {
	ctx, cancel := context.WithTimeout(ctx, e.limit())
	defer cancel()
	program := e.program
	if program == "" {
		program = b.xfer
	}
	cmd := exec.CommandContext(ctx, b.self, append([]string{superviseArg, program}, e.argv(e.task)...)...)
	cmd.Env, cmd.Dir = b.env, b.dir
	if e.client.env != nil {
		cmd.Env = append(cmd.Env, e.client.env(e.task)...)
	}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	isolate(cmd)
	cmd.WaitDelay = 10 * time.Second
	runErr := cmd.Run()
	var m measurement
	switch err := json.Unmarshal([]byte(stdout.String()), &m); {
	case ctx.Err() != nil:
		return m, fmt.Errorf("stopped after %v", e.limit())
	case runErr != nil:
		return m, fmt.Errorf("%w: %s", runErr, lastLine(stderr.String()))
	case err != nil:
		return m, err
	case m.Err != "":
		return m, fmt.Errorf("%s: %s", m.Err, lastLine(stderr.String()))
	}
	return m, nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// dataset is what is transferred: the one thing in dir.
type dataset struct {
	dir, base string
	files     []string // below base, of a tree
	// outline and content are the fingerprints of dir, the latter thorough.
	outline, content print
}

// perDir is how many files a directory of a tree holds.
const perDir = 1000

// dataset makes the files of a workload, or finds them made.
func (b *bench) dataset(w workload) (*dataset, error) {
	d := &dataset{base: fmt.Sprint("file-", w.Size)}
	if w.Files > 0 {
		d.base = fmt.Sprint("tree-", w.Files, "x", w.Size)
	}
	d.dir = filepath.Join(b.dir, "data-"+d.base)
	root := filepath.Join(d.dir, d.base)
	for i := range w.Files {
		name := fmt.Sprintf("%07d.dat", i)
		if w.Files > perDir {
			name = fmt.Sprintf("%04d/%s", i/perDir, name)
		}
		d.files = append(d.files, name)
	}
	if _, err := os.Stat(root); errors.Is(err, fs.ErrNotExist) {
		if err := d.create(root, w); err != nil {
			return nil, err
		}
	}
	var err, err2 error
	d.outline, err = fingerprint(d.dir, false)
	d.content, err2 = fingerprint(d.dir, true)
	return d, errors.Join(err, err2)
}

func (d *dataset) create(root string, w workload) error {
	content := rand.NewChaCha8([32]byte{1})
	if w.Files == 0 {
		if err := os.Mkdir(d.dir, 0o755); err != nil {
			return err
		}
		return fill(root, content, w.Size)
	}
	for i, name := range d.files {
		if i%perDir == 0 {
			if err := os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755); err != nil {
				return err
			}
		}
		if err := fill(filepath.Join(root, name), content, w.Size); err != nil {
			return err
		}
	}
	return nil
}

func fill(name string, content io.Reader, size int64) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, content, size)
	return errors.Join(err, f.Close())
}

// linkTree copies a tree as links: same content, times and memory.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := filepath.Join(to, strings.TrimPrefix(p, from))
		if d.IsDir() {
			return os.Mkdir(target, 0o755)
		}
		return os.Link(p, target)
	})
}

// print tells whether two trees are the same.
type print struct {
	files int
	bytes int64
	sum   [8]byte // the beginning of a SHA-256
}

func (p print) String() string { return fmt.Sprintf("%d files, %d bytes, %x", p.files, p.bytes, p.sum) }

// fingerprint covers all names and sizes below a directory, and the contents if
// thorough.
func fingerprint(root string, thorough bool) (p print, err error) {
	h := sha256.New()
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		p.files++
		p.bytes += info.Size()
		fmt.Fprintf(h, "%q %d\n", strings.TrimPrefix(name, root), info.Size())
		if !thorough {
			return nil
		}
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		_, err = io.Copy(h, f)
		return err
	})
	p.sum = [8]byte(h.Sum(nil))
	return p, err
}

func have(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}
