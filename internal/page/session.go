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
	codes map[secret]time.Time // until when
	open  map[secret]*session  // by cookie
}

type session struct {
	token secret
	used  time.Time
}

func newSessions(now func() time.Time) *sessions {
	return &sessions{now: now, codes: map[secret]time.Time{}, open: map[secret]*session{}}
}

// newCode returns a code that opens one session within codeLife.
func (s *sessions) newCode() string {
	code := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for c, until := range s.codes {
		if now.After(until) || len(s.codes) >= mostCodes {
			delete(s.codes, c)
		}
	}
	s.codes[hash(code)] = now.Add(codeLife)
	return code
}

// redeem spends a code. ok is false for one that is unknown, used or too old.
func (s *sessions) redeem(code string) (cookie, token string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	until, known := s.codes[hash(code)]
	delete(s.codes, hash(code))
	if !known || now.After(until) {
		return "", "", false
	}
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
