package app

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"codex-proxy/internal/atomicfile"
)

// settingsFolder is a folder of the test's own for the settings file.
func settingsFolder(t *testing.T) {
	if configHome() == "" || os.PathSeparator == '\\' {
		t.Skip("the folder can't be chosen here")
	}
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	if err := os.MkdirAll(filepath.Dir(SettingsFile()), 0o700); err != nil {
		t.Fatal(err)
	}
}

// TestASettingsFileOfNotepadsCounts: some editors begin a file with a mark of its encoding, and end lines in two letters.
func TestASettingsFileOfNotepadsCounts(t *testing.T) {
	settingsFolder(t)
	if err := os.WriteFile(SettingsFile(), []byte("\xef\xbb\xbf{\r\n\"stopped\": true\r\n}\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := ReadSaved(); err != nil || !s.Stopped() {
		t.Errorf("%v %v", s, err)
	}
}

func TestWhatIsNoSettingsFileHangsNothing(t *testing.T) {
	settingsFolder(t)
	if err := os.Symlink("/dev/zero", SettingsFile()); err != nil {
		t.Skip(err)
	}
	done := make(chan error, 1)
	go func() { _, err := ReadSaved(); done <- err }()
	select {
	case err := <-done:
		if err == nil {
			t.Error("no error")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("it hangs")
	}
}

// TestWhatDoesNotChangeIsNotWritten: the file may be a link that something else keeps, or on a disk that is full.
func TestWhatDoesNotChangeIsNotWritten(t *testing.T) {
	home := ownHome(t)
	p := openIn(t, home)
	defer p.Close()
	p.Prepare(t.Context(), Life{Quit: func() {}})
	p.service.SetPort(0)
	kept := filepath.Join(home, "kept.json")
	const text = `{"model":"gpt-5.5", "port": 9999}`
	if err := os.WriteFile(kept, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(ConfigFolder(), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(kept, SettingsFile()); err != nil {
		t.Skip(err)
	}
	defer p.service.Stop()
	if err := p.Start(0); err != nil {
		t.Errorf("it was started, and says %v", err)
	}
	if raw, _ := os.ReadFile(kept); string(raw) != text {
		t.Errorf("it was written anew: %s", raw)
	}
	if err := p.change(func(s Saved) { s["model"] = "gpt-5.6" }); !errors.Is(err, atomicfile.ErrLink) {
		t.Errorf("a change gives %v", err)
	}
}
