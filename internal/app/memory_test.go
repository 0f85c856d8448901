package app

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackWhenNothingWasAskedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var given atomic.Int32
		r := newRest(func() { given.Add(1) })
		defer r.stop()
		r.began()
		r.began()
		time.Sleep(2 * restAfter)
		r.ended()
		time.Sleep(2 * restAfter)
		synctest.Wait()
		if given.Load() != 0 {
			t.Errorf("given back %d times while a request is under way", given.Load())
		}
		r.ended()
		time.Sleep(restAfter / 2)
		r.began()
		r.ended()
		time.Sleep(restAfter - time.Second)
		synctest.Wait()
		if given.Load() != 0 {
			t.Errorf("given back %d times before the time", given.Load())
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if given.Load() != 1 {
			t.Errorf("given back %d times, not once", given.Load())
		}
		time.Sleep(10 * restAfter)
		synctest.Wait()
		if given.Load() != 1 {
			t.Errorf("given back %d times without a reason", given.Load())
		}
	})
}
