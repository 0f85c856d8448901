package history

import (
	"fmt"
	"time"
)

// Outlook is what the pace of the last while means for a window of the plan.
type Outlook struct {
	Text    string    // for people, one or two short sentences
	FullAt  time.Time // zero unless it will be full before it resets
	Running bool      // whether it will be full before it resets
}

// Forecast tells when a window will be full if the pace stays, and whether that is before it resets. length is the
// window's, zero when unknown. earlier are samples of the same window, oldest first, as Store.Windows returns them. It is
// a pure function.
func Forecast(w Window, length time.Duration, earlier []Window, now time.Time) Outlook {
	resets := ""
	if !w.ResetsAt.IsZero() {
		if !w.ResetsAt.After(now) {
			return Outlook{Text: "It has reset since it was last told"}
		}
		resets = At(w.ResetsAt, now)
	}
	switch {
	case w.Used >= 100 && resets != "":
		return Outlook{Text: "Full until " + resets, FullAt: now, Running: true}
	case w.Used >= 100:
		return Outlook{Text: "Full", FullAt: now, Running: true}
	case resets == "":
		return Outlook{}
	}
	text := "Resets " + resets
	pace := pace(w, length, earlier, now)
	if pace <= 0 {
		return Outlook{Text: text}
	}
	left := time.Duration((100 - w.Used) / pace * float64(time.Hour))
	if left <= 0 || left >= w.ResetsAt.Sub(now) { // a tiny pace overflows to a negative time
		return Outlook{Text: text + ". Enough at this pace"}
	}
	full := now.Add(left)
	return Outlook{
		Text:    fmt.Sprintf("At this pace full at %s, %s before it resets at %s", At(full, now), short(w.ResetsAt.Sub(full)), resets),
		FullAt:  full,
		Running: true,
	}
}

// pace is how fast the window fills, in percent an hour: over its last fifth, if samples reach as far; else since it began.
func pace(w Window, length time.Duration, earlier []Window, now time.Time) float64 {
	if length <= 0 {
		return 0
	}
	began := w.ResetsAt.Add(-length)
	from, used := began, 0.0
	for _, sample := range earlier {
		same := sample.Name == w.Name && sample.ResetsAt.Sub(w.ResetsAt).Abs() < 5*time.Minute
		if same && !sample.Time.Before(began) && now.Sub(sample.Time) >= length/5 {
			from, used = sample.Time, sample.Used
		}
	}
	if now.Sub(from) < length/50 { // too early to tell
		return 0
	}
	return (w.Used - used) / now.Sub(from).Hours()
}

// At is a time as people say it: the clock within twenty hours, the day before it otherwise.
func At(t, now time.Time) string {
	t = t.Local()
	if t.Sub(now).Abs() < 20*time.Hour {
		return t.Format("15:04")
	}
	return t.Format("Mon 2 Jan, 15:04")
}

// short is a duration in its largest unit: "3 days", "2 h", "25 min".
func short(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Round(24*time.Hour)/(24*time.Hour)))
	case d >= 90*time.Minute:
		return fmt.Sprintf("%d h", int(d.Round(time.Hour)/time.Hour))
	}
	return fmt.Sprintf("%d min", max(1, int(d.Round(time.Minute)/time.Minute)))
}
