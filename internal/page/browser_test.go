package page

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"codex-proxy/internal/history"
)

// chrome is a tab of headless Chromium, and what its console said.
type chrome struct {
	t   *testing.T
	ctx context.Context
}

func openChrome(t *testing.T) *chrome {
	t.Helper()
	if testing.Short() {
		t.Skip("needs a browser")
	}
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("chromium is missing: run test/tools")
	}
	profile, err := os.MkdirTemp("", "chromium") // t.TempDir can't be removed while Chromium still writes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(profile) })
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.UserDataDir(profile),
		chromedp.Flag("disable-quic", true), chromedp.Flag("proxy-server", "direct://"), chromedp.Flag("lang", "en"))
	ctx, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(ctx)
	t.Cleanup(func() { chromedp.Cancel(ctx); cancel() }) //nolint:errcheck // it may have ended
	ctx, timeout := context.WithTimeout(ctx, 3*time.Minute)
	t.Cleanup(timeout)
	c := &chrome{t, ctx}
	chromedp.ListenTarget(ctx, func(ev any) {
		switch e := ev.(type) {
		case *runtime.EventExceptionThrown:
			t.Errorf("the page failed: %s", e.ExceptionDetails.Error())
		}
	})
	if err := chromedp.Run(ctx); err != nil { // the browser ends with the context that started it
		t.Fatal(err)
	}
	return c
}

func (c *chrome) run(actions ...chromedp.Action) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 15*time.Second)
	defer cancel()
	if err := chromedp.Run(ctx, actions...); err != nil {
		var text string
		chromedp.Run(c.ctx, chromedp.Evaluate("document.body?.innerText ?? ''", &text)) //nolint:errcheck // for the message only
		c.t.Fatalf("%v; the page shows:\n%s", err, text)
	}
}

// open opens the page as the program does, and waits for a section.
func (c *chrome) open(f *fixture) {
	c.t.Helper()
	c.run(chromedp.Navigate(f.page.Open(f.root)), chromedp.WaitVisible("nav", chromedp.ByQuery))
}

// section goes to a section and waits until it is drawn.
func (c *chrome) section(id, title string) {
	c.t.Helper()
	c.run(chromedp.Click(`nav a[href="#`+id+`"]`, chromedp.ByQuery))
	c.shows("main", title)
}

// click clicks the button with this text, or label, that is seen.
func (c *chrome) click(text string) {
	c.t.Helper()
	c.run(chromedp.Click(fmt.Sprintf(`//button[normalize-space()=%q or @aria-label=%q]`, text, text), chromedp.BySearch, chromedp.NodeVisible))
}

// shows waits until an element has a text.
func (c *chrome) shows(selector, text string) {
	c.t.Helper()
	c.until(fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.innerText.includes(%q))", selector, text))
}

// lacks waits until no element has a text.
func (c *chrome) lacks(selector, text string) {
	c.t.Helper()
	c.until(fmt.Sprintf("![...document.querySelectorAll(%q)].some((e) => e.innerText.includes(%q))", selector, text))
}

func (c *chrome) until(expression string) {
	c.t.Helper()
	c.run(chromedp.Poll(expression, nil, chromedp.WithPollingInterval(20*time.Millisecond), chromedp.WithPollingTimeout(10*time.Second)))
}

func (c *chrome) eval(expression string, into any) {
	c.t.Helper()
	c.run(chromedp.Evaluate(expression, into, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
}

// look sets the size and the theme.
func (c *chrome) look(width, height int, theme string) {
	c.t.Helper()
	c.run(emulation.SetDeviceMetricsOverride(int64(width), int64(height), 1, false),
		emulation.SetEmulatedMedia().WithFeatures([]*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}))
}

// screenshot keeps what the page looks like.
func (c *chrome) screenshot(name string) {
	c.t.Helper()
	dir := filepath.Join("..", "..", "build", "screenshots")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		c.t.Fatal(err)
	}
	var raw []byte
	c.run(chromedp.FullScreenshot(&raw, 100))
	if err := os.WriteFile(filepath.Join(dir, "page-"+name+".png"), raw, 0o644); err != nil {
		c.t.Fatal(err)
	}
}

