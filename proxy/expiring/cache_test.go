package expiring

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestExpiredEntriesAreGivenBackWithoutBeingAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Limits{Age: time.Hour, Count: 100, Bytes: 1 << 20}, func(s string) int { return len(s) })
		for i := range 50 {
			c.Set(fmt.Sprint(i), "value")
			time.Sleep(time.Minute)
		}
		if c.Len() != 50 {
			t.Fatalf("%d entries", c.Len())
		}
		time.Sleep(40 * time.Minute)
		if n := c.Len(); n == 0 || n > 30 {
			t.Errorf("half of them are too old, and %d are there", n)
		}
		time.Sleep(time.Hour)
		if c.Len() != 0 {
			t.Errorf("%d entries are in memory for ever", c.Len())
		}
		c.Set("again", "x")
		time.Sleep(2 * time.Hour)
		if c.Len() != 0 {
			t.Error("the second time it is not swept")
		}
	})
}

func TestAnEntryStaysForAsLongAsItIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Limits{Age: time.Hour, Count: 100, Bytes: 1 << 20}, func(s string) int { return len(s) })
		c.Set("used", "x")
		c.Set("not used", "x")
		for range 5 {
			time.Sleep(50 * time.Minute)
			if _, ok := c.Get("used"); !ok {
				t.Fatal("it is gone in the middle of its use")
			}
		}
		if c.Len() != 1 {
			t.Errorf("%d entries", c.Len())
		}
		time.Sleep(2 * time.Hour)
		if c.Len() != 0 {
			t.Error("it is kept for ever")
		}
	})
}

func TestACacheIsBounded(t *testing.T) {
	c := New(Limits{Age: time.Hour, Count: 10, Bytes: 1000}, func(s string) int { return len(s) })
	for i := range 20 {
		c.Set(fmt.Sprint("a", i), "x")
	}
	if c.Len() != 10 {
		t.Errorf("%d entries", c.Len())
	}
	c.Set("large", strings.Repeat("x", 900))
	if _, ok := c.Get("large"); !ok || c.Len() > 10 {
		t.Errorf("%d entries, the large one is there: %v", c.Len(), ok)
	}
	before := c.Len()
	c.Set("huge", strings.Repeat("x", 1001))
	if _, ok := c.Get("huge"); ok || c.Len() != before {
		t.Errorf("one that is too large drove others out: %d of %d are left", c.Len(), before)
	}
	c.Set("b1", "x")
	c.DeletePrefix("b")
	if _, ok := c.Get("b1"); ok {
		t.Error("it was not deleted")
	}
}
