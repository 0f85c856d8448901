//go:build e2e && linux

package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/tidwall/gjson"

	"codex-proxy/internal/fakebackend"
	"codex-proxy/proxy/codex"
	"codex-proxy/test/chromium"
)

// tried notes a property, how often it was tried and how often it failed, for the table that make torture writes.
func tried(t *testing.T, property string, times, failed int) {
	t.Helper()
	t.Logf("%s: tried %d, failed %d", property, times, failed)
	if path := os.Getenv("TORTURE_REPORT"); path != "" {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		fmt.Fprintf(f, "| %s | %d | %d |\n", property, times, failed)
	}
}

// TestASignalAtAnyMomentLosesNoSignIn ends a refresh by SIGINT or SIGTERM at a moment of chance, before, during and
// after the auth server's answer.
func TestASignalAtAnyMomentLosesNoSignIn(t *testing.T) {
	rounds := soak(12, 300)
	var failed, sent atomic.Int32
	queue := make(chan int, rounds)
	for i := range rounds {
		queue <- i
	}
	close(queue)
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for i := range queue {
				b := fakebackend.New()
				b.Models = codex.BundledModels()
				server := httptest.NewServer(b)
				t.Cleanup(server.Close)
				home, err := os.MkdirTemp("", "signal")
				if err != nil {
					t.Error(err)
					return
				}
				t.Cleanup(func() { os.RemoveAll(home) })
				tokens := b.SignIn(200 * time.Hour)
				stored := filepath.Join(home, ".config", "codex-proxy", "auth.json")
				os.MkdirAll(filepath.Dir(stored), 0o700)       //nolint:errcheck // seen below
				os.WriteFile(stored, tokens.AuthJSON(), 0o600) //nolint:errcheck // seen below
				b.RefuseRefresh("slow")
				cmd := exec.Command(binary, "refresh")
				cmd.Env = append([]string{"HOME=" + home, "XDG_RUNTIME_DIR=" + home, "DBUS_SESSION_BUS_ADDRESS=unix:path=/nonexistent"}, at(server.URL)...)
				var said bytes.Buffer
				cmd.Stdout, cmd.Stderr = &said, &said
				begun := time.Now()
				if err := cmd.Start(); err != nil {
					t.Error(err)
					return
				}
				time.Sleep(time.Duration(rand.Int64N(int64(1300 * time.Millisecond)))) // the moment of chance
				cmd.Process.Signal([]os.Signal{os.Interrupt, syscall.SIGTERM}[i%2])    //nolint:errcheck // it may have ended
				cmd.Wait()                                                             //nolint:errcheck // its code does not matter
				if raw, _ := os.ReadFile(stored); !strings.Contains(string(raw), b.Newest(tokens)) {
					failed.Add(1)
					t.Logf("lost after %s, %v: %s", time.Since(begun).Round(time.Millisecond), cmd.ProcessState, said.String())
				}
				sent.Add(int32(len(b.Requests("/oauth/token"))))
			}
		})
	}
	wait.Wait()
	if sent.Load() == 0 {
		t.Error("no round had sent its refresh when the signal came")
	}
	tried(t, fmt.Sprintf("SIGINT or SIGTERM at any moment of a refresh, which was sent in %d rounds: the newest refresh token is stored", sent.Load()), rounds, int(failed.Load()))
	if failed.Load() > 0 {
		t.Errorf("%d of %d sign-ins were lost", failed.Load(), rounds)
	}
}

// TestFourProgramsShareOneSignIn: each round the access token has ended, and all four are asked at once.
func TestFourProgramsShareOneSignIn(t *testing.T) {
	rounds, failed := soak(2, 60), 0
	for range rounds {
		b, url := startBackend(t)
		home := t.TempDir()
		writeFile(t, filepath.Join(home, ".config", "codex-proxy", "auth.json"), b.SignIn(-time.Minute).AuthJSON())
		var programs []*program
		for range 4 {
			programs = append(programs, start(t, home, at(url), "--creds-store", "xdg"))
		}
		var wait sync.WaitGroup
		var bad atomic.Int32
		for _, p := range programs {
			for range 5 {
				wait.Go(func() {
					if status, _, _ := p.post("/v1/chat/completions", chat("hello")); status != 200 {
						bad.Add(1)
					}
				})
			}
		}
		wait.Wait()
		if c := b.Counts(); c.Refreshes != 1 || c.Reused != 0 || bad.Load() > 0 {
			t.Errorf("%d refreshes, %d reused, %d of 20 requests failed", c.Refreshes, c.Reused, bad.Load())
			failed++
		}
		for _, p := range programs {
			p.stop()
		}
	}
	tried(t, "four programs on one store, an ended token, 20 requests at once: one refresh, all answered", rounds, failed)
}