// accessible has axe-core look at the page, and checks that nothing sticks out at the side.
func (c *chrome) accessible(where string) {
	c.t.Helper()
	axe, err := os.ReadFile(filepath.Join("..", "..", "page", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		c.t.Skip("axe-core is not installed: run `npm ci` in page")
	}
	var wide bool
	c.eval("document.documentElement.scrollWidth > innerWidth", &wide)
	if wide {
		c.t.Errorf("%s: the page is wider than the window", where)
	}
	var found string
	c.run(chromedp.Evaluate(string(axe)+"; null", nil))
	c.eval(`axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then((r) => JSON.stringify(r.violations.map((v) => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 160) + ' | ' + n.failureSummary.slice(0, 300))})), null, 1))`, &found)
	if found != "[]" {
		c.t.Errorf("%s: axe-core finds %s", where, found)
	}
}

var themes = []string{"light", "dark"}

func TestEverySectionIsGoodToSeeAndToHear(t *testing.T) {
	f := start(t)
	if err := history.FillDemo(f.history, time.Now()); err != nil {
		t.Fatal(err)
	}
	c := openChrome(t)
	c.look(1100, 900, "light")
	c.open(f)
	for _, s := range []struct{ id, title, ready string }{
		{"overview", "Running at", "document.querySelector('canvas') && document.querySelectorAll('.now tbody tr').length > 4"},
		{"activity", "Activity", "document.querySelectorAll('.requests tbody tr').length > 10"},
		{"usage", "Usage", "document.querySelectorAll('canvas').length === 5"},
		{"tools", "Tools", "true"},
		{"sign-in", "Sign-in", "true"},
		{"settings", "Settings", "true"},
		{"doctor", "Doctor", "document.querySelectorAll('.findings li').length > 3"},
	} {
		c.look(1100, 900, "light")
		c.section(s.id, s.title)
		c.until(s.ready)
		for _, theme := range themes {
			for _, size := range [][2]int{{360, 740}, {1100, 900}, {2560, 1300}} {
				c.look(size[0], size[1], theme)
				name := fmt.Sprintf("%s-%s-%d", s.id, theme, size[0])
				c.until(fmt.Sprintf("innerWidth === %d && [...document.querySelectorAll('.plot .canvas')].every((e) => Math.abs(e.querySelector('.uplot').clientWidth - e.clientWidth) < 2)", size[0]))
				c.screenshot(name)
				if size[0] < 2000 {
					c.accessible(name)
				}
			}
		}
	}
}

func TestTheTroubleAndItsButtonComeFirst(t *testing.T) {
	f := start(t)
	if err := history.FillDemo(f.history, time.Now()); err != nil {
		t.Fatal(err)
	}
	f.app.update(func(s *Snapshot) {
		s.SignIn.Status, s.SignIn.NextAttempt, s.Active = Failing, time.Now().Add(4*time.Minute), nil
		s.Problem = &Problem{Title: "The refresh fails", Detail: "The auth server is not reached since 17:58. Requests are answered until the token ends, in 3 hours.", Action: ActionRefresh, Label: "Refresh now", Mild: true}
		s.Origins = append(s.Origins, Origin{"http://localhost:3000", "asks"})
	})
	f.app.actions[ActionRefresh] = func(json.RawMessage) (any, error) { return nil, errOffline }
	c := openChrome(t)
	c.look(1100, 900, "light")
	c.open(f)
	c.shows("main > .card:first-child", "The refresh fails")
	c.screenshot("trouble-light-1100")
	c.accessible("trouble")
	c.look(360, 740, "dark")
	c.screenshot("trouble-dark-360")
	c.accessible("trouble, small and dark")
	c.look(1100, 900, "light")

	c.click("Refresh now")
	c.shows(".notice", "The auth server is not reached")
	c.screenshot("trouble-still-light-1100")
	c.accessible("an error")
	f.app.mu.Lock()
	f.app.actions[ActionRefresh] = func(json.RawMessage) (any, error) {
		f.app.update(func(s *Snapshot) { s.Problem, s.SignIn.Status, s.SignIn.LastRefresh = nil, Good, time.Now() })
		return Message{"Refreshed: good for 10 days."}, nil
	}
	f.app.mu.Unlock()
	c.click("Refresh now")
	c.shows(".notice", "Refreshed: good for 10 days")
	c.lacks("main", "The refresh fails")
	c.shows("main", "just now")

	c.shows(".ask", "http://localhost:3000")
	c.click("Allow")
	c.until("true")
	deadline := time.Now().Add(5 * time.Second)
	for !f.app.did(`allow-origin {"origin":"http://localhost:3000"}`) {
		if time.Now().After(deadline) {
			t.Fatalf("done: %v", f.app.done)
		}
		time.Sleep(5 * time.Millisecond)
	}
	// What the program can't do has no button.
	f.app.update(func(s *Snapshot) { s.Can = []Action{ActionRefresh} })
	c.lacks("main", "Don’t allow")
	c.section("sign-in", "Sign-in")
	var buttons string
	c.eval("[...document.querySelectorAll('main button')].map((b) => b.innerText).join()", &buttons)
	if buttons != "Refresh now" {
		t.Errorf("there are the buttons %s", buttons)
	}
}

func TestAFirstStartGoesFromNothingToATestedTool(t *testing.T) {
	f := start(t)
	f.app.update(func(s *Snapshot) {
		s.FirstStart, s.Tested, s.Active, s.Windows = true, false, nil, nil
		s.SignIn = SignIn{Status: SignedOut, CanImport: "demo@example.com from the Codex CLI"}
		for i := range s.Tools {
			s.Tools[i].Connected, s.Tools[i].Trouble, s.Tools[i].LastUsed = false, "", ""
		}
		s.Problem = &Problem{Title: "Nobody is signed in", Action: ActionSignIn, Label: "Sign in…"}
	})
	c := openChrome(t)
	c.look(1100, 900, "light")
	c.open(f)
	c.shows("h1", "Three steps")
	for _, theme := range themes {
		for _, width := range []int{360, 1100, 2560} {
			c.look(width, 900, theme)
			c.screenshot(fmt.Sprintf("first-%s-%d", theme, width))
			c.accessible("first start, " + theme)
		}
	}
	c.look(1100, 900, "light")

	f.app.actions[ActionSignIn] = func(json.RawMessage) (any, error) {
		f.app.update(func(s *Snapshot) {
			s.Pending = &Pending{Way: "device", Code: "ABCD-EFGHI", URL: "https://auth.openai.com/codex/device", ExpiresAt: time.Now().Add(15 * time.Minute), Steps: []string{"Waiting for you to type the code"}}
		})
		return nil, nil
	}
	c.click("Codex sign-in by code: sign in")
	c.shows(".device", "ABCD-EFGHI")
	c.screenshot("first-code-light-1100")
	c.accessible("a device code")
	c.look(360, 740, "dark")
	c.screenshot("first-code-dark-360")
	c.look(1100, 900, "light")
	f.app.update(func(s *Snapshot) {
		s.Pending, s.Problem = nil, nil
		s.SignIn = SignIn{Status: Good, Email: "demo@example.com", Plan: "plus", Way: "Codex sign-in"}
	})
	c.shows(".step.done", "Signed in as demo@example.com (plus)")

	f.app.actions[ActionToolPreview] = func(json.RawMessage) (any, error) {
		return Preview{Files: []FileChange{{"~/.codex/config.toml", "--- a\n+++ b\n@@ -1,4 +1,11 @@\n model = \"o9\"   # keep\n+model_provider = \"codex-proxy\"\n \n [mcp_servers.files]\n-command = \"npx\"\n+command = \"<img src=x onerror=alert(1)>\"\n"}}, Note: "Restart Codex CLI if it is open."}, nil
	}
	f.app.actions[ActionToolConnect] = func(json.RawMessage) (any, error) {
		f.app.update(func(s *Snapshot) { s.Tools[1].Connected = true })
		return Message{"Codex CLI is connected."}, nil
	}
	f.app.actions[ActionTest] = func(json.RawMessage) (any, error) {
		f.app.update(func(s *Snapshot) { s.Tested = true })
		return TestResult{OK: true, Request: "POST /v1/responses, gpt-5.5", Status: 200, Answer: "Yes.", FirstMS: 640, Duration: 1210}, nil
	}
	c.click("Connect Codex CLI")
	c.shows("dialog", "<img src=x onerror=alert(1)>")
	c.screenshot("connect-light-1100")
	c.accessible("what connecting changes")
	c.click("Connect")
	c.shows(".step.done", "Codex CLI connected")
	c.click("Send")
	c.shows(".answer", "Answered in 1.2 s")
	c.shows("main", "All set")
	c.screenshot("first-done-light-1100")
	c.accessible("the end of a first start")
	f.app.actions[ActionFirstStartDone] = func(json.RawMessage) (any, error) {
		f.app.update(func(s *Snapshot) { s.FirstStart = false })
		return nil, nil
	}
	c.click("Show the overview")
	c.shows("h1", "Running at")
	if !f.app.did(`sign-in {"way":"device"}`) || !f.app.did(`tool-connect {"id":"codex"}`) || !f.app.did(`test {"id":"codex"}`) {
		t.Errorf("done: %v", f.app.done)
	}
}
