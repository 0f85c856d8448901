package page

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"
)

const (
	codeLife    = 30 * time.Second
	sessionLife = 30 * 24 * time.Hour // after it was last used
	mostCodes   = 32
	mostSession = 16
)

// secret is the hash of a code, a cookie or a token: what we keep of them.
type secret [sha256.Size]byte

func hash(s string) secret { return sha256.Sum256([]byte(s)) }

// sessions are the browsers that were let in. A cookie alone opens nothing: browsers send it to every port of a host. So
// each has a token besides, which the page keeps where only its own origin reads it, and sends as a header.
type sessions struct {
	now func() time.Time

	mu    sync.Mutex
	codes map[secret]code
	open  map[secret]*session // by cookie
}

// code is one that has not been used yet.
type code struct {
	until time.Time
	moved bool // for an open page that goes on at another address
}

type session struct {
	token secret
	used  time.Time
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, codes: map[secret]code{}, open: map[secret]*session{}}
}

// newCode returns a code that opens one session within codeLife. One that was not made for a page that moves is good
// only in a browser that the program sent.
func (s *sessions) newCode(moved bool) string {
	text := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for c, known := range s.codes {
		if now.After(known.until) || len(s.codes) >= mostCodes {
			delete(s.codes, c)
		}
	}
	s.codes[hash(text)] = code{now.Add(codeLife), moved}
	return text
}

// redeem spends a code. ok is false for one that is unknown, used or too old, and for one that came by a page though it
// was made for a browser that the program sends; that one is not spent. before is the browser's cookie until now: its
// session ends.
func (s *sessions) redeem(text, before string, byPage bool) (cookie, token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	c, known := s.codes[hash(text)]
	if byPage && !c.moved {
		return "", "", false
	}
	delete(s.codes, hash(text))
	if !known || now.After(c.until) {
		return "", "", false
	}
	delete(s.open, hash(before))
	oldest := secret{}
	for c, o := range s.open {
		if now.Sub(o.used) > sessionLife {
			delete(s.open, c)
		} else if before := s.open[oldest]; before == nil || o.used.Before(before.used) {
			oldest = c
		}
	}
	if len(s.open) >= mostSession {
		delete(s.open, oldest)
	}
	cookie, token = rand.Text(), rand.Text()
	s.open[hash(cookie)] = &session{token: hash(token), used: now}
	return cookie, token, true
}

// known reports whether a cookie is one of ours. It is enough for the shell, which tells nothing.
func (s *sessions) known(cookie string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[hash(cookie)]
	return o != nil && s.now().Sub(o.used) <= sessionLife
}

// check reports whether cookie and token belong together.
func (s *sessions) check(cookie, token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[hash(cookie)]
	if o == nil || o.token != hash(token) || s.now().Sub(o.used) > sessionLife {
		return false
	}
	o.used = s.now()
	return true
}
