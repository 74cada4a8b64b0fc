package lab

import (
	"slices"
	"strings"
	"testing"
)

func TestScriptOccurrences(t *testing.T) {
	tests := []struct {
		name string
		rule Rule
		on   []string // "VERB path", in order
		want []int    // which of them fire
	}{
		{"every", Rule{On: "STOR"}, []string{"STOR /a", "RETR /a", "STOR /b"}, []int{0, 2}},
		{"once", Rule{On: "STOR", Times: 1}, []string{"STOR /a", "STOR /a"}, []int{0}},
		{"third and fourth", Rule{On: "STOR", Nth: 3, Times: 2}, []string{"STOR /a", "STOR /a", "STOR /a", "STOR /a", "STOR /a"}, []int{2, 3}},
		{"from the second on", Rule{On: "STOR", Nth: 2}, []string{"STOR /a", "STOR /a", "STOR /a"}, []int{1, 2}},
		{"name", Rule{On: "STOR", Path: "*.csv"}, []string{"STOR /in/a.csv", "STOR /in/a.txt"}, []int{0}},
		{"whole path", Rule{On: "STOR", Path: "/in/*"}, []string{"STOR /in/a", "STOR /out/a"}, []int{0}},
		{"any command, no stage", Rule{On: "*"}, []string{"connect /", "NOOP /", "data /", "statvfs@openssh.com /"}, []int{1, 3}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s script
			s.set([]Rule{tt.rule}, false)
			var fired []int
			for i, line := range tt.on {
				verb, file, _ := strings.Cut(line, " ")
				for _, r := range s.occur(verb, file, Before) {
					if s.fire(r) {
						fired = append(fired, i)
					}
				}
				if len(s.occur(verb, file, Finally)) > 0 {
					t.Errorf("%s fired at the wrong time", line)
				}
			}
			if !slices.Equal(fired, tt.want) {
				t.Errorf("fired at %v, want %v", fired, tt.want)
			}
		})
	}
}

// The first of two rules takes over, the second has its turn when the first is
// used up.
func TestScriptOrder(t *testing.T) {
	var s script
	s.set([]Rule{{Name: "one", On: "STOR", Times: 1, Do: Ignore()}, {Name: "two", On: "STOR", Times: 1, Do: Ignore()}}, false)
	s.set([]Rule{{Name: "three", On: "STOR", Nth: 2, Do: Ignore()}}, true)
	var order []string
	for range 4 {
		s.carryOut(s.occur("STOR", "/a", Before), nil)
		for _, name := range []string{"one", "two", "three"} {
			if s.count(name) > strings.Count(strings.Join(order, " "), name) {
				order = append(order, name)
			}
		}
	}
	if got := strings.Join(order, " "); got != "one two three three" {
		t.Errorf("fired %s", got)
	}
}

func TestScriptAdvance(t *testing.T) {
	var s script
	s.set([]Rule{
		{On: "STOR", When: During, After: 100},
		{On: "data", When: During, After: 300, Times: 1},
	}, false)
	var p progress
	if due, room := s.advance("STOR", "/a", &p, 1); len(due) != 0 || room != 100 {
		t.Fatalf("at 0: due %v, room %d", due, room)
	}
	p.moved = 100
	if due, room := s.advance("STOR", "/a", &p, 101); len(due) != 1 || room != 200 {
		t.Fatalf("at 100: due %v, room %d", due, room)
	}
	if due, _ := s.advance("STOR", "/a", &p, 101); len(due) != 0 {
		t.Fatalf("fired twice in one transfer: %v", due)
	}
	p.moved = 300
	if due, _ := s.advance("STOR", "/a", &p, 301); len(due) != 1 {
		t.Fatalf("at 300: due %v", due)
	}
	s.fire(s.rules[1])
	again := progress{moved: 300}
	if due, _ := s.advance("STOR", "/a", &again, 301); len(due) != 1 || due[0].After != 100 {
		t.Fatalf("second transfer: due %v, want only the rule without Times", due)
	}
}

func TestBadPatternPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a malformed pattern went through")
		}
	}()
	new(script).set([]Rule{{On: "STOR", Path: "["}}, false)
}
