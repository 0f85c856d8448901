package app

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestMemoryIsGivenBackWhenNothingWasAskedForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		given := 0
		r := newRest(func() { given++ })
		defer r.stop()
		r.began()
		r.began()
		time.Sleep(2 * restAfter)
		r.ended()
		time.Sleep(2 * restAfter)
		synctest.Wait()
		if given != 0 {
			t.Errorf("given back %d times while a request is under way", given)
		}
		r.ended()
		time.Sleep(restAfter / 2)
		r.began()
		r.ended()
		time.Sleep(restAfter - time.Second)
		synctest.Wait()
		if given != 0 {
			t.Errorf("given back %d times before the time", given)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if given != 1 {
			t.Errorf("given back %d times, not once", given)
		}
		time.Sleep(10 * restAfter)
		synctest.Wait()
		if given != 1 {
			t.Errorf("given back %d times without a reason", given)
		}
	})
}
