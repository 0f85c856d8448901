// Command standin runs the stand-in for OpenAI's hosts alone, for tests that are scripts. It prints its address, and
// then two sign-ins in the form of the Codex CLI, a line each; with -ended their access tokens have ended. GET /counts
// tells what happened, and GET /conversation?mark=TEXT how the prompts of one conversation followed on each other. With
// -store SERVICE ACCOUNT it puts standard input into the keyring instead.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/zalando/go-keyring"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
)

func main() {
	if len(os.Args) == 4 && os.Args[1] == "-store" {
		value, err := io.ReadAll(os.Stdin)
		if err == nil {
			err = keyring.Set(os.Args[2], os.Args[3], string(bytes.TrimSpace(value)))
		}
		check(err)
		return
	}
	life := 200 * time.Hour
	if len(os.Args) == 2 && os.Args[1] == "-ended" {
		life = -time.Hour
	}
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(err)
	fmt.Println("http://" + l.Addr().String())
	for range 3 {
		var line bytes.Buffer
		check(json.Compact(&line, b.SignIn(life).AuthJSON()))
		fmt.Println(line.String())
	}
	mux := http.NewServeMux()
	mux.Handle("/", b)
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(b.Counts()) }) //nolint:errcheck // gone
	mux.HandleFunc("GET /conversation", func(w http.ResponseWriter, r *http.Request) {
		json.NewEncoder(w).Encode(b.Conversation(r.URL.Query().Get("mark"))) //nolint:errcheck // gone
	})
	check(http.Serve(l, mux)) //nolint:gosec // ends with the test
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "standin:", err)
		os.Exit(1)
	}
}
