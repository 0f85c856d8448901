package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/internal/connect"
	"codex-proxy/internal/page"
)

// test sends a request through the proxy's own port, in the dialect of the tool with that id, and tells what the tool
// would see.
func (p *pageApp) test(ctx context.Context, tool string) (page.TestResult, error) {
	s := p.App.State()
	if !s.Proxy.Running {
		return page.TestResult{Answer: "The proxy is not running.", Action: page.ActionStart, Label: "Start the proxy"}, nil
	}
	const say = "Answer with one short sentence: say that Codex Proxy works."
	path, body, text := "/v1/chat/completions", map[string]any{"model": s.Model, "messages": []any{map[string]any{"role": "user", "content": say}}}, "choices.0.message.content"
	known, _ := connect.Named(tool)
	switch known.Route {
	case "/v1/messages":
		path, text = known.Route, "content.#(type==\"text\").text"
		body["max_tokens"] = 200
	case "/v1beta/models":
		path, text = known.Route+"/"+s.Model+":generateContent", "candidates.0.content.parts.0.text"
		body = map[string]any{"contents": []any{map[string]any{"parts": []any{map[string]string{"text": say}}}}}
	case "/v1/responses":
		path, text = known.Route, "output.#(type==\"message\").content.0.text"
		body = map[string]any{"model": s.Model, "input": []any{map[string]any{"role": "user", "content": say}}}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return page.TestResult{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(s.Proxy.URL, "/v1")+path, bytes.NewReader(raw))
	if err != nil {
		return page.TestResult{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "codex-proxy-test")
	key, forget, err := p.PassingKey("test", s)
	if err != nil {
		return page.TestResult{}, err
	}
	defer forget()
	req.Header.Set("Authorization", "Bearer "+key)
	out := page.TestResult{Request: fmt.Sprintf("POST %s, %s", path, s.Model)}
	begin := time.Now()
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // not through a proxy
	resp, err := client.Do(req)
	if err != nil {
		out.Answer = "The proxy does not answer on its own port."
		return out, nil
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	out.Status, out.Duration = resp.StatusCode, time.Since(begin).Milliseconds()
	out.OK = err == nil && resp.StatusCode == http.StatusOK
	out.Answer = gjson.GetBytes(answer, text).String()
	if !out.OK {
		out.Answer = gjson.GetBytes(answer, "error.message").String()
	}
	return out, nil
}
