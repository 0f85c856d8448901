package page

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"codex-proxy/internal/atomicfile"
)

const (
	codeLife    = 30 * time.Second
	sessionLife = 30 * 24 * time.Hour // after it was last used
	mostCodes   = 32
	mostSession = 16
	noteEvery   = time.Hour // how exactly the folder tells when a session was last used
)

// secret is the hash of a code, a cookie or a token: what we keep of them.
type secret [sha256.Size]byte

func hash(s string) secret { return sha256.Sum256([]byte(s)) }

// sessions are the browsers that were let in. A cookie alone opens nothing: browsers send it to every port of a host. So
// each has a token besides, which the page keeps where only its own origin reads it, and sends as a header.
//
// A folder keeps them while the program does not run: a file for each, named after the hash of the cookie, holds the
// hash of the token, and its time is when the session was last used. What can't be written there is forgotten when the
// program ends.
type sessions struct {
	now    func() time.Time
	folder string // empty for none

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
	noted time.Time // used, as the folder has it
}

// newSessions takes up those that the folder keeps.
func newSessions(now func() time.Time, folder string) *sessions {
	s := &sessions{now: now, folder: folder, codes: map[secret]code{}, open: map[secret]*session{}}
	entries, _ := os.ReadDir(folder) //nolint:errcheck // nobody was let in yet
	for _, e := range entries {
		cookie, ok := parseSecret(e.Name())
		if !ok {
			continue
		}
		raw, info, err := atomicfile.Read(s.file(cookie), 2*sha256.Size)
		if token, ok := parseSecret(string(raw)); err == nil && ok {
			s.open[cookie] = &session{token, info.ModTime(), info.ModTime()}
			if now := now(); info.ModTime().After(now) { // the clock was ahead: as far as is known, it was used now
				s.open[cookie].used = now
				s.note(cookie)
			}
		}
	}
	s.tidy(mostSession)
	return s
}

func parseSecret(text string) (out secret, ok bool) {
	if len(text) != 2*len(out) {
		return out, false
	}
	_, err := hex.Decode(out[:], []byte(text))
	return out, err == nil
}

func (s *sessions) file(cookie secret) string {
	return filepath.Join(s.folder, hex.EncodeToString(cookie[:]))
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
	s.end(hash(before))
	s.tidy(mostSession - 1)
	cookie, token = rand.Text(), rand.Text()
	o := &session{token: hash(token), used: now}
	s.open[hash(cookie)] = o
	if s.folder != "" {
		atomicfile.Write(s.file(hash(cookie)), []byte(hex.EncodeToString(o.token[:]))) //nolint:errcheck // see sessions
		s.note(hash(cookie))
	}
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
	o, now := s.open[hash(cookie)], s.now()
	if o == nil || o.token != hash(token) || now.Sub(o.used) > sessionLife {
		return false
	}
	o.used = now
	if s.folder != "" && now.Sub(o.noted) >= noteEvery {
		s.note(hash(cookie))
	}
	return true
}

// note tells the folder when a session was last used.
func (s *sessions) note(cookie secret) {
	o := s.open[cookie]
	o.noted = o.used
	os.Chtimes(s.file(cookie), o.used, o.used) //nolint:errcheck // see sessions
}

// forgetOthers ends all sessions but that of a cookie, those too that only the folder knows: another program may have
// written them. The error says that some are left there.
func (s *sessions) forgetOthers(cookie string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := hash(cookie)
	maps.DeleteFunc(s.open, func(c secret, _ *session) bool { return c != kept })
	clear(s.codes)
	if s.folder == "" {
		return nil
	}
	entries, err := os.ReadDir(s.folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		if path := filepath.Join(s.folder, e.Name()); path != s.file(kept) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	if err != nil {
		return fmt.Errorf("some browsers would be let in again after a restart. Delete the folder %s: %w", s.folder, err)
	}
	return nil
}

// tidy ends the sessions that nobody used for long, and then the oldest until no more than most are left.
func (s *sessions) tidy(most int) {
	byAge := slices.SortedFunc(maps.Keys(s.open), func(a, b secret) int {
		return cmp.Compare(s.open[a].used.UnixNano(), s.open[b].used.UnixNano())
	})
	for i, c := range byAge {
		if len(byAge)-i > most || s.now().Sub(s.open[c].used) > sessionLife {
			s.end(c)
		}
	}
}

// end forgets a session here and in the folder.
func (s *sessions) end(cookie secret) {
	if s.open[cookie] == nil {
		return
	}
	delete(s.open, cookie)
	if s.folder != "" {
		os.Remove(s.file(cookie)) //nolint:errcheck // it may not have been written
	}
}
