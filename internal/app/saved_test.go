package app

import (
	"os"
	"path/filepath"
	"testing"
	"time"
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
