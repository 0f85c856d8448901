// Package bundler turns the sources of the page into the few files that the program carries.
package bundler

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// File is one of the bundle.
type File struct {
	Name    string
	Content []byte
}

// packages are those from npm that end up in the bundle.
var packages = []string{"preact", "uplot"}

// Build bundles the sources in a folder. It needs its node_modules, but not Node. The same sources give the same bytes.
func Build(folder string) ([]File, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	result := api.Build(api.BuildOptions{
		AbsWorkingDir: folder,
		EntryPointsAdvanced: []api.EntryPoint{
			{InputPath: "src/main.jsx", OutputPath: "app"},
			{InputPath: "src/style/app.css", OutputPath: "app"},
		},
		Outdir:            filepath.Join(folder, "dist"), // named, not written
		Bundle:            true,
		MinifyWhitespace:  true,
		MinifyIdentifiers: true,
		MinifySyntax:      true,
		Format:            api.FormatESModule,
		Target:            api.ES2022,
		Charset:           api.CharsetUTF8,
		JSX:               api.JSXAutomatic,
		JSXImportSource:   "preact",
		LegalComments:     api.LegalCommentsNone, // licenses.txt has them whole
		Banner:            map[string]string{"js": "// Made by `make page` from the sources in page/. Do not edit. Licenses: licenses.txt", "css": "/* Made by `make page` from the sources in page/. Do not edit. */"},
	})
	if len(result.Errors) > 0 {
		return nil, errors.New(strings.Join(api.FormatMessages(result.Errors, api.FormatMessagesOptions{}), "\n"))
	}
	var files []File
	for _, f := range result.OutputFiles {
		files = append(files, File{filepath.Base(f.Path), f.Contents})
	}
	drawing, err := os.ReadFile(filepath.Join(folder, "..", "assets", "icon.svg"))
	if err != nil {
		return nil, err
	}
	icon := stateless(string(drawing))
	var licenses strings.Builder
	for _, name := range packages {
		text, err := os.ReadFile(filepath.Join(folder, "node_modules", name, "LICENSE"))
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&licenses, "%s\n\n%s\n\n", name, strings.TrimSpace(string(text)))
	}
	return append(files, File{"icon.svg", []byte(icon)}, File{"licenses.txt", []byte(licenses.String())}), nil
}

// stateless is the program's icon without the marks of its states, each of which is a line of the drawing.
func stateless(svg string) string {
	lines := strings.SplitAfter(svg, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, `class="state`) }), "")
}

// Write puts the files into a folder.
func Write(files []File, folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(folder, f.Name), f.Content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
