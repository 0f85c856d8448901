package connect

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"codex-proxy/internal/atomicfile"
)

// readFile returns a settings file, where it really is, and its mode. text is nil when there is none.
func readFile(path string) (text []byte, real string, mode fs.FileMode, err error) {
	real = path
	if info, e := os.Lstat(path); e == nil && info.Mode()&fs.ModeSymlink != 0 {
		if real, err = filepath.EvalSymlinks(path); err != nil {
			return nil, "", 0, errors.New("it is a link that leads nowhere. Mend it first")
		}
	} else if folder, e := filepath.EvalSymlinks(filepath.Dir(path)); e == nil {
		real = filepath.Join(folder, filepath.Base(path))
	}
	text, info, err := atomicfile.Read(real, largest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, real, 0o600, nil
	}
	if err != nil {
		return nil, real, 0, atomicfile.Explain(err)
	}
	if info.Mode().Perm()&0o200 == 0 {
		return nil, real, 0, fmt.Errorf("it is read-only (%v)", info.Mode().Perm())
	}
	return nonNil(text), real, info.Mode().Perm(), nil
}

// besideName is the second file while one is written. It has one name, so that what a crash left is found.
func besideName(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".codex-proxy")
}

func removeStale(path string) { os.Remove(besideName(path)) } //nolint:errcheck // mostly there is none

// writeFile replaces a file, durably and as a whole, and keeps its mode.
func writeFile(path string, text []byte, mode fs.FileMode, at func(string)) error {
	at("create")
	f, err := atomicfile.Create(besideName(path))
	if err != nil {
		return err
	}
	at("write")
	if _, err = f.Write(text); err == nil {
		err = f.Chmod(mode)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		at("rename")
		err = atomicfile.Replace(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name()) //nolint:errcheck // the first error counts
		return err
	}
	at("renamed")
	return nil
}

// missingFolders are the folders of a path that are not there, the outermost first.
func missingFolders(path string) (out []string) {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(dir); err == nil || dir == filepath.Dir(dir) {
			break
		}
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}

// removeFolders removes those that are empty, the innermost first.
func removeFolders(folders []string) {
	for _, dir := range slices.Backward(folders) {
		if os.Remove(dir) != nil {
			return
		}
	}
}
