package history

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestSumsAddUpWhicheverWayTheyAreTold(t *testing.T) {
	s := open(t, Options{})
	monday := time.Date(2026, 11, 16, 0, 0, 0, 0, time.Local)
	for day := range 10 {
		for n := range 20 {
			r := sample
			r.Time = monday.AddDate(0, 0, day).Add(time.Duration(n) * time.Hour)
			r.FirstWord = time.Duration(n+1) * 100 * time.Millisecond
			if n%4 == 0 {
				r.Client = "Zed"
			}
			if n == 3 {
				r.Status, r.Code = 502, "upstream_cut"
			}
			s.Add(r)
		}
	}
	flush(t, s)
	for by, rows := range map[By]int{ByHour: 200, ByDay: 10, ByWeek: 2, ByClient: 2, ByModel: 1} {
		u, err := s.Usage(t.Context(), UsageQuery{By: by})
		if err != nil {
			t.Fatal(err)
		}
		if len(u.Rows) != rows || u.Total.Requests != 200 || u.Total.Errors != 10 || u.Total.Input != 200*31_402 || u.Total.Cached != 200*30_000 || u.Total.Output != 200*412 || u.Total.Reasoning != 200*100 {
			t.Errorf("by %s: %d rows, total %+v", by, len(u.Rows), u.Total)
		}
		var requests int64
		for _, r := range u.Rows {
			requests += r.Requests
		}
		if requests != 200 {
			t.Errorf("by %s: the rows have %d requests", by, requests)
		}
		if near(u.Total.Median, time.Second) > 0.05 || near(u.Total.Slowest, 1900*time.Millisecond) > 0.05 {
			t.Errorf("by %s: median %v, 95%% %v", by, u.Total.Median, u.Total.Slowest)
		}
	}
	u, err := s.Usage(t.Context(), UsageQuery{By: ByDay, Split: ByClient, Since: monday.AddDate(0, 0, 8)})
	if err != nil || len(u.Rows) != 4 || len(u.Names) != 2 || u.Names[0].Name != "Claude Code" || u.Names[1].Requests != 10 || u.Total.Requests != 40 {
		t.Errorf("split by client since Tuesday: %+v, %v", u, err)
	}
	if u.Rows[0].Time != monday.AddDate(0, 0, 8) || u.Rows[0].Name != "Claude Code" {
		t.Errorf("the first row is %+v", u.Rows[0])
	}
	week, err := s.Usage(t.Context(), UsageQuery{By: ByWeek})
	if err != nil || week.Rows[0].Time != monday || week.Rows[1].Time != monday.AddDate(0, 0, 7) {
		t.Errorf("weeks begin at %v", week.Rows)
	}
}

func near(got, want time.Duration) float64 { return (got - want).Abs().Seconds() / want.Seconds() }

func TestSumsOutliveTheRows(t *testing.T) {
	s := open(t, Options{Keep: 24 * time.Hour, KeepSums: 10 * 24 * time.Hour})
	for day := range 20 {
		r := sample
		r.Time = time.Now().Add(-time.Duration(day) * 25 * time.Hour) // clear of the limits
		s.Add(r)
	}
	flush(t, s)
	if found := requests(t, s, Filter{}); len(found) != 1 {
		t.Errorf("%d rows are kept, want 1", len(found))
	}
	u, err := s.Usage(t.Context(), UsageQuery{By: ByDay})
	if err != nil || u.Total.Requests != 10 || u.Total.Median == 0 {
		t.Errorf("sums have %d requests, want 10 (%v)", u.Total.Requests, err)
	}
}

func TestTheFileStaysWithinItsBytes(t *testing.T) {
	const most = 512 << 10
	s := open(t, Options{MaxBytes: most})
	for range 12_000 {
		for len(s.queue) > queueLength/2 {
			flush(t, s)
		}
		s.Add(sample)
	}
	flush(t, s)
	size, err := s.w.size()
	if err != nil || size > most+most/4 {
		t.Errorf("%d bytes are in use (%v)", size, err)
	}
	found := requests(t, s, Filter{})
	u, err := s.Usage(t.Context(), UsageQuery{By: ByDay})
	if err != nil || u.Total.Requests != 12_000 || len(found) < 1000 || len(found) >= 12_000 || found[0].ID != 12_000 {
		t.Errorf("%d rows, %d in the sums (%v)", len(found), u.Total.Requests, err)
	}
}

func TestUsageIsPrintedForPeopleAndPrograms(t *testing.T) {
	u := Usage{By: ByClient, Rows: []Sum{
		{Name: "Claude Code", Requests: 1200, Errors: 2, Input: 31_000_000, Cached: 28_000_000, Output: 188_000, Median: 900 * time.Millisecond, Slowest: 2100 * time.Millisecond},
		{Name: "=cmd", Requests: 1},
	}, Total: Sum{Requests: 1201, Errors: 2, Input: 31_000_000, Cached: 28_000_000, Output: 188_000, Median: 900 * time.Millisecond, Slowest: 2100 * time.Millisecond}}
	var out bytes.Buffer
	if err := u.Write(&out, Text); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	if len(lines) != 4 || strings.Join(strings.Fields(lines[1]), " ") != "Claude Code 1,200 2 31,000,000 90% 188,000 0.9 s 2.1 s" || !strings.Contains(lines[3], "all") {
		t.Errorf("printed\n%s", out.String())
	}
	out.Reset()
	if err := u.Write(&out, CSV); err != nil || !strings.Contains(out.String(), "Claude Code,1200,2,31000000,28000000,188000,0,900,2100\n'=cmd,1,") {
		t.Errorf("CSV is %s (%v)", out.String(), err)
	}
	out.Reset()
	var back map[string]any
	if err := u.Write(&out, JSON); err != nil || json.Unmarshal(out.Bytes(), &back) != nil || back["total"].(map[string]any)["requests"] != 1201.0 {
		t.Errorf("JSON is %s (%v)", out.String(), err)
	}
	out.Reset()
	if err := (Usage{By: ByDay}).Write(&out, Text); err != nil || out.String() != "No requests in this time.\n" {
		t.Errorf("nothing is printed as %q", out.String())
	}
}

