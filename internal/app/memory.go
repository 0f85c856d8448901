package app

import (
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// restAfter is how long nothing must have been asked before memory is given back.
const restAfter = 20 * time.Second

// rest gives memory back to the system after a burst: Go keeps it for minutes otherwise, and this program idles most of
// the time. Safe for concurrent use.
type rest struct {
	under atomic.Int64 // requests under way
	timer *time.Timer
}

// newRest returns one that calls give when nothing was under way for restAfter.
func newRest(give func()) *rest {
	r := &rest{}
	r.timer = time.AfterFunc(restAfter, func() {
		if r.under.Load() == 0 {
			give()
		}
	})
	return r
}

func (r *rest) began() { r.under.Add(1) }

func (r *rest) ended() {
	if r.under.Add(-1) == 0 {
		r.timer.Reset(restAfter)
	}
}

func (r *rest) stop() { r.timer.Stop() }

// floor is memory that nobody touches, so that the system never gives it: it counts as in use, and a heap that is almost
// empty may grow by half of it before it is collected. Without it a collection came every ten requests, for a quarter of
// their CPU.
//
//lint:ignore U1000 it is there to be there
var floor []byte

// collectOften has garbage collected at half the heap's growth that is usual: what is kept is small, so that it costs
// little. GOGC wins.
func collectOften() {
	floor = make([]byte, 4<<20)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(50)
	}
}