// tlsBackend is the stand-in over TLS and HTTP/2, and the environment by which the program trusts it.
func tlsBackend(t *testing.T) (*fakebackend.Backend, []string) {
	t.Helper()
	b := fakebackend.New()
	b.Models = codex.BundledModels()
	server := httptest.NewUnstartedServer(b)
	server.EnableHTTP2 = true
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.CloseClientConnections)
	t.Cleanup(func() { go server.Close() })
	path := filepath.Join(t.TempDir(), "ca.pem")
	writeFile(t, path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	return b, append(at(server.URL), "SSL_CERT_FILE="+path)
}

// TestEveryUpstreamFaultIsToldInEveryDialect: an answer that broke never looks whole, over HTTP/1.1 and over TLS with
// HTTP/2, streamed or not.
func TestEveryUpstreamFaultIsToldInEveryDialect(t *testing.T) {
	ask := map[string]func(scenario string, stream bool) (path, body string){
		"chat": func(s string, stream bool) (string, string) {
			return "/v1/chat/completions", chat(s, fmt.Sprintf(`"stream":%v`, stream))
		},
		"responses": func(s string, stream bool) (string, string) {
			return "/v1/responses", respond(s, fmt.Sprintf(`"stream":%v`, stream))
		},
		"messages": func(s string, stream bool) (string, string) {
			return "/v1/messages", fmt.Sprintf(`{"model":"gpt-5.5","max_tokens":9,"stream":%v,"messages":[{"role":"user","content":%q}]}`, stream, s)
		},
		"ollama": func(s string, stream bool) (string, string) {
			return "/api/chat", fmt.Sprintf(`{"model":"gpt-5.5","stream":%v,"messages":[{"role":"user","content":%q}]}`, stream, s)
		},
		"gemini": func(s string, stream bool) (string, string) {
			return "/v1beta/models/gpt-5.5:" + map[bool]string{true: "streamGenerateContent?alt=sse", false: "generateContent"}[stream], fmt.Sprintf(`{"contents":[{"parts":[{"text":%q}]}]}`, s)
		},
		"gemini, arrays": func(s string, stream bool) (string, string) {
			return "/v1beta/models/gpt-5.5:" + map[bool]string{true: "streamGenerateContent", false: "generateContent"}[stream], fmt.Sprintf(`{"contents":[{"parts":[{"text":%q}]}]}`, s)
		},
	}
	faults := []string{"cut", "eof", "failed server_error", "error", "stall", "hangheaders", "http500", "http503", "http520", "html403", "limit", "context", "http429"}
	whole := []string{"[DONE]", "response.completed", "message_stop", `"done":true,"done_reason":"stop"`, `"finishReason"`}
	cases, failed := 0, 0
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2 over TLS"} {
		var env []string
		var b *fakebackend.Backend
		if protocol == "HTTP/1.1" {
			var url string
			b, url = startBackend(t)
			env = at(url)
		} else {
			b, env = tlsBackend(t)
		}
		home, _ := signedIn(t, b)
		p := start(t, home, env, "--idle-timeout", "700ms", "--keep-alive", "200ms")
		p.imported()
		var mu sync.Mutex
		var wait sync.WaitGroup
		for _, fault := range faults {
			for dialect, request := range ask {
				for _, stream := range []bool{true, false} {
					wait.Go(func() {
						path, body := request("[["+fault+"]]", stream)
						status, _, answer := p.post(path, body)
						bad := status == 200 && !stream || (status == 400 || status == 404) && fault != "context"
						for _, end := range whole {
							bad = bad || strings.Contains(answer, end)
						}
						if status == 200 && stream && !strings.Contains(answer, "error") {
							bad = true
						}
						mu.Lock()
						defer mu.Unlock()
						if cases++; bad {
							failed++
							t.Errorf("%s, %s, %s, stream %v: %d %.300s", protocol, fault, dialect, stream, status, answer)
						}
					})
				}
			}
		}
		wait.Wait()
		if n := b.Counts().Responses; n < len(faults)*len(ask)*2 {
			t.Errorf("%s: only %d requests went up", protocol, n)
		}
		eventually(t, protocol+": it answers afterwards", func() bool {
			status, _, answer := p.post("/v1/chat/completions", chat("hello"))
			if status != 200 && status != 504 { // the timeout is short
				t.Fatalf("%s, afterwards: %d %s", protocol, status, answer)
			}
			return status == 200
		})
		p.stop()
	}
	tried(t, "upstream faults × dialect × streamed or not × HTTP/1.1 and HTTP/2 over TLS: told as an error", cases, failed)
}

