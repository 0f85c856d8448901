//go:build e2e

package e2e

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestThePageIsOpenedByACommandAndByNobodyElse(t *testing.T) {
	p, _ := startSignedIn(t)
	get := func(client *http.Client, address string) (int, string) {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept", "text/html")
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		raw, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(raw)
	}
	out, code := command(t, p.home, at(p.backend), "open", "--print", "usage")
	address := strings.TrimSpace(out)
	if code != 0 || !strings.Contains(address, "/?code=") || !strings.HasSuffix(address, "#usage") {
		t.Fatalf("%d %s", code, out)
	}
	jar, _ := cookiejar.New(nil)
	mine, stranger := &http.Client{Jar: jar}, &http.Client{}
	if status, body := get(mine, address); status != 200 || !strings.Contains(body, "<script") {
		t.Errorf("with the code: %d %.300s", status, body)
	}
	if _, body := get(stranger, address); strings.Contains(body, "<script") {
		t.Errorf("the code is good twice: %.300s", body)
	}
	u, _ := url.Parse(address)
	if status, body := get(stranger, "http://"+u.Host+"/page/api/events"); status < 400 || strings.Contains(body, "demo@example.com") {
		t.Errorf("without the cookie: %d %.300s", status, body)
	}
	// Programs get what they always got.
	resp, err := http.Get(p.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, _ := io.ReadAll(resp.Body); !strings.Contains(string(raw), "is running. Point your tool") {
		t.Errorf("a program gets %.200s", raw)
	}
}

// TestUsageKnowsTheNewestRequest: what was answered just now is not written yet.
func TestUsageKnowsTheNewestRequest(t *testing.T) {
	p, _ := startSignedIn(t)
	p.post("/v1/chat/completions", chat("hello"), "User-Agent", "mytool/1.0")
	if out, code := command(t, p.home, at(p.backend), "usage", "--by", "client"); code != 0 || !strings.Contains(out, "mytool") {
		t.Errorf("%d %s", code, out)
	}
}

func TestUsageSaysWhatWasAsked(t *testing.T) {
	p, _ := startSignedIn(t)
	for range 3 {
		p.post("/v1/chat/completions", chat("hello"), "User-Agent", "mytool/1.0")
	}
	p.post("/v1/messages", `{"model":"gpt-5.5","max_tokens":9,"messages":[{"role":"user","content":"a secret prompt"}]}`, "User-Agent", "other/2")
	if err := p.stop(); err != nil {
		t.Fatal(err)
	}
	out, code := command(t, p.home, at(p.backend), "usage", "--by", "client", "--json")
	var usage struct {
		Rows []struct {
			Name     string `json:"name"`
			Requests int    `json:"requests"`
		} `json:"rows"`
	}
	if err := json.Unmarshal([]byte(out), &usage); err != nil || code != 0 || !strings.Contains(out, `"mytool"`) || !strings.Contains(out, `"other"`) {
		t.Errorf("%d %v %s", code, err, out)
	}
	if out, code := command(t, p.home, at(p.backend), "usage"); code != 0 || !strings.Contains(out, "4") {
		t.Errorf("%d %s", code, out)
	}
	path := filepath.Join(p.home, ".local", "state", "codex-proxy", "history.db")
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if raw, _ := os.ReadFile(path); strings.Contains(string(raw), "secret prompt") {
		t.Error("the history holds a prompt")
	}
}

func TestChatGPTIsToldStraightAndWantsAYes(t *testing.T) {
	b, url := startBackend(t)
	home := t.TempDir()
	out, code := command(t, home, at(url), "login", "--chatgpt", "--no-browser")
	if code != 1 || !strings.Contains(out, "general-purpose API access for other tools") || !strings.Contains(out, "Plus and Pro only") || !strings.Contains(out, "nothing was changed") {
		t.Errorf("%d %s", code, out)
	}
	if n := len(b.Requests("")); n > 0 {
		t.Errorf("%d requests before the yes", n)
	}
}
