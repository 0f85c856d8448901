// Command bundle makes internal/page/dist from the sources in page, with the packages that npm put beside them. Run it
// from the root of the project: `make page`.
package main

import (
	"fmt"
	"os"

	"codex-proxy/internal/page/bundle/bundler"
)

func main() {
	files, err := bundler.Build("page")
	if err == nil {
		err = bundler.Write(files, "internal/page/dist")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, f := range files {
		fmt.Printf("%-14s %7d bytes\n", f.Name, len(f.Content))
	}
}
