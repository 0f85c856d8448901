// Command manifests writes what package managers read of a release: its templates, filled with the version and the
// sums of the files in the release's folder. `make release` runs it.
package main

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed templates
var templates embed.FS

// release is what the templates know.
type release struct {
	Version    string
	Date       string // YYYY-MM-DD
	Repository string // owner/name on GitHub
	Line       string // what is new, in one line

	folder string
}

// Home is the project's page.
func (r release) Home() string { return "https://github.com/" + r.Repository }

// Download is where a file of the release will be.
func (r release) Download(platform string) string {
	return r.Home() + "/releases/download/v" + r.Version + "/" + r.file(platform)
}

func (r release) file(platform string) string { return "codex-proxy-" + r.Version + "-" + platform }

// Sum is the SHA-256 of a file of the release, in hex.
func (r release) Sum(platform string) (string, error) {
	raw, err := os.ReadFile(filepath.Join(r.folder, r.file(platform)))
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// Has reports whether a file is part of the release: the macOS ones are made elsewhere.
func (r release) Has(platform string) bool {
	_, err := os.Stat(filepath.Join(r.folder, r.file(platform)))
	return err == nil
}

// ArchVersion is the version as pacman takes it.
func (r release) ArchVersion() string { return strings.ReplaceAll(r.Version, "-", "_") }

// JSON is a value as JSON.
func (r release) JSON(v any) (string, error) {
	raw, err := json.Marshal(v)
	return string(raw), err
}

func main() {
	var r release
	flag.StringVar(&r.Version, "version", "", "without a v")
	flag.StringVar(&r.Date, "date", "", "YYYY-MM-DD")
	flag.StringVar(&r.Repository, "repository", "", "owner/name")
	flag.StringVar(&r.folder, "release", "", "folder of the release")
	changes := flag.String("changes", "CHANGELOG.md", "where the line about the version is")
	flag.Parse()
	raw, err := os.ReadFile(*changes)
	check(err)
	r.Line = line(string(raw), r.Version)
	check(fs.WalkDir(templates, "templates", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return r.write(path)
	}))
}

// write fills one template. One that fills to nothing, because what it is about is not there, makes no file.
func (r release) write(path string) error {
	t, err := template.ParseFS(templates, path)
	if err != nil {
		return err
	}
	var out strings.Builder
	if err := t.Option("missingkey=error").Execute(&out, r); err != nil {
		return err
	}
	if strings.TrimSpace(out.String()) == "" {
		return nil
	}
	name, _ := strings.CutPrefix(path, "templates/")
	target := filepath.Join(r.folder, strings.TrimSuffix(name, ".tmpl"))
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return err
	}
	return os.WriteFile(target, []byte(strings.TrimLeft(out.String(), "\n")), 0o644)
}

// line is the first entry of a version in the changelog, or of what is not released yet.
func line(changes, version string) string {
	under := false
	for text := range strings.Lines(changes) {
		text = strings.TrimSpace(text)
		if title, ok := strings.CutPrefix(text, "## "); ok {
			under = strings.HasPrefix(title, version) || strings.HasPrefix(title, "["+version) || title == "Unreleased"
		} else if entry, ok := strings.CutPrefix(text, "- "); ok && under {
			return entry
		}
	}
	return ""
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "manifests:", err)
		os.Exit(1)
	}
}
