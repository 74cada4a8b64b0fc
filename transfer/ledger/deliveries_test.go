package ledger

import (
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestDelivered: the same content between the same names is not delivered twice;
// other content under the same names is flagged.
func TestDelivered(t *testing.T) {
	ctx, l := t.Context(), open(t)
	when := time.Date(2026, 1, 2, 3, 4, 5, 600, time.UTC)
	first := Delivery{Source: "/out/a.csv", Target: "sftp://h:22/in/a.csv", Size: 10, ModTime: when, Result: Result{SHA256: "aa"}}
	id, err := l.Intend(ctx, first)
	must(t, err)
	if m, err := l.Delivered(ctx, first); err != nil || m.Same != nil || m.Other != nil || m.Open == nil || m.Open.ID != id {
		t.Errorf("before it was settled: %+v %v", m, err)
	}
	must(t, l.Settle(ctx, id, Result{Outcome: Done}))
	if m, err := l.Delivered(ctx, first); err != nil || m.Open != nil {
		t.Errorf("settled and open: %+v %v", m, err)
	}
	failed, err := l.Intend(ctx, Delivery{Source: "/out/f", Target: "t", Size: 1, ModTime: when})
	must(t, err)
	must(t, l.Settle(ctx, failed, Result{Outcome: Failed}))

	epoch := Delivery{Source: "/out/e", Target: "t", Size: 1, ModTime: time.Unix(0, 0)}
	old, err := l.Intend(ctx, epoch)
	must(t, err)
	must(t, l.Settle(ctx, old, Result{Outcome: Done}))
	if m, err := l.Delivered(ctx, epoch); err != nil || m.Same == nil || m.Same.ID != old || m.Same.ModTime.Unix() != 0 {
		t.Errorf("a file from 1970: %+v %v", m, err)
	}

	with := func(change func(*Delivery)) Delivery {
		d := first
		change(&d)
		return d
	}
	for name, c := range map[string]struct {
		d           Delivery
		same, other bool
	}{
		"again":                     {first, true, false},
		"without hash":              {with(func(d *Delivery) { d.SHA256 = "" }), true, false},
		"touched, same hash":        {with(func(d *Delivery) { d.ModTime = when.Add(time.Hour) }), true, false},
		"same hash in capitals":     {with(func(d *Delivery) { d.SHA256 = "AA" }), true, false},
		"another hash":              {with(func(d *Delivery) { d.SHA256 = "bb" }), false, true},
		"touched, no hash":          {with(func(d *Delivery) { d.ModTime, d.SHA256 = when.Add(time.Hour), "" }), false, true},
		"time cut to seconds":       {with(func(d *Delivery) { d.ModTime, d.SHA256 = when.Truncate(time.Second), "" }), true, false},
		"another size":              {with(func(d *Delivery) { d.Size, d.SHA256 = 11, "" }), false, true},
		"size and hash unknown":     {with(func(d *Delivery) { d.Size, d.SHA256 = -1, "" }), false, true},
		"another target":            {with(func(d *Delivery) { d.Target = "sftp://g:22/in/a.csv" }), false, false},
		"another source":            {with(func(d *Delivery) { d.Source = "/out/b.csv" }), false, false},
		"one that failed last time": {Delivery{Source: "/out/f", Target: "t", Size: 1, ModTime: when}, false, false},
	} {
		m, err := l.Delivered(ctx, c.d)
		if err != nil || (m.Same != nil) != c.same || (m.Other != nil) != c.other {
			t.Errorf("%s: %+v %v", name, m, err)
		}
		if m.Same != nil && m.Same.ID != id {
			t.Errorf("%s: found delivery %d", name, m.Same.ID)
		}
	}
}

// TestDeliveryRoundTrip: what was written is read.
func TestDeliveryRoundTrip(t *testing.T) {
	ctx, l := t.Context(), open(t)
	run, err := l.StartRun(ctx, "orders")
	must(t, err)
	want := Delivery{
		Run: run, Job: "orders", Partner: "sftp://acme@h:22", Source: "sftp://h:22/a", Target: "/in/a", Size: 5,
		ModTime: time.Date(2026, 1, 2, 3, 4, 5, 678, time.Local), Stage: "intended", Note: "n",
		Result: Result{SHA256: "aa"},
	}
	want.ID, err = l.Intend(ctx, want)
	must(t, err)
	must(t, l.Stage(ctx, want.ID, "sent", "m"))
	want.Stage, want.Note = "sent", "m"
	want.Result = Result{Outcome: Failed, Attempts: 3, Codes: []int{450, 0, 550}, Rule: "ftp-550", Reply: "550 no", Bytes: 7}
	must(t, l.Settle(ctx, want.ID, want.Result))
	want.SHA256 = "aa" // Settle keeps it
	list, err := l.Deliveries(ctx, Query{})
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	got := list[0]
	if time.Since(got.Began) > time.Minute || got.Ended.Before(got.Began) {
		t.Errorf("from %v to %v", got.Began, got.Ended)
	}
	want.Began, want.Ended = got.Began, got.Ended
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if err := l.Settle(ctx, want.ID, Result{Outcome: Done}); err == nil {
		t.Error("a delivery was settled twice")
	}
	if err := l.Stage(ctx, want.ID, "x", ""); err == nil {
		t.Error("a settled delivery got a stage")
	}

	must(t, l.EndRun(ctx, run, Summary{Outcome: Failed, Files: 2, Failed: 1, Skipped: 3, Bytes: 9, Note: "n"}))
	runs, err := l.Runs(ctx, Query{Job: "orders"})
	if err != nil || len(runs) != 1 {
		t.Fatalf("%v %v", runs, err)
	}
	r := runs[0]
	if r.ID != run || r.Job != "orders" || r.Alive || r.Ended.Before(r.Began) ||
		r.Outcome != Failed || r.Files != 2 || r.Failed != 1 || r.Skipped != 3 || r.Bytes != 9 || r.Note != "n" {
		t.Errorf("run %+v", r)
	}
}

// TestQuery chooses deliveries, the latest first.
func TestQuery(t *testing.T) {
	ctx, l := t.Context(), open(t)
	for _, d := range []struct {
		job     string
		outcome Outcome
	}{{"a", Done}, {"b", Failed}, {"a", Failed}, {"", Done}} {
		id, err := l.Intend(ctx, Delivery{Job: d.job, Source: "of " + d.job})
		must(t, err)
		must(t, l.Settle(ctx, id, Result{Outcome: d.outcome}))
	}
	for name, c := range map[string]struct {
		q    Query
		want []int64
	}{
		"all":        {Query{}, []int64{4, 3, 2, 1}},
		"job":        {Query{Job: "a"}, []int64{3, 1}},
		"source":     {Query{Source: "of b"}, []int64{2}},
		"failed":     {Query{Failed: true}, []int64{3, 2}},
		"job failed": {Query{Job: "a", Failed: true}, []int64{3}},
		"limit":      {Query{Limit: 2}, []int64{4, 3}},
		"since":      {Query{Since: time.Now().Add(-time.Minute)}, []int64{4, 3, 2, 1}},
		"in future":  {Query{Since: time.Now().Add(time.Minute)}, nil},
	} {
		list, err := l.Deliveries(ctx, c.q)
		must(t, err)
		var got []int64
		for _, d := range list {
			got = append(got, d.ID)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestLeftovers: what a killed process leaves is found by the next and adopted
// once; what a living one does is left alone.
func TestLeftovers(t *testing.T) {
	ctx, l := t.Context(), open(t)
	kill, _ := waiting(t, "halfway", l.Path())
	if left, err := l.Leftovers(ctx); err != nil || len(left) != 0 {
		t.Errorf("while the process lives: %v %v", left, err)
	}
	if ok, err := l.Adopt(ctx, 1); ok || err != nil {
		t.Errorf("adopted from a living process: %v %v", ok, err)
	}
	if runs, err := l.Runs(ctx, Query{}); err != nil || len(runs) != 1 || !runs[0].Alive {
		t.Errorf("run of a living process: %+v %v", runs, err)
	}
	kill()
	left, err := l.Leftovers(ctx)
	if err != nil || len(left) != 1 || left[0].Stage != "sent" || left[0].Note != "temporary name" || left[0].Size != 3 {
		t.Fatalf("after the kill: %+v %v", left, err)
	}
	if runs, err := l.Runs(ctx, Query{}); err != nil || len(runs) != 1 || runs[0].Alive || runs[0].Outcome != Unsettled {
		t.Errorf("run of a killed process: %+v %v", runs, err)
	}

	var adopted atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		other := open(t, l.Path())
		wg.Go(func() {
			ok, err := other.Adopt(ctx, left[0].ID)
			if err != nil {
				t.Error(err)
			}
			if ok {
				adopted.Add(1)
			}
		})
	}
	wg.Wait()
	if n := adopted.Load(); n != 1 {
		t.Errorf("adopted %d times", n)
	}
	if left, err := l.Leftovers(ctx); err != nil || len(left) != 0 {
		t.Errorf("after the adoption: %v %v", left, err)
	}
}

// TestRecord: what is only recorded is in the history, also by the name of its
// run's job, and keeps nobody from delivering it.
func TestRecord(t *testing.T) {
	ctx, l := t.Context(), open(t)
	run, err := l.StartRun(ctx, "nightly")
	must(t, err)
	began := time.UnixMilli(1_700_000_000_000)
	d := Delivery{
		Run: run, Job: "put a", Source: "/out/a", Target: "sftp://h:22/a", Size: 3, ModTime: began, Began: began,
		Result: Result{Outcome: Done, Attempts: 2, Codes: []int{450, 421}, Bytes: 3, Ended: began.Add(2 * time.Second)},
	}
	must(t, l.Record(ctx, d))
	must(t, l.Record(ctx, Delivery{Job: "other", Source: "/out/b", Result: Result{Outcome: Failed}}))
	for job, want := range map[string]int{"nightly": 1, "put a": 1, "other": 1, "none": 0} {
		list, err := l.Deliveries(ctx, Query{Job: job})
		if err != nil || len(list) != want {
			t.Errorf("job %s: %+v %v", job, list, err)
		}
	}
	list, err := l.Deliveries(ctx, Query{Job: "nightly"})
	must(t, err)
	d.ID = list[0].ID
	if !reflect.DeepEqual(list[0], d) {
		t.Errorf("%+v\nwant %+v", list[0], d)
	}
	if m, err := l.Delivered(ctx, d); err != nil || m.Same != nil || m.Other != nil {
		t.Errorf("%+v %v", m, err)
	}
	if left, err := l.Leftovers(ctx); err != nil || len(left) != 0 {
		t.Errorf("%+v %v", left, err)
	}
}
