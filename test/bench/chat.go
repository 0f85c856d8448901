//go:build linux

package main

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// chatPath is where the backend's process speaks chat completions as well, for programs that can't be pointed at the
// Responses API.
const chatPath = "/chat/completions"

var fastScript = regexp.MustCompile(`\[\[fast (\d+) (\d+) (\d+)\]\]`)

const maxChatBody = 1 << 20 // bytes

// chatCompletions streams what fast asks for: so many pieces of so many bytes, each flushed by itself, as the stand-in of
// the Codex backend does. Without that order it answers 400.
func chatCompletions(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxChatBody))
	order := fastScript.FindSubmatch(body)
	if err != nil || order == nil {
		http.Error(w, "this backend streams [[fast PIECES BYTES MILLISECONDS]]", http.StatusBadRequest)
		return
	}
	var n [3]int
	for i := range n {
		n[i], _ = strconv.Atoi(string(order[i+1]))
	}
	pieces, size, pause := n[0], n[1], time.Duration(n[2])*time.Millisecond
	chunk := func(delta, finish string) []byte {
		return fmt.Appendf(nil, `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"gpt-5.5","choices":[{"index":0,"delta":%s,"finish_reason":%s}]}`+"\n\n", delta, finish)
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w).Flush
	w.Write(chunk(`{"role":"assistant","content":""}`, "null")) //nolint:errcheck // the loop hears of it
	piece := chunk(`{"content":"`+strings.Repeat("w", size)+`"}`, "null")
	due := time.Now()
	for range pieces {
		due = due.Add(pause)
		time.Sleep(time.Until(due))
		if _, err := w.Write(piece); err != nil || flush() != nil {
			return
		}
	}
	w.Write(append(chunk(`{}`, `"stop"`), "data: [DONE]\n\n"...)) //nolint:errcheck // gone
}

// politePath is where the stand-in is for programs that send less than it asks for.
const politePath = "/polite"

// polite adds the headers that the stand-in refuses to do without.
func polite(standIn http.Handler) http.Handler {
	return http.StripPrefix(politePath, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Accept", "text/event-stream")
		r.Header.Set("Originator", "bench")
		standIn.ServeHTTP(w, r)
	}))
}
