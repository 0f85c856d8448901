package connect

import (
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
