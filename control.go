package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/adrg/xdg"
)

// control is the running program's private door for the commands: HTTP on a free loopback port, opened by a token
// that only this user can read. There is one for each place where a sign-in is stored, so that a command finds the
// program that uses the sign-in which it changes.
type control struct {
	path   string
	note   controlNote
	server *http.Server
}

// controlNote is the file by which commands find the door.
type controlNote struct {
	Address string `json:"address"`
	Token   string `json:"token"`
	PID     int    `json:"pid"`
}

func stateFolder() string { return filepath.Join(xdg.StateHome, "codex-proxy") }

func controlFile(store string) string {
	sum := sha256.Sum256([]byte(store))
	return filepath.Join(stateFolder(), "control-"+hex.EncodeToString(sum[:4])+".json")
}

// openControl listens for commands until close; quit ends the program.
func openControl(a *app, quit func()) (*control, error) {
	if a.settings.Demo {
		return &control{}, nil // nothing to command there
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("no free loopback port: %w", err)
	}
	var token [32]byte
	rand.Read(token[:])
	c := &control{path: controlFile(a.manager.State().Store), note: controlNote{Address: l.Addr().String(), Token: hex.EncodeToString(token[:]), PID: os.Getpid()}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("usage") != "" && a.manager.State().Usable {
			a.client.Meter.Fetch(r.Context(), a.client, r.URL.Query().Get("usage") == "now") //nolint:errcheck // what is known is shown
		}
		writeControl(w, a.report(), nil)
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, r *http.Request) { writeControl(w, nil, a.manager.Reload(r.Context())) })
	mux.HandleFunc("POST /show", func(w http.ResponseWriter, _ *http.Request) { a.changed(true); writeControl(w, a.report(), nil) })
	mux.HandleFunc("POST /start", func(w http.ResponseWriter, _ *http.Request) { writeControl(w, nil, a.startProxy(0)) })
	mux.HandleFunc("POST /stop", func(w http.ResponseWriter, _ *http.Request) { writeControl(w, nil, a.stopProxy()) })
	mux.HandleFunc("POST /quit", func(w http.ResponseWriter, _ *http.Request) { writeControl(w, nil, nil); quit() })
	c.server = &http.Server{Handler: c.guard(mux), ReadHeaderTimeout: 5 * time.Second, ErrorLog: standardLogger(a.log)}
	raw, err := json.Marshal(c.note)
	if err == nil {
		err = writePrivate(c.path, raw)
	}
	if err != nil {
		l.Close()
		return nil, err
	}
	go c.server.Serve(l) //nolint:errcheck // ends with close
	return c, nil
}

// guard lets in who knows the token, and no web page.
func (c *control) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != c.note.Address || r.Header.Get("Origin") != "" ||
			subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer "+c.note.Token)) != 1 {
			http.Error(w, "forbidden", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func writeControl(w http.ResponseWriter, v any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the caller has gone
}

// close takes the note away, if it is still ours, and ends the door.
func (c *control) close() {
	if c.server == nil {
		return
	}
	if note, err := readNote(c.path); err == nil && note.Token == c.note.Token {
		os.Remove(c.path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
}

func readNote(path string) (controlNote, error) {
	var note controlNote
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &note)
	}
	return note, err
}

// writePrivate replaces a file that only this user may read.
func writePrivate(path string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(raw)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

var errNotRunning = errors.New("no Codex Proxy is running")

// running calls the program that uses the sign-in in store. errNotRunning when there is none.
func running(ctx context.Context, store, method, path string, into any) error {
	note, err := readNote(controlFile(store))
	if err != nil {
		return errNotRunning
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+note.Address+path, http.NoBody)
	if err != nil {
		return errNotRunning
	}
	req.Header.Set("Authorization", "Bearer "+note.Token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // not through a proxy
	resp, err := client.Do(req)
	if err != nil {
		return errNotRunning // a note that a crash left behind
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	switch {
	case resp.StatusCode == http.StatusForbidden:
		return errNotRunning // another program has the port now
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return errors.New(string(bytes.TrimSpace(raw)))
	case into == nil:
		return nil
	}
	return json.Unmarshal(raw, into)
}
