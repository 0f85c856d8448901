package autostart

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/windows"
)

// TestWindowsReadsBackWhatItIsGiven: make test-windows runs this under wine.
func TestWindowsReadsBackWhatItIsGiven(t *testing.T) {
	for _, args := range [][]string{{"serve"}, {`--creds-path`, `C:\a b\`}, {`50% "x"`, ""}, {`\\server\share`, `a\"b`}} {
		e := Entry{Program: `C:\Program Files\Codex Proxy\codex-proxy.exe`, Args: args, System: "windows"}
		_, line, err := e.Login()
		if err != nil {
			t.Fatal(err)
		}
		words, err := windows.DecomposeCommandLine(string(line))
		if err != nil || !slices.Equal(words, append([]string{e.Program}, args...)) {
			t.Errorf("%q came back as %q %v", args, words, err)
		}
	}
}

func TestTheProgramWithTheIconStartsAtLogin(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"codex-proxy.exe", "codex-proxy-tray.exe"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	_, line, err := Entry{Program: filepath.Join(folder, "codex-proxy.exe"), System: "windows"}.Login()
	if err != nil || string(line) != windows.ComposeCommandLine([]string{filepath.Join(folder, "codex-proxy-tray.exe")}) {
		t.Errorf("%s %v", line, err)
	}
}
