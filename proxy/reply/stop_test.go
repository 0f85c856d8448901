package reply

import (
	"testing"
)

func TestStopper(t *testing.T) {
	for _, c := range []struct {
		stops, pieces []string
		out           string
		hit           bool
	}{
		{[]string{"STOP"}, []string{"a S", "TO", "P b"}, "a ", true},
		{[]string{"STOP"}, []string{"a S", "TA", "b"}, "a STAb", false},
		{[]string{"\n\n", "END"}, []string{"x\n", "\ny"}, "x", true},
		{[]string{"aab"}, []string{"a", "a", "a", "b", "c"}, "a", true},
		{[]string{"世界"}, []string{"Hello 世", "界!"}, "Hello ", true},
		{[]string{"x"}, []string{"no", " hit"}, "no hit", false},
		{[]string{"bc", "b"}, []string{"a", "bc"}, "a", true},
	} {
		s := NewStopper(c.stops)
		out, hit := "", false
		for _, p := range c.pieces {
			var o string
			if o, hit = s.Push(p); true {
				out += o
			}
			if hit {
				break
			}
		}
		if !hit {
			out += s.Rest()
		}
		if out != c.out || hit != c.hit {
			t.Errorf("%q over %q: %q %v", c.stops, c.pieces, out, hit)
		}
	}
}
