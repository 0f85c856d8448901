package control

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func open(t *testing.T, folder string, about About, verbs map[string]Verb) *Door {
	t.Helper()
	d, err := Open(folder, about, verbs, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

func TestEveryRunningProgramIsFoundWhateverItsSignIn(t *testing.T) {
	folder := t.TempDir()
	start := time.Now()
	echo := map[string]Verb{"echo": func(_ context.Context, args url.Values) (any, error) { return args.Get("say"), nil }}
	second := open(t, folder, About{PID: 2, Store: "/b", Started: start.Add(time.Second)}, echo)
	open(t, folder, About{PID: 1, Store: "/a", Demo: true, Started: start}, echo)
	found := Programs(folder)
	if len(found) != 2 || found[0].PID != 1 || !found[0].Demo || found[1].Store != "/b" {
		t.Fatalf("found %+v", found)
	}
	var said string
	if err := found[1].Call(t.Context(), 10*time.Second, "echo", url.Values{"say": {"hello"}}, &said); err != nil || said != "hello" {
		t.Errorf("%q %v", said, err)
	}
	second.Close()
	if found := Programs(folder); len(found) != 1 {
		t.Errorf("one has ended, found %+v", found)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "2-*")); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}

func TestAFolderMayHaveAnyName(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "a[b]*c")
	if runtime.GOOS == "windows" {
		folder = strings.TrimSuffix(folder, "*c")
	}
	open(t, folder, About{PID: 1}, nil)
	if found := Programs(folder); len(found) != 1 {
		t.Errorf("found %+v", found)
	}
}

func TestANoteOfARunningProgramStaysAlsoWhereItCantBeRead(t *testing.T) {
	folder := t.TempDir()
	d := open(t, folder, About{PID: 1}, nil)
	good, err := os.ReadFile(d.path)
	if err != nil {
		t.Fatal(err)
	}
	for content, want := range map[string]int{"{": 0, string(good): 1} {
		if err := os.WriteFile(d.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if found := Programs(folder); len(found) != want {
			t.Errorf("%q: found %+v", content, found)
		}
		if _, err := os.Stat(d.path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSeveralThatLookAtOnceFindNoProgramThatHasEnded(t *testing.T) {
	folder := t.TempDir()
	for range 200 {
		if err := os.WriteFile(filepath.Join(folder, "7-abcd.json"), []byte(`{"pid":7,"address":"127.0.0.1:1","token":"x"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		var wait sync.WaitGroup
		for range 4 {
			wait.Go(func() {
				if found := Programs(folder); len(found) != 0 {
					t.Errorf("found %+v", found)
				}
			})
		}
		wait.Wait()
	}
}

func TestANoteThatACrashLeftIsNotAProgram(t *testing.T) {
	folder := t.TempDir()
	for name, content := range map[string]string{"7-abcd.json": `{"pid":7,"address":"127.0.0.1:1","token":"x"}`, "8-abcd.json": `{"pid":`} {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found := Programs(folder); len(found) != 0 {
		t.Errorf("found %+v", found)
	}
	if left, _ := filepath.Glob(filepath.Join(folder, "*")); len(left) > 0 {
		t.Errorf("still there: %v", left)
	}
}

func TestAProgramIsFoundAgainAfterItsFolderHasGone(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("what is open can't go there")
	}
	folder := filepath.Join(t.TempDir(), "session", "codex-proxy")
	d, err := openDoor(folder, About{PID: 1}, map[string]Verb{"echo": func(context.Context, url.Values) (any, error) { return "hello", nil }}, nil, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for range 2 {
		if err := os.Rename(filepath.Dir(folder), filepath.Join(t.TempDir(), "gone")); err != nil {
			t.Fatal(err)
		}
		found := Programs(folder)
		for end := time.Now().Add(10 * time.Second); len(found) == 0 && time.Now().Before(end); found = Programs(folder) {
			time.Sleep(time.Millisecond)
		}
		var said string
		if len(found) != 1 || found[0].Call(t.Context(), 10*time.Second, "echo", nil, &said) != nil || said != "hello" {
			t.Fatalf("found %+v, said %q", found, said)
		}
	}
	d.Close()
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("it left %v behind", left)
	}
}

func TestAnErrorIsTheProgramsOwnSentence(t *testing.T) {
	folder := t.TempDir()
	open(t, folder, About{PID: 1, Version: "9"}, map[string]Verb{"fail": func(context.Context, url.Values) (any, error) { return nil, errors.New("Not today") }})
	p := Programs(folder)[0]
	if err := p.Call(t.Context(), 10*time.Second, "fail", nil, nil); err == nil || err.Error() != "Not today" {
		t.Error(err)
	}
	if err := p.Call(t.Context(), 10*time.Second, "unknown", nil, nil); err == nil || !strings.Contains(err.Error(), "version 9") {
		t.Error(err)
	}
}

func TestAProgramThatHangsIsSaidToBeSilent(t *testing.T) {
	folder := t.TempDir()
	stop := make(chan struct{})
	defer close(stop)
	open(t, folder, About{PID: 1}, map[string]Verb{"hang": func(context.Context, url.Values) (any, error) { <-stop; return nil, nil }})
	if err := Programs(folder)[0].Call(t.Context(), 50*time.Millisecond, "hang", nil, nil); !errors.Is(err, ErrSilent) {
		t.Error(err)
	}
}

func TestTheDoorIsShutToWebPagesAndStrangers(t *testing.T) {
	folder := t.TempDir()
	done := false
	d := open(t, folder, About{PID: 1}, map[string]Verb{"quit": func(context.Context, url.Values) (any, error) { done = true; return nil, nil }})
	if info, err := os.Stat(d.path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the note's mode: %v %v", info, err)
	}
	for name, change := range map[string]func(*http.Request){
		"no token":     func(r *http.Request) { r.Header.Del("Authorization") },
		"a wrong one":  func(r *http.Request) { r.Header.Set("Authorization", "Bearer nope") },
		"a web page":   func(r *http.Request) { r.Header.Set("Origin", "http://"+r.Host) },
		"another name": func(r *http.Request) { r.Host = "rebind.example" },
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+d.note.Address+"/quit", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+d.note.Token)
		change(req)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusForbidden || done {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
	}
}

func TestOnlyOneProgramStartsAtATime(t *testing.T) {
	folder := t.TempDir()
	release, err := Starting(t.Context(), folder, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Starting(t.Context(), folder, 50*time.Millisecond); err == nil {
		t.Error("a second one started, too")
	}
	release()
	again, err := Starting(t.Context(), folder, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	again()
}