// TestAPageGetsNothingInARealBrowser has Chromium try what a hostile page can.
func TestAPageGetsNothingInARealBrowser(t *testing.T) {
	p, b := startSignedIn(t)
	port := p.url[strings.LastIndexByte(p.url, ':')+1:]
	asked := b.Counts().Responses
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, `<!doctype html><title>evil</title><body><form id=f method=post enctype="text/plain" target=hidden action="http://127.0.0.1:`+port+`/v1/chat/completions"><input name='{"messages":[{"role":"user","content":"x"}],"y":"' value='"}'></form><iframe name=hidden></iframe>`) //nolint:errcheck // gone
	}))
	defer evil.Close()
	evilPort := evil.URL[strings.LastIndexByte(evil.URL, ':')+1:]
	ctx := chromium.Open(t, chromium.Profile(t), 3*time.Minute, chromedp.Flag("host-resolver-rules", "MAP evil.test 127.0.0.1"),
		chromedp.Flag("disable-features", "LocalNetworkAccessChecks,BlockInsecurePrivateNetworkRequests,PrivateNetworkAccessSendPreflights")) // the proxy must hold without the browser's help
	if err := chromedp.Run(ctx, chromedp.Navigate("http://evil.test:"+evilPort+"/")); err != nil {
		t.Fatal(err)
	}
	body := `{"messages":[{"role":"user","content":"x"}]}`
	attempts := map[string]string{
		"rebinding":      `fetch("http://evil.test:` + port + `/v1/chat/completions",{method:"POST",body:B,headers:{"content-type":"application/json"}}).then(r=>r.text())`,
		"plain text":     `fetch("http://127.0.0.1:` + port + `/v1/chat/completions",{method:"POST",mode:"no-cors",body:B}).then(r=>r.text())`,
		"json":           `fetch("http://localhost:` + port + `/v1/chat/completions",{method:"POST",body:B,headers:{"content-type":"application/json"}}).then(r=>r.text())`,
		"a list":         `fetch("http://127.0.0.1:` + port + `/v1/models").then(r=>r.text())`,
		"health":         `fetch("http://127.0.0.1:` + port + `/health",{mode:"cors"}).then(r=>r.text())`,
		"event source":   `new Promise((ok,no)=>{let e=new EventSource("http://127.0.0.1:` + port + `/page/api/events");e.onmessage=m=>ok(m.data);e.onerror=()=>no("refused")})`,
		"websocket":      `new Promise((ok,no)=>{let w=new WebSocket("ws://127.0.0.1:` + port + `/v1/responses");w.onopen=()=>{w.send('{"type":"response.create","model":"gpt-5.5","input":[{"role":"user","content":"x"}]}')};w.onmessage=m=>ok(m.data);w.onerror=()=>no("refused")})`,
		"null origin":    `new Promise((ok,no)=>{let f=document.createElement("iframe");f.sandbox="allow-scripts";f.srcdoc="<script>fetch('http://127.0.0.1:` + port + `/v1/chat/completions',{method:'POST',body:'` + strings.ReplaceAll(body, `"`, `\x22`) + `'}).then(r=>r.text()).then(t=>parent.postMessage(t,'*'),e=>parent.postMessage('','*'))<\/script>";onmessage=m=>m.data?ok(m.data):no("refused");document.body.append(f)})`,
		"the page":       `fetch("http://127.0.0.1:` + port + `/",{headers:{accept:"text/html"}}).then(r=>r.text())`,
		"framed page":    `new Promise((ok,no)=>{let f=document.createElement("iframe");f.src="http://127.0.0.1:` + port + `/";f.onload=()=>{try{ok(f.contentDocument.body.innerText||no("empty"))}catch(e){no("refused")}};document.body.append(f)})`,
		"form":           `new Promise((ok,no)=>{document.getElementById("f").submit();setTimeout(()=>no("sent"),500)})`,
		"script include": `new Promise((ok,no)=>{let s=document.createElement("script");s.src="http://127.0.0.1:` + port + `/v1/models";s.onload=()=>ok("ran");s.onerror=()=>no("refused");document.body.append(s)})`,
	}
	try := func(name, script string) (got string) {
		err := chromedp.Run(ctx, chromedp.Evaluate(`(async()=>{const B='`+body+`';try{return "GOT "+await Promise.race([`+script+`,new Promise((_,no)=>setTimeout(()=>no("nothing"),4000))])}catch(e){return "no: "+e}})()`, &got, chromedp.EvalAsValue, awaitPromise))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return got
	}
	// What follows means something only if this browser reaches such a port at all.
	open := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		io.WriteString(w, "an open door") //nolint:errcheck // gone
	}))
	defer open.Close()
	if got := try("an open door", `fetch("`+open.URL+`/").then(r=>r.text())`); got != "GOT an open door" {
		t.Fatalf("the browser gets nowhere: %s", got)
	}
	failed := 0
	for name, script := range attempts {
		got := try(name, script)
		if strings.HasPrefix(got, "GOT ") && len(got) > 5 && !strings.Contains(got, "host_not_allowed") && !strings.Contains(got, "origin_not_allowed") {
			failed++
			t.Errorf("%s: %.300s", name, got)
		}
	}
	if n := b.Counts().Responses; n != asked {
		failed++
		t.Errorf("%d requests of the page went up", n-asked)
	}
	tried(t, "a hostile page in Chromium (rebinding, null origin, forms, EventSource, WebSocket, frames): nothing read, nothing spent", len(attempts)+1, failed)
}

