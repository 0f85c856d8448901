// Package assets holds the program's pictures. `make icons` draws them from icon.svg.
package assets

import (
	"embed"
	"runtime"
)

//go:embed icons
var files embed.FS

// PNG is the icon of a state ("running", "stopped", "attention", "busy") in 64 pixels.
func PNG(state string) []byte { return read("icons/" + state + ".png") }

// Template is the icon in black, for the macOS menu bar, in 44 pixels.
func Template(state string) []byte { return read("icons/" + state + "-template.png") }

// Icon is the icon in the form that the system's panel takes: ICO with several sizes on Windows, else PNG.
func Icon(state string) []byte {
	if runtime.GOOS == "windows" {
		return read("icons/" + state + ".ico")
	}
	return PNG(state)
}

func read(name string) []byte {
	raw, err := files.ReadFile(name)
	if err != nil {
		panic(err) // the icons are part of the program
	}
	return raw
}
