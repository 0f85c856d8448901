package app

import (
	"slices"
	"sync"
)

// origins are the web pages that may use the plan beside the proxy's own and the known apps': those of the settings,
// which can be changed while the program runs, and those about which nobody has decided yet.
type origins struct {
	mu      sync.Mutex
	allow   []string
	deny    []string
	waiting []string
}

// waitingMost is how many undecided origins are kept; what asks beyond that is refused without a question.
const waitingMost = 8

func (o *origins) allowed() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.allow)
}

// asked notes that a page was refused, and reports whether that is news for the user.
func (o *origins) asked(origin string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if slices.Contains(o.deny, origin) || slices.Contains(o.allow, origin) || slices.Contains(o.waiting, origin) || len(o.waiting) >= waitingMost {
		return false
	}
	o.waiting = append(o.waiting, origin)
	return true
}

// first is the origin that has waited for the longest; empty when none does.
func (o *origins) first() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		return ""
	}
	return o.waiting[0]
}

// decide takes an origin off the undecided ones and returns the lists as they are to be kept.
func (o *origins) decide(origin string, allow bool) (allowed, denied []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	without := func(list []string) []string {
		return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == origin })
	}
	o.waiting, o.allow, o.deny = without(o.waiting), without(o.allow), without(o.deny)
	if allow {
		o.allow = append(o.allow, origin)
	} else {
		o.deny = append(o.deny, origin)
	}
	return slices.Clone(o.allow), slices.Clone(o.deny)
}

// replace sets which origins are allowed, and returns the lists as they are to be kept: nobody is asked about those.
func (o *origins) replace(allow []string) (allowed, denied []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	decided := func(origin string) bool { return slices.Contains(allow, origin) }
	o.allow, o.waiting, o.deny = slices.Clone(allow), slices.DeleteFunc(o.waiting, decided), slices.DeleteFunc(slices.Clone(o.deny), decided)
	return slices.Clone(o.allow), slices.Clone(o.deny)
}

// each lists the origins: what waits for an answer first.
func (o *origins) each(f func(origin, state string)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, origin := range o.waiting {
		f(origin, "asks")
	}
	for _, origin := range o.allow {
		f(origin, "allowed")
	}
	for _, origin := range o.deny {
		f(origin, "denied")
	}
}

// forget has an origin asked about again.
func (o *origins) forget(origin string) (allowed, denied []string) {
	o.decide(origin, false)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.deny = slices.DeleteFunc(o.deny, func(s string) bool { return s == origin })
	return slices.Clone(o.allow), slices.Clone(o.deny)
}

// pageAsked is called for each request of a page of this machine that was refused.
func (a *App) pageAsked(origin string) {
	if a.origins.asked(origin) {
		a.changed(false)
	}
}

// AllowOrigin lets the pages of an origin use the plan from now on, or keeps them out without asking again. The answer
// is kept.
func (a *App) AllowOrigin(origin string, allow bool) error {
	allowed, denied := a.origins.decide(origin, allow)
	return a.keepOrigins(allowed, denied)
}

// ForgetOrigin has the user asked again the next time.
func (a *App) ForgetOrigin(origin string) error {
	allowed, denied := a.origins.forget(origin)
	return a.keepOrigins(allowed, denied)
}

func (a *App) keepOrigins(allowed, denied []string) error {
	a.changed(false)
	return a.change(func(s Saved) {
		for name, list := range map[string][]string{"allow-origin": allowed, "denied-origins": denied} {
			if delete(s, name); len(list) > 0 {
				s[name] = list
			}
		}
	})
}
