// Package update looks, at most once a day, whether the project has released a newer version, and says so. It never
// downloads or runs a program.
//
// The project's release page has a small file, latest.json, and beside it latest.json.minisig: its signature, in
// minisign's format. Whatever is not signed by the key that was built in, is older, expired or oversized, or came over
// plain http, is ignored and logged once.
package update

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"aead.dev/minisign"
	"golang.org/x/mod/semver"

	"codex-proxy/internal/atomicfile"
)

// Release is a version that is there.
type Release struct {
	Version string `json:"version"` // without a v
	Date    string `json:"date"`    // YYYY-MM-DD
	Line    string `json:"line"`    // what is new, in one line; may be empty
	Page    string `json:"page"`    // https address for people
	// Minimum is the oldest version of each system that it runs on, by GOOS; may be empty.
	Minimum map[string]string `json:"minimum,omitempty"`
}

// Config says what to look for, and where.
type Config struct {
	Address string // of latest.json, https; empty for never, as in builds that are no releases
	Key     string // the minisign public key, one line of base64
	Version string // of this program, with or without a v
	// File keeps what was found and when, over restarts: so there is at most one look a day.
	File string
	// Client fetches. Its Transport, Jar and Timeout are used; redirects are followed here, to https only.
	Client *http.Client
	// Getenv is os.Getenv, for DO_NOT_TRACK.
	Getenv func(string) string
	// Found is called, from Watch's goroutine, with each newer release when it is first known: also at the start, with
	// what an earlier run found.
	Found func(Release)
	// Warn is told why a file was ignored, once for each reason.
	Warn func(error)
}

const (
	interval = 24 * time.Hour
	// freshness is how old a release may be to be worth a notice: an old file that is played back goes no further.
	freshness = 2 * 365 * 24 * time.Hour
	maxSize   = 16 << 10 // bytes of either file
	patience  = 30 * time.Second
	// settle keeps the look out of the way of the program's start.
	settle = time.Minute
)

// memory is the file.
type memory struct {
	Looked time.Time `json:"looked"`
	Latest *Release  `json:"latest,omitempty"`
}

// Allowed reports whether Watch would ever look: there is an address and a key, and DO_NOT_TRACK does not forbid it.
// Source: consoledonottrack.com.
func (c Config) Allowed() bool {
	forbidden := c.Getenv("DO_NOT_TRACK")
	return c.Address != "" && c.Key != "" && (forbidden == "" || forbidden == "0" || strings.EqualFold(forbidden, "false"))
}

// Watch looks once a day until ctx ends, and returns then; at once when Allowed is false. Run it once a process, in a
// goroutine of its own.
func Watch(ctx context.Context, c Config) {
	if !c.Allowed() {
		return
	}
	w := watcher{Config: c, warned: map[string]bool{}}
	w.read()
	w.tell(w.memory.Latest)
	for {
		wait := max(time.Until(w.memory.Looked.Add(interval)), settle)
		timer := time.NewTimer(min(wait, interval)) // a clock that was in the future does not silence it for ever
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		w.look(ctx)
	}
}

type watcher struct {
	Config
	memory memory
	told   string // the version that Found has had
	warned map[string]bool
}

func (w *watcher) read() {
	raw, err := os.ReadFile(w.File)
	if err != nil || json.Unmarshal(raw, &w.memory) != nil {
		w.memory = memory{}
	}
}

// look fetches, and remembers that it did: also when it failed, so that nobody is asked more than once a day.
func (w *watcher) look(ctx context.Context) {
	release, err := w.fetch(ctx)
	if ctx.Err() != nil {
		return
	}
	w.memory.Looked = time.Now()
	if err != nil {
		w.warn(err)
	} else {
		w.memory.Latest = &release
	}
	raw, err := json.Marshal(w.memory)
	if err == nil {
		err = atomicfile.Write(w.File, raw)
	}
	if err != nil {
		w.warn(fmt.Errorf("what was found can't be kept: %w", err))
	}
	w.tell(w.memory.Latest)
}

func (w *watcher) warn(err error) {
	if text := err.Error(); !w.warned[text] {
		w.warned[text] = true
		w.Warn(err)
	}
}

func (w *watcher) tell(r *Release) {
	if r == nil || !newer(r.Version, w.Version) || r.Version == w.told {
		return
	}
	w.told = r.Version
	w.Found(*r)
}

// newer reports whether version a comes after b. A b that is no version is a build of somebody's own: nothing is newer.
func newer(a, b string) bool {
	a, b = "v"+strings.TrimPrefix(a, "v"), "v"+strings.TrimPrefix(b, "v")
	return semver.IsValid(a) && semver.IsValid(b) && semver.Compare(a, b) > 0
}

// fetch gets the file and its signature, and believes nothing of it before the signature is right.
func (w *watcher) fetch(ctx context.Context) (Release, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	file, err := w.get(ctx, w.Address)
	if err != nil {
		return Release{}, err
	}
	signature, err := w.get(ctx, w.Address+".minisig")
	if err != nil {
		return Release{}, err
	}
	var key minisign.PublicKey
	if err := key.UnmarshalText([]byte(w.Key)); err != nil {
		return Release{}, fmt.Errorf("the key that was built in is none: %w", err)
	}
	if !minisign.Verify(key, file, signature) {
		return Release{}, errors.New("the notice of a new version is not signed by this project: ignored")
	}
	return w.judge(file)
}

// judge reads a file whose signature is right.
func (w *watcher) judge(file []byte) (Release, error) {
	var r Release
	if err := json.Unmarshal(file, &r); err != nil {
		return Release{}, errors.New("the notice of a new version can't be read: ignored")
	}
	date, err := time.Parse(time.DateOnly, r.Date)
	page, pageErr := url.Parse(r.Page)
	switch {
	case !semver.IsValid("v"+r.Version) || err != nil:
		return Release{}, errors.New("the notice of a new version has no version or date: ignored")
	case pageErr != nil || page.Scheme != "https" || page.Host == "":
		return Release{}, errors.New("the notice of a new version has no page on https: ignored")
	case time.Since(date) > freshness:
		return Release{}, fmt.Errorf("the notice of version %s has expired: ignored", r.Version)
	case w.memory.Latest != nil && newer(w.memory.Latest.Version, r.Version):
		return Release{}, fmt.Errorf("the notice of version %s is older than that of %s: ignored", r.Version, w.memory.Latest.Version)
	}
	return r, nil
}

// get fetches one small file over https, also when it is somewhere else.
func (w *watcher) get(ctx context.Context, address string) ([]byte, error) {
	client := *w.Client
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" {
			return errors.New("it leads to plain http")
		}
		if len(via) > 5 {
			return errors.New("it leads on and on")
		}
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil || req.URL.Scheme != "https" {
		return nil, errors.New("the address of the notice is not https: not asked")
	}
	req.Header.Set("User-Agent", "codex-proxy/"+strings.TrimPrefix(w.Version, "v"))
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("whether there is a new version could not be asked: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("whether there is a new version could not be asked: the answer was %d", resp.StatusCode)
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxSize+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the notice of a new version did not arrive: %w", err)
	case len(raw) > maxSize:
		return nil, fmt.Errorf("the notice of a new version is larger than %d bytes: ignored", maxSize)
	}
	return raw, nil
}
