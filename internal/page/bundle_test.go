package page

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"codex-proxy/internal/page/bundle/bundler"
)

func TestTheBundleIsWhatTheSourcesGive(t *testing.T) {
	sources := filepath.Join("..", "..", "page")
	if _, err := os.Stat(filepath.Join(sources, "node_modules", "uplot", "package.json")); err != nil {
		install := exec.Command("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent")
		install.Dir = sources
		if out, err := install.CombinedOutput(); err != nil {
			if os.Getenv("COUNTS") != "" { // make test
				t.Fatalf("page/node_modules can't be installed: %v %s", err, out)
			}
			t.Skipf("page/node_modules can't be installed: %v %s", err, out)
		}
	}
	made, err := bundler.Build(sources)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := files.ReadDir("dist")
	if err != nil || len(kept) != len(made) {
		t.Errorf("dist has %d files, the sources give %d (%v)", len(kept), len(made), err)
	}
	for _, f := range made {
		if raw, err := files.ReadFile("dist/" + f.Name); err != nil || !bytes.Equal(raw, f.Content) {
			t.Errorf("dist/%s is not what the sources give. Run `make page` (%v)", f.Name, err)
		}
	}
}
