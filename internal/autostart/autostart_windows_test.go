package autostart

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
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

// TestAVariableThatIsSetForTheUserNeedNotBeGiven: Windows gives it to a task, which takes none of its own; one that is set
// for the machine, too.
func TestAVariableThatIsSetForTheUserNeedNotBeGiven(t *testing.T) {
	set := func(root registry.Key, path, name, value string) {
		t.Helper()
		key, _, err := registry.CreateKey(root, path, registry.SET_VALUE)
		if err == nil {
			err = key.SetExpandStringValue(name, value)
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			key.DeleteValue(name) //nolint:errcheck // of a machine for tests
			key.Close()
		})
	}
	const name = "CODEX_PROXY_TEST_VARIABLE"
	expect := func(value string, want bool) {
		t.Helper()
		if setForUser(name, value) != want {
			t.Errorf("%s: %v", value, !want)
		}
	}
	expect("", false)
	set(registry.LOCAL_MACHINE, machineVariables, name, "9880")
	expect("9880", true)
	expect("9881", false)
	set(registry.CURRENT_USER, userVariables, name, `%SystemRoot%\ca.pem`) // which wins
	expect("9880", false)
	expect(os.Getenv("SystemRoot")+`\ca.pem`, true)
}
