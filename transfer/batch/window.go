package batch

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/xfer-cli/xfer/policy"
	"github.com/xfer-cli/xfer/transfer"
)

// TimeOfDay is in minutes since midnight, written "06:00".
type TimeOfDay int

// UnmarshalText reads it.
func (t *TimeOfDay) UnmarshalText(text []byte) error {
	at, err := time.Parse("15:04", string(text))
	if err != nil {
		return errors.New(`must be a time of day such as "06:00"`)
	}
	*t = TimeOfDay(at.Hour()*60 + at.Minute())
	return nil
}

func (t TimeOfDay) String() string { return fmt.Sprintf("%02d:%02d", t/60, t%60) }

// on is the time on the day that is so many days after that of at, in its zone. A
// time that a change of the clocks leaves out is the one an hour later.
func (t TimeOfDay) on(at time.Time, days int) time.Time {
	return time.Date(at.Year(), at.Month(), at.Day()+days, int(t)/60, int(t)%60, 0, 0, at.Location())
}

// Last is the latest such time that is not after at.
func (t TimeOfDay) Last(at time.Time) time.Time {
	if today := t.on(at, 0); !today.After(at) {
		return today
	}
	return t.on(at, -1)
}

// Window is the part of the day in which something may happen, written
// "22:00-05:30". The zero value is the whole day.
type Window struct{ From, To TimeOfDay }

// UnmarshalText reads it; "" is the whole day.
func (w *Window) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*w = Window{}
		return nil
	}
	from, to, ok := strings.Cut(string(text), "-")
	var v Window
	err := errors.Join(v.From.UnmarshalText([]byte(from)), v.To.UnmarshalText([]byte(to)))
	if !ok || err != nil || v.From == v.To {
		return errors.New(`must be two times of day such as "22:00-05:30"`)
	}
	*w = v
	return nil
}

func (w Window) String() string {
	if w == (Window{}) {
		return ""
	}
	return w.From.String() + "-" + w.To.String()
}

// Open says whether now is in the window, and when that ends; the end is zero for
// a window that never does.
func (w Window) Open(now time.Time) (open bool, end time.Time) {
	if w == (Window{}) {
		return true, time.Time{}
	}
	// One that goes past midnight may have begun yesterday.
	for day := -1; day <= 0; day++ {
		days := day
		if w.To < w.From {
			days++
		}
		if end = w.To.on(now, days); !now.Before(w.From.on(now, day)) && now.Before(end) {
			return true, end
		}
	}
	return false, time.Time{}
}

// InTime makes dial's sessions refuse to begin what can't be over at the end:
// moving size bytes takes size/rate seconds. rate is in bytes per second, 0 when
// nothing was measured yet; then only the end itself counts.
func InTime(dial transfer.Dialer, end time.Time, rate float64) transfer.Dialer {
	return func(ctx context.Context, hints transfer.Hints) (transfer.Session, error) {
		s, err := dial(ctx, hints)
		if err != nil {
			return nil, err
		}
		return &timely{s, end, rate}, nil
	}
}

// timely is a session that knows when its time ends.
type timely struct {
	transfer.Session
	end  time.Time
	rate float64
}

// Put implements transfer.Session.
func (t *timely) Put(ctx context.Context, path string, off int64, src transfer.Source) (int64, error) {
	if err := t.check("put", path, src.Size-off); err != nil {
		return 0, err
	}
	return t.Session.Put(ctx, path, off, src)
}

// Get implements transfer.Session.
func (t *timely) Get(ctx context.Context, path string, off int64, dst transfer.Sink) (int64, error) {
	if err := t.check("get", path, dst.Size-off); err != nil {
		return 0, err
	}
	return t.Session.Get(ctx, path, off, dst)
}

// check is asked for the bytes that are left to be moved; a size that is not
// known makes them negative.
func (t *timely) check(op, path string, left int64) error {
	need := time.Duration(0)
	if t.rate > 0 && left > 0 {
		need = time.Duration(min(float64(left)/t.rate, 1e9) * float64(time.Second))
	}
	have := time.Until(t.end)
	if have > 0 && need <= have {
		return nil
	}
	return &policy.Fault{
		Protocol: policy.Local, Phase: policy.Command, Op: op, Path: path, Cause: policy.CauseNoTime,
		Text: fmt.Sprintf("%v are left; at the rate of earlier runs it takes %v", max(0, have).Round(time.Second), need.Round(time.Second)),
	}
}
