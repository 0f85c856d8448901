package tray

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// at is a time as people say it: the clock within a day, else the day.
func at(t, now time.Time) string {
	t, now = t.Local(), now.Local()
	if t.Sub(now) < 20*time.Hour {
		return t.Format("15:04")
	}
	return t.Format("Mon 2 Jan")
}

// InWords is a duration in its largest unit: "9 days", "3 hours", "2 minutes".
func InWords(d time.Duration) string {
	unit := func(n int, name string) string {
		if n != 1 {
			name += "s"
		}
		return fmt.Sprintf("%d %s", n, name)
	}
	switch minutes := int((d + time.Minute/2) / time.Minute); {
	case minutes >= 48*60:
		return unit(minutes/(24*60), "day")
	case minutes >= 2*60:
		return unit(minutes/60, "hour")
	default:
		return unit(max(minutes, 1), "minute")
	}
}

// capital begins text with a capital, as an error's text does not.
func capital(text string) string {
	r, n := utf8.DecodeRuneInString(text)
	return string(unicode.ToUpper(r)) + text[n:]
}

// barCells is how many cells a bar has.
const barCells = 5

// bar is a share as text: ▓▓▓░░.
func bar(percent float64) string {
	full := min(max(int(percent*barCells/100), 0), barCells) // rounded down: a full bar is a full limit
	if percent > 0 && full == 0 {
		full = 1
	}
	return strings.Repeat("▓", full) + strings.Repeat("░", barCells-full)
}

// short cuts text to at most n characters.
func short(text string, n int) string {
	if r := []rune(text); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return text
}