func TestSinceIsReadAsPeopleWriteIt(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"24h": 24 * time.Hour, "7d": 168 * time.Hour, "2w": 336 * time.Hour, "90m": 90 * time.Minute} {
		if got, err := ParseSince(text, now); err != nil || now.Sub(got) != want {
			t.Errorf("%s is %v ago (%v)", text, now.Sub(got), err)
		}
	}
	for _, text := range []string{"", "d", "7", "-7d", "0h", "7y", "7 d", "99999999d"} {
		if got, err := ParseSince(text, now); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func TestWindowsAreKeptWhenTheyChange(t *testing.T) {
	s := open(t, Options{})
	begin := time.Now().Add(-3 * time.Hour).Truncate(time.Second)
	resets := begin.Add(5 * time.Hour)
	for minute := range 120 {
		s.AddWindows([]Window{{"5-hour", begin.Add(time.Duration(minute) * time.Minute), float64(minute / 30), resets}})
		flush(t, s)
	}
	found, err := s.Windows(t.Context(), begin)
	if err != nil || len(found) != 4 || found[3].Used != 3 || !found[3].ResetsAt.Equal(resets) {
		t.Errorf("kept %v (%v)", found, err)
	}
}

func TestForecastsAreWordsThatHold(t *testing.T) {
	now := time.Date(2026, 11, 25, 14, 40, 0, 0, time.Local)
	resets := now.Add(4 * time.Hour)
	five := func(used float64) Window { return Window{Name: "5-hour", Used: used, ResetsAt: resets} }
	earlier := func(ago time.Duration, used float64) []Window {
		return []Window{{"5-hour", now.Add(-ago), used, resets}}
	}
	for _, c := range []struct {
		name    string
		window  Window
		length  time.Duration
		earlier []Window
		want    string
	}{
		{"runs out", five(33.4), 5 * time.Hour, nil, "At this pace full at 16:39, 2 h before it resets at 18:40"},
		{"lasts", five(10), 5 * time.Hour, nil, "Resets 18:40. Enough at this pace"},
		{"was still for an hour", five(33.4), 5 * time.Hour, earlier(time.Hour, 33.4), "Resets 18:40"},
		{"samples of another window don't count", five(33.4), 5 * time.Hour, []Window{{"weekly", now.Add(-time.Hour), 33.4, resets}}, "At this pace full at 16:39, 2 h before it resets at 18:40"},
		{"samples before the reset don't count", five(33.4), 5 * time.Hour, []Window{{"5-hour", now.Add(-time.Hour), 80, now.Add(-time.Hour)}}, "At this pace full at 16:39, 2 h before it resets at 18:40"},
		{"full", five(100), 5 * time.Hour, nil, "Full until 18:40"},
		{"nothing used", five(0), 5 * time.Hour, nil, "Resets 18:40"},
		{"unknown length", five(33), 0, nil, "Resets 18:40"},
		{"too early to tell", Window{Used: 2, ResetsAt: now.Add(5*time.Hour - time.Minute)}, 5 * time.Hour, nil, "Resets 19:39"},
		{"a weekly one", Window{Name: "weekly", Used: 90, ResetsAt: now.Add(3 * 24 * time.Hour)}, 7 * 24 * time.Hour, nil, "At this pace full at 01:20, 3 days before it resets at Sat 28 Nov, 14:40"},
		{"over", Window{Used: 50, ResetsAt: now.Add(-time.Minute)}, time.Hour, nil, "It has reset since it was last told"},
		{"nothing known", Window{Used: 50}, time.Hour, nil, ""},
		{"a hair's pace", five(1e-12), 5 * time.Hour, nil, "Resets 18:40. Enough at this pace"},
	} {
		if got := Forecast(c.window, c.length, c.earlier, now); got.Text != c.want || got.Running != !got.FullAt.IsZero() {
			t.Errorf("%s: %+v, want %q", c.name, got, c.want)
		}
	}
}

// In Chile, among others, summer time begins at midnight: that day's first hour is its second.
func TestADayWithoutAMidnightIsTheDayThatItIs(t *testing.T) {
	for zone, noon := range map[string]time.Time{
		"America/Santiago": time.Date(2026, 9, 6, 12, 0, 0, 0, time.UTC),
		"Africa/Cairo":     time.Date(2026, 4, 24, 12, 0, 0, 0, time.UTC),
	} {
		there, err := time.LoadLocation(zone)
		if err != nil {
			t.Skip(err)
		}
		day := noon.In(there)
		if got := start(day, ByDay); got.Day() != day.Day() || got.Hour() != 1 {
			t.Errorf("%s: %v begins at %v", zone, day, got)
		}
		if got := start(day.AddDate(0, 0, 1), ByDay); got.Day() != day.Day()+1 || got.Hour() != 0 {
			t.Errorf("%s: the day after it begins at %v", zone, got)
		}
	}
}
