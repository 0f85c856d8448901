package main

import (
	"encoding/json"
	"encoding/xml"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var platforms = []string{"linux-amd64.tar.gz", "linux-arm64.tar.gz", "windows-amd64.zip", "windows-arm64.zip", "windows-amd64-setup.exe", "windows-arm64-setup.exe", "macos.dmg", "macos-headless.tar.gz"}

// filled is a release of made-up files, with its manifests. They stay in $MANIFESTS, for the checks of their own tools.
func filled(t *testing.T, platforms []string) release {
	t.Helper()
	r := release{Version: "1.2.3", Date: "2026-11-20", Repository: "codex-proxy/codex-proxy", Line: `It says "hello" < all`, folder: t.TempDir()}
	if keep := os.Getenv("MANIFESTS"); keep != "" && len(platforms) == 8 {
		r.folder = keep
	}
	for _, p := range platforms {
		if err := os.WriteFile(filepath.Join(r.folder, r.file(p)), []byte(p), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	err := fs.WalkDir(templates, "templates", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return r.write(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEachManifestNamesItsFilesAndTheirSums(t *testing.T) {
	r := filled(t, platforms)
	for name, wants := range map[string][]string{
		"manifests/Formula/codex-proxy.rb":                         {"linux-amd64.tar.gz", "linux-arm64.tar.gz", "macos-headless.tar.gz"},
		"manifests/Casks/codex-proxy.rb":                           {"macos.dmg"},
		"manifests/scoop/codex-proxy.json":                         {"windows-amd64.zip", "windows-arm64.zip"},
		"manifests/winget/CodexProxy.CodexProxy.installer.yaml":    {"windows-amd64-setup.exe", "windows-arm64-setup.exe"},
		"manifests/aur/PKGBUILD":                                   {"linux-amd64.tar.gz", "linux-arm64.tar.gz"},
		"manifests/nix/flake.nix":                                  {"linux-amd64.tar.gz", "linux-arm64.tar.gz"},
		"manifests/winget/CodexProxy.CodexProxy.locale.en-US.yaml": nil,
		"manifests/winget/CodexProxy.CodexProxy.yaml":              nil,
	} {
		raw, err := os.ReadFile(filepath.Join(r.folder, name))
		if err != nil {
			t.Error(err)
			continue
		}
		for _, platform := range wants {
			sum, err := r.Sum(platform)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(raw), r.Download(platform)) || !strings.Contains(string(raw), sum) {
				t.Errorf("%s lacks the address or the sum of %s", name, platform)
			}
		}
		if !strings.Contains(string(raw), "1.2.3") {
			t.Errorf("%s lacks the version", name)
		}
	}
	for _, name := range []string{"latest.json", "manifests/scoop/codex-proxy.json"} {
		raw, _ := os.ReadFile(filepath.Join(r.folder, name))
		var v struct{ Version, Line string }
		if err := json.Unmarshal(raw, &v); err != nil || v.Version != "1.2.3" {
			t.Errorf("%s: %v %s", name, err, raw)
		}
	}
}

func TestWithoutAMacThereIsNoCask(t *testing.T) {
	r := filled(t, platforms[:6])
	if _, err := os.Stat(filepath.Join(r.folder, "manifests/Casks/codex-proxy.rb")); err == nil {
		t.Error("there is a cask for a dmg that is not there")
	}
}

func TestTheLineIsTheFirstOfItsVersion(t *testing.T) {
	changes := "# Changelog\n\n## 2.0.0\n\n- Two.\n\n## 1.2.3 (2026-11-20)\n\n- One.\n- More.\n"
	for version, want := range map[string]string{"1.2.3": "One.", "2.0.0": "Two.", "3.0.0": ""} {
		if got := line(changes, version); got != want {
			t.Errorf("%s: %q", version, got)
		}
	}
}

func TestTheMacsPropertyListIsXML(t *testing.T) {
	raw, err := os.ReadFile("../macos/Info.plist")
	if err != nil {
		t.Fatal(err)
	}
	var list struct {
		Keys []string `xml:"dict>key"`
	}
	if err := xml.Unmarshal(raw, &list); err != nil || !slices.Contains(list.Keys, "LSUIElement") {
		t.Errorf("%v %v", list.Keys, err)
	}
}