// TestAnotherUsersProgramIsRefusedByTheKernelsWord needs root, to be another user.
func TestAnotherUsersProgramIsRefusedByTheKernelsWord(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can be another user")
	}
	// The program itself must not be root's, whose callers are all let in... it is: so the other user is the stranger.
	p, b := startSignedIn(t)
	asked := b.Counts().Responses
	cmd := exec.Command("curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", "%{http_code}", p.url+"/v1/chat/completions", "-d", chat("x"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.Output()
	failed := 0
	if err != nil || string(out) != "403" || b.Counts().Responses != asked {
		failed = 1
		t.Errorf("%s %v, %d requests went up", out, err, b.Counts().Responses-asked)
	}
	tried(t, "a program of another user: refused", 1, failed)
}

// TestADiskThatIsFullLosesNothing uses a small tmpfs of its own.
func TestADiskThatIsFullLosesNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can mount")
	}
	home := t.TempDir()
	config := filepath.Join(home, ".config", "codex-proxy")
	if err := os.MkdirAll(config, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", config, "tmpfs", 0, "size=128k,mode=700"); err != nil {
		t.Skip("no tmpfs can be mounted here: ", err)
	}
	t.Cleanup(func() { syscall.Unmount(config, syscall.MNT_DETACH) }) //nolint:errcheck // the folder goes with the test
	b, url := startBackend(t)
	tokens := b.SignIn(30 * time.Minute) // due for a refresh
	stored := filepath.Join(config, "auth.json")
	writeFile(t, stored, tokens.AuthJSON())
	filler := filepath.Join(config, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for { // until nothing more fits
		if _, err := f.Write(make([]byte, 1024)); err != nil {
			break
		}
	}
	f.Close()
	p := start(t, home, at(url))
	eventually(t, "the trouble is told", func() bool { return strings.Contains(fmt.Sprint(p.health()), "no space left") })
	failed := 0
	if raw, _ := os.ReadFile(stored); !bytes.Contains(raw, []byte(tokens.Refresh)) || b.Counts().Refreshes != 0 {
		failed++
		t.Errorf("%d refreshes; stored: %.200s", b.Counts().Refreshes, raw)
	}
	if status, _, _ := p.post("/v1/chat/completions", chat("hello")); status != 200 {
		failed++
		t.Errorf("the old token is not used meanwhile: %d", status)
	}
	os.Remove(filler)
	if out, code := command(t, home, at(url), "refresh"); code != 0 {
		t.Logf("refresh: %s", out)
	}
	within(t, 90*time.Second, "it is refreshed and stored once there is room", func() bool {
		raw, _ := os.ReadFile(stored)
		return b.Counts().Refreshes == 1 && bytes.Contains(raw, []byte(b.Newest(tokens)))
	})
	tried(t, "a full disk: nothing spent, the old token used, stored once there is room", 3, failed)
}

