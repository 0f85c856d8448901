package connect

import (
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Diff is what a plan changes, as unified diffs; with the colours of a terminal if wanted.
func (p *Plan) Diff(colour bool) string {
	var b strings.Builder
	for _, c := range p.Changes {
		b.WriteString(c.Diff(colour))
	}
	return b.String()
}

// Diff is the change of one file as a unified diff; empty when there is none.
func (c Change) Diff(colour bool) string {
	from, to := c.Path, c.Path
	if c.Before == nil {
		from = "/dev/null"
	}
	if c.After == nil {
		to = "/dev/null"
	}
	show := strings.NewReplacer("\r\n", "\n", "\xef\xbb\xbf", "")
	text := udiff.Unified(from, to, show.Replace(string(c.Before)), show.Replace(string(c.After)))
	if !colour {
		return text
	}
	var b strings.Builder
	for line := range strings.Lines(text) {
		code := ""
		switch {
		case strings.HasPrefix(line, "+++") || strings.HasPrefix(line, "---"):
			code = "\x1b[1m"
		case line[0] == '+':
			code = "\x1b[32m"
		case line[0] == '-':
			code = "\x1b[31m"
		case line[0] == '@':
			code = "\x1b[36m"
		}
		if code == "" {
			b.WriteString(line)
			continue
		}
		b.WriteString(code + strings.TrimSuffix(line, "\n") + "\x1b[0m\n")
	}
	return b.String()
}

// Print is what to paste by hand into a tool's settings, file by file, where there are none yet. Empty for a tool that
// has no file.
func Print(tool Tool, target Target) string {
	if tool.files == nil {
		return ""
	}
	var b strings.Builder
	for i, file := range tool.files(System{Getenv: func(string) string { return "" }}) {
		sets := file.sets
		if i == 0 {
			sets = slices.Concat(tool.head, sets)
		}
		text, _, err := apply(formats[file.format], nil, target.fill(sets))
		if err != nil {
			continue // the table is ours: the tests would show it
		}
		if b.Len() > 0 {
			b.WriteString("\n")
		}
		b.Write(text)
	}
	return b.String()
}
