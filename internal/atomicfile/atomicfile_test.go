package atomicfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestAWrittenFileIsPrivateAndWhole(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "file")
	for _, content := range []string{"first", "second, longer", "", "x"} {
		if err := Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, info, err := Read(path, 100)
		if err != nil || string(got) != content {
			t.Fatalf("%q, %v", got, err)
		}
		if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("mode %v", info.Mode())
		}
	}
	if info, _ := os.Stat(filepath.Dir(path)); runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("folder %v", info.Mode())
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestALinkIsNeitherWrittenThroughNorReplaced(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	if err := os.WriteFile(target, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if err := Write(link, []byte("ours")); !errors.Is(err, ErrLink) || !strings.HasSuffix(err.Error(), ". Put the file itself there") {
		t.Errorf("got %v", err)
	}
	if raw, _ := os.ReadFile(link); string(raw) != "theirs" {
		t.Errorf("it holds %q", raw)
	}
}

func TestAFailedWriteLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil { // a folder can't be replaced by a file
		t.Fatal(err)
	}
	if Write(path, []byte("x")) == nil {
		t.Fatal("no error")
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("left behind: %v", files)
	}
}

func TestReadersSeeTheOldOrTheNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	contents := [][]byte{bytes.Repeat([]byte("a"), 9000), bytes.Repeat([]byte("b"), 100)}
	if err := Write(path, contents[0]); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i := range 2 {
		wait.Go(func() {
			for range 50 {
				if err := Write(path, contents[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		if got, _, err := Read(path, 1<<20); err != nil || (!bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1])) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	wait.Wait()
}

func TestWhatIsNotASmallRegularFileIsRefusedAtOnce(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, make([]byte, 101), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]error{dir: ErrNotRegular, large: ErrTooLarge, filepath.Join(dir, "none"): os.ErrNotExist}
	if pipe := filepath.Join(dir, "pipe"); makePipe(pipe) == nil {
		cases[pipe] = ErrNotRegular
		cases[os.DevNull] = ErrNotRegular
	}
	for path, want := range cases {
		done := make(chan error, 1)
		go func() { _, _, err := Read(path, 100); done <- err }()
		select {
		case err := <-done:
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, not %v", path, err, want)
			}
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the reader hangs", path)
		}
	}
}

func TestAPathHasOneSpelling(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real")
	if err := os.Mkdir(real, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(real, filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	t.Chdir(dir)
	want := Canonical(filepath.Join(real, "not", "there"))
	for _, spelling := range []string{"link/not/there", "./real/../link/not//there", filepath.Join(dir, "link", "not", "there")} {
		if got := Canonical(spelling); got != want {
			t.Errorf("%s: %s, not %s", spelling, got, want)
		}
	}
}