// TestNoSecretIsInAnythingThatIsKept looks at everything that a run leaves behind or shows.
func TestNoSecretIsInAnythingThatIsKept(t *testing.T) {
	b, url := startBackend(t)
	home, tokens := signedIn(t, b)
	p := start(t, home, at(url), "--api-key", "local-secret-key")
	p.imported()
	const prompt = "a very private prompt"
	for _, text := range []string{prompt, prompt + " [[http500]]", prompt + " [[cut]]", prompt + " [[failed server_error]]", prompt + " [[quote]]"} {
		p.post("/v1/chat/completions", chat(text, `"stream":true`), "Authorization", "Bearer local-secret-key")
		p.post("/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"`+text+`"}]}`, "X-Api-Key", "local-secret-key")
	}
	if n := b.Counts().Responses; n < 8 {
		t.Fatalf("only %d requests went up", n)
	}
	var shown bytes.Buffer
	doctor, _ := command(t, home, at(url), "doctor")
	status, _ := command(t, home, at(url), "status", "--json")
	var usage string
	eventually(t, "the history is on the disk", func() bool {
		usage, _ = command(t, home, at(url), "usage", "--json")
		return gjson.Get(usage, "total.requests").Int() >= 8
	})
	shown.WriteString(doctor + status + usage)
	req, _ := http.NewRequest(http.MethodGet, p.url+"/metrics", nil)
	req.Header.Set("X-Api-Key", "local-secret-key")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("the metrics: %v %v", resp, err)
	}
	io.Copy(&shown, resp.Body) //nolint:errcheck // seen below
	resp.Body.Close()
	for _, part := range []string{"Loopback", `"sign_in"`, `"total"`, "codex_proxy_"} {
		if !strings.Contains(shown.String(), part) {
			t.Errorf("what was looked at lacks %s: %.2000s", part, shown.String())
		}
	}
	p.cmd.Process.Signal(syscall.SIGQUIT) //nolint:errcheck // it is there
	eventually(t, "the dump is printed", p.exited)
	if !strings.Contains(p.log.String(), "goroutine ") {
		t.Error("there was no dump")
	}
	shown.WriteString(p.log.String())
	files := 0
	filepath.WalkDir(home, func(path string, d os.DirEntry, err error) error { //nolint:errcheck // it is looked at only
		if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, "auth.json") && !strings.Contains(path, ".codex/") {
			raw, _ := os.ReadFile(path)
			shown.Write(raw)
			files++
		}
		return nil
	})
	stored, err := os.ReadFile(filepath.Join(home, ".config", "codex-proxy", "auth.json"))
	if err != nil || files == 0 {
		t.Fatalf("%d files were looked at; %v", files, err)
	}
	secrets := []string{tokens.Access, tokens.Refresh, tokens.ID, "local-secret-key", prompt}
	for _, name := range []string{"access_token", "refresh_token", "id_token"} {
		secret := gjson.GetBytes(stored, "tokens."+name).Str
		if len(secret) < 16 || (slices.Contains(secrets, secret) && name != "id_token") {
			t.Fatalf("no new %s is in use", name)
		}
		secrets = append(secrets, secret)
	}
	failed := 0
	for _, secret := range secrets {
		tail := secret[max(len(secret)-24, 0):] // what is cut short is a secret all the same
		if i := bytes.Index(shown.Bytes(), []byte(tail)); i >= 0 {
			failed++
			t.Errorf("%.12s… is shown: %.200q", secret, shown.Bytes()[max(0, i-80):])
		}
	}
	tried(t, fmt.Sprintf("no token, key or prompt in the log, a SIGQUIT dump, metrics, doctor, status, usage, history and %d files", files), len(secrets), failed)
}
