//go:build linux

package main

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// What a slow link is like.
const (
	linkRate  = 10_000_000 / 8 // bytes a second, each way
	linkDelay = 20 * time.Millisecond
)

// slowLink listens, and passes each connection on to an address as a slow link would. It ends with the bench.
func slowLink(to string) (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			go crawl(far, near)
			go crawl(near, far)
		}
	}()
	return l.Addr().String(), nil
}

// crawl copies at the link's rate, each piece after its delay.
func crawl(to, from net.Conn) {
	defer to.Close()
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 4096)
	go func() {
		defer close(pieces)
		free := time.Now() // when the link can take more
		for {
			buf := make([]byte, 1400)
			n, err := from.Read(buf)
			if n > 0 {
				if now := time.Now(); free.Before(now) {
					free = now
				}
				free = free.Add(time.Duration(n) * time.Second / linkRate)
				time.Sleep(time.Until(free))
				pieces <- piece{buf[:n], free.Add(linkDelay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		time.Sleep(time.Until(p.due))
		if _, err := to.Write(p.data); err != nil {
			io.Copy(io.Discard, from) //nolint:errcheck // until it ends
			return
		}
	}
}

// sourceCode is a megabyte of it: Go's own net/http.
func sourceCode() (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", err
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(root)), "src/net/http/*.go"))
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return "", err
		}
		text.Write(raw)
		if text.Len() >= 1<<20 {
			break
		}
	}
	return strings.ReplaceAll(text.String()[:min(text.Len(), 1<<20)], "[[", "[ ["), nil
}
