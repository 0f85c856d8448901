package history

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// By is what sums are told by.
type By string

// The ways to sum up.
const (
	ByHour   By = "hour"
	ByDay    By = "day"
	ByWeek   By = "week" // from Monday
	ByClient By = "client"
	ByModel  By = "model"
)

// UsageQuery asks for sums.
type UsageQuery struct {
	By    By
	Split By        // ByClient or ByModel also splits the sums of each hour, day or week; else empty
	Since time.Time // the hour of this time is the first
	Until time.Time // the zero time for no end
}

// Sum is what some requests add up to.
type Sum struct {
	Time      time.Time // the start of the hour, day or week; zero for sums by name
	Name      string    // of the client or the model; empty when not told by it
	Requests  int64
	Errors    int64
	Input     int64 // tokens, with the cached ones
	Cached    int64
	Output    int64 // tokens, with those of reasoning
	Reasoning int64

	Median  time.Duration // to the first token, to within 5%; zero when none came
	Slowest time.Duration // the 95th percentile of the same

	words histogram
}

// CachedShare is how much of the input came from the cache, from 0 to 1.
func (s *Sum) CachedShare() float64 {
	if s.Input == 0 {
		return 0
	}
	return float64(s.Cached) / float64(s.Input)
}

// Usage is the answer to a UsageQuery.
type Usage struct {
	By    By    `json:"by"`
	Rows  []Sum `json:"rows"`  // by time, and then the largest first
	Names []Sum `json:"names"` // the whole span by name, the largest first; empty unless told or split by it
	Total Sum   `json:"total"`
}

// Usage sums the history up. It reads the hourly sums, which outlive the records.
func (s *Store) Usage(ctx context.Context, q UsageQuery) (Usage, error) {
	if q.By == ByClient || q.By == ByModel {
		q.Split = q.By
	}
	u := Usage{By: q.By, Rows: []Sum{}, Names: []Sum{}}
	rows, names := map[sumKey]*Sum{}, map[string]*Sum{}
	// touch calls add for each sum that an hour belongs to.
	touch := func(hour int64, client, model string, add func(*Sum)) {
		key := sumKey{at: start(time.Unix(hour, 0), q.By)}
		switch q.Split {
		case ByClient:
			key.name = client
		case ByModel:
			key.name = model
		}
		if rows[key] == nil {
			rows[key] = &Sum{Time: key.at, Name: key.name}
		}
		add(rows[key])
		if q.Split != "" {
			if names[key.name] == nil {
				names[key.name] = &Sum{Name: key.name}
			}
			add(names[key.name])
		}
		add(&u.Total)
	}
	from, to := hourOf(q.Since).Unix(), int64(1<<62)
	if !q.Until.IsZero() {
		to = q.Until.Unix()
	}
	found, err := s.query(ctx, "SELECT hour, client, model, requests, errors, input, cached, output, reasoning FROM hours WHERE hour >= ? AND hour < ?", from, to)
	if found == nil {
		return u, err
	}
	defer found.Close() //nolint:errcheck // Err tells
	for found.Next() {
		var hour int64
		var client, model string
		var n Sum
		if err := found.Scan(&hour, &client, &model, &n.Requests, &n.Errors, &n.Input, &n.Cached, &n.Output, &n.Reasoning); err != nil {
			return u, err
		}
		touch(hour, client, model, func(s *Sum) { s.add(n) })
	}
	if err := found.Err(); err != nil {
		return u, err
	}
	words, err := s.query(ctx, "SELECT hour, client, model, bucket, requests FROM first_words WHERE hour >= ? AND hour < ?", from, to)
	if words == nil {
		return u, err
	}
	defer words.Close() //nolint:errcheck // Err tells
	for words.Next() {
		var hour, requests int64
		var client, model string
		var at int
		if err := words.Scan(&hour, &client, &model, &at, &requests); err != nil {
			return u, err
		}
		touch(hour, client, model, func(s *Sum) { s.words.add(at, requests) })
	}
	if err := words.Err(); err != nil {
		return u, err
	}
	u.Rows, u.Names = sorted(rows), sorted(names)
	u.Total.finish()
	return u, nil
}

type sumKey struct {
	at   time.Time
	name string
}

