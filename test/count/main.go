// Command count runs a command that prints the events of `go test -json`, shows what people want to see of them, and
// adds "PASSED FAILED SKIPPED" to the file that $COUNTS names. It ends with the command's exit code.
//
//	count go test -json ./...
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
)

// event is one of test2json. Source: go doc test2json.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64 // seconds
}

func main() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...) //nolint:gosec // that is what it is for
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "count:", err)
		os.Exit(1)
	}
	c := count(out, os.Stdout)
	err = cmd.Wait()
	if file := os.Getenv("COUNTS"); file != "" {
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			fmt.Fprintln(f, c.passed, c.failed, c.skipped)
			f.Close()
		}
	} else {
		fmt.Printf("%d passed, %d failed, %d skipped\n", c.passed, c.failed, c.skipped)
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		os.Exit(1)
	}
}

type counts struct{ passed, failed, skipped int }

// count reads events until their end. What passes is a line a package; what fails is shown whole.
func count(in io.Reader, show io.Writer) (c counts) {
	said := map[string]*strings.Builder{} // by test, until it ends
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadBytes('\n')
		var e event
		if len(line) > 0 && json.Unmarshal(line, &e) != nil {
			show.Write(line) //nolint:errcheck // the terminal
		}
		name := e.Package + " " + e.Test
		switch {
		case e.Action == "output" || e.Action == "build-output":
			if said[name] == nil {
				said[name] = &strings.Builder{}
			}
			said[name].WriteString(e.Output)
		case e.Action == "build-fail":
			fmt.Fprint(show, said[name])
		case e.Test == "" && e.Action == "pass":
			fmt.Fprintf(show, "ok    %s  %.1fs\n", e.Package, e.Elapsed)
			delete(said, name)
		case e.Action == "pass":
			c.passed++
			delete(said, name)
		case e.Test != "" && e.Action == "skip":
			c.skipped++
			delete(said, name)
		case e.Action == "fail":
			if e.Test != "" {
				c.failed++
			}
			if text := said[name]; text != nil {
				fmt.Fprint(show, text)
			}
			if e.Test == "" {
				fmt.Fprintf(show, "FAIL  %s\n", e.Package)
			}
		}
		if err != nil {
			return c
		}
	}
}
