// Command schemas holds winget's and scoop's manifests in a folder against JSON schemas, written down from the public
// documentation of both.
package main

import (
	"bytes"
	"embed"
	"fmt"
	"os"
	"path/filepath"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

//go:embed *.json
var schemas embed.FS

func main() {
	if len(os.Args) != 2 {
		fail("usage: schemas FOLDER")
	}
	for schema, file := range map[string]string{
		"scoop.json":            "scoop/codex-proxy.json",
		"winget-version.json":   "winget/CodexProxy.CodexProxy.yaml",
		"winget-locale.json":    "winget/CodexProxy.CodexProxy.locale.en-US.yaml",
		"winget-installer.json": "winget/CodexProxy.CodexProxy.installer.yaml",
	} {
		if err := check(schema, filepath.Join(os.Args[1], file)); err != nil {
			fail(fmt.Sprintf("%s: %v", file, err))
		}
	}
}

func check(schema, file string) error {
	raw, err := schemas.ReadFile(schema)
	if err != nil {
		return err
	}
	rules, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(schema, rules); err != nil {
		return err
	}
	compiled, err := compiler.Compile(schema)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil { // JSON is YAML, too
		return err
	}
	return compiled.Validate(v)
}

func fail(text string) {
	fmt.Fprintln(os.Stderr, "schemas:", text)
	os.Exit(1)
}