func sorted[K comparable](sums map[K]*Sum) []Sum {
	list := make([]Sum, 0, len(sums))
	for _, s := range sums {
		s.finish()
		list = append(list, *s)
	}
	slices.SortFunc(list, func(a, b Sum) int {
		if c := a.Time.Compare(b.Time); c != 0 {
			return c
		}
		if a, b := a.Input+a.Output, b.Input+b.Output; a != b {
			return int(min(1, max(-1, b-a)))
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// start is where the hour, the day or the week of a time begins; the zero time when sums are told by name.
func start(t time.Time, by By) time.Time {
	day := t.Day()
	switch by {
	case ByHour:
		return t
	case ByDay:
	case ByWeek:
		day -= (int(t.Weekday()) + 6) % 7
	default:
		return time.Time{}
	}
	begin := time.Date(t.Year(), t.Month(), day, 0, 0, 0, 0, t.Location())
	if begin.Hour() == 23 { // there is no midnight when summer time begins at it
		begin = begin.Add(time.Hour)
	}
	return begin
}

func (s *Sum) add(n Sum) {
	s.Requests += n.Requests
	s.Errors += n.Errors
	s.Input += n.Input
	s.Cached += n.Cached
	s.Output += n.Output
	s.Reasoning += n.Reasoning
}

func (s *Sum) finish() { s.Median, s.Slowest = s.words.quantile(0.5), s.words.quantile(0.95) }

// histogram counts requests by bucket.
type histogram map[int]int64

func (h *histogram) add(at int, n int64) {
	if *h == nil {
		*h = histogram{}
	}
	(*h)[at] += n
}

func (h histogram) quantile(q float64) time.Duration {
	var all, seen int64
	buckets := make([]int, 0, len(h))
	for b, n := range h {
		buckets = append(buckets, b)
		all += n
	}
	slices.Sort(buckets)
	for _, b := range buckets {
		if seen += h[b]; float64(seen) >= q*float64(all) {
			return ofBucket(b)
		}
	}
	return 0
}

// MarshalJSON writes the sum with durations in milliseconds.
func (s Sum) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Time      time.Time `json:"time,omitzero"`
		Name      string    `json:"name,omitempty"`
		Requests  int64     `json:"requests"`
		Errors    int64     `json:"errors"`
		Input     int64     `json:"input_tokens"`
		Cached    int64     `json:"cached_tokens"`
		Output    int64     `json:"output_tokens"`
		Reasoning int64     `json:"reasoning_tokens"`
		Median    int64     `json:"first_token_median_ms"`
		Slowest   int64     `json:"first_token_p95_ms"`
	}{s.Time, s.Name, s.Requests, s.Errors, s.Input, s.Cached, s.Output, s.Reasoning, s.Median.Milliseconds(), s.Slowest.Milliseconds()})
}

// Windows returns how full the plan's windows were since a time, oldest first.
func (s *Store) Windows(ctx context.Context, since time.Time) ([]Window, error) {
	found := []Window{}
	rows, err := s.query(ctx, "SELECT name, time, used, resets FROM windows WHERE time >= ? ORDER BY time, name", since.Unix())
	if rows == nil {
		return found, err
	}
	defer rows.Close() //nolint:errcheck // Err tells
	for rows.Next() {
		var w Window
		var at, resets int64
		if err := rows.Scan(&w.Name, &at, &w.Used, &resets); err != nil {
			return found, err
		}
		w.Time, w.ResetsAt = fromUnix(at), fromUnix(resets)
		found = append(found, w)
	}
	return found, rows.Err()
}

// Write prints the sums: a table for people, or CSV or JSON. It is what `codex-proxy usage` prints.
func (u Usage) Write(w io.Writer, format Format) error {
	switch format {
	case JSON:
		out := json.NewEncoder(w)
		out.SetIndent("", "  ")
		return out.Encode(u)
	case CSV:
		out := csv.NewWriter(w)
		out.Write([]string{string(u.By), "requests", "errors", "input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "first_token_median_ms", "first_token_p95_ms"}) //nolint:errcheck // Error tells
		for _, s := range u.Rows {
			out.Write(append([]string{s.label(u.By, time.RFC3339)}, numbers(s.Requests, s.Errors, s.Input, s.Cached, s.Output, s.Reasoning, s.Median.Milliseconds(), s.Slowest.Milliseconds())...)) //nolint:errcheck // as above
		}
		out.Flush()
		return out.Error()
	}
	if u.Total.Requests == 0 {
		_, err := fmt.Fprintln(w, "No requests in this time.")
		return err
	}
	layout := map[By]string{ByHour: "Mon 2 Jan, 15:04", ByDay: "Mon 2 Jan", ByWeek: "Week of 2 Jan"}[u.By]
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(t, "%s\trequests\terrors\tin\tcached\tout\tfirst token\t95%%\t\n", u.By) //nolint:errcheck // Flush tells
	for _, s := range append(slices.Clone(u.Rows), u.Total) {
		name := s.label(u.By, layout)
		if s.Time.IsZero() && s.Name == "" {
			name = "all"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%.0f%%\t%s\t%s\t%s\t\n", name, thousands(s.Requests), thousands(s.Errors), thousands(s.Input), //nolint:errcheck // as above
			100*s.CachedShare(), thousands(s.Output), seconds(s.Median), seconds(s.Slowest))
	}
	return t.Flush()
}

func (s *Sum) label(by By, layout string) string {
	if by == ByClient || by == ByModel {
		if s.Name == "" {
			return "unknown"
		}
		return cell(s.Name)
	}
	return s.Time.Format(layout)
}

func numbers(list ...int64) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = strconv.FormatInt(n, 10)
	}
	return out
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int64) string {
	digits := strconv.FormatInt(n, 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func seconds(d time.Duration) string {
	if d == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// ParseSince turns "7d", "2w", "36h" or "90m" into the time that long before now.
func ParseSince(text string, now time.Time) (time.Time, error) {
	unit := map[string]time.Duration{"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	if len(text) > 1 {
		n, err := strconv.Atoi(text[:len(text)-1])
		if one := unit[text[len(text)-1:]]; err == nil && n > 0 && n < 10_000 && one > 0 {
			return now.Add(-time.Duration(n) * one), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is not a time such as 24h, 7d or 4w", text)
}
