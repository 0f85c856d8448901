package history

import (
	"context"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
)

// Filter chooses records. The zero value chooses all.
type Filter struct {
	Client string
	Model  string
	Failed *bool     // only those that failed, or only those that did not
	Text   string    // in the client, the route, the model, the code or the error
	Since  time.Time // came in at this time or later
	Until  time.Time // came in before
	Before int64     // only with a smaller ID: the next page
	After  int64     // only with a greater ID: what is new
}

func (f Filter) where() (clause string, args []any) {
	var parts []string
	add := func(part string, arg ...any) {
		parts = append(parts, part)
		args = append(args, arg...)
	}
	if f.Client != "" {
		add("client = ?", f.Client)
	}
	if f.Model != "" {
		add("model = ?", f.Model)
	}
	if f.Failed != nil && *f.Failed {
		add("(status >= 400 OR code <> '')")
	} else if f.Failed != nil {
		add("status < 400 AND code = ''")
	}
	if f.Text != "" {
		like := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(f.Text) + "%"
		add(`(client LIKE ? ESCAPE '\' OR route LIKE ? ESCAPE '\' OR model LIKE ? ESCAPE '\' OR code LIKE ? ESCAPE '\' OR error LIKE ? ESCAPE '\')`, like, like, like, like, like)
	}
	if !f.Since.IsZero() {
		add("time >= ?", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		add("time < ?", f.Until.UnixMilli())
	}
	if f.Before > 0 {
		add("id < ?", f.Before)
	}
	if f.After > 0 {
		add("id > ?", f.After)
	}
	if len(parts) > 0 {
		clause = " WHERE " + strings.Join(parts, " AND ")
	}
	return clause, args
}

// Requests returns at most so many records, the newest first. For the next page, set Filter.Before to the last ID.
func (s *Store) Requests(ctx context.Context, f Filter, most int) ([]Record, error) {
	found := []Record{}
	err := s.each(ctx, f, most, func(r *Record) error {
		found = append(found, *r)
		return nil
	})
	return found, err
}

func (s *Store) each(ctx context.Context, f Filter, most int, yield func(*Record) error) error {
	where, args := f.where()
	rows, err := s.query(ctx, "SELECT id, time, client, route, dialect, model, effort, status, first_word, duration, input, cached, output, reasoning, dropped, code, error, transport, turns, gone FROM requests"+where+" ORDER BY id DESC LIMIT ?", append(args, most)...)
	if rows == nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // Err tells
	for rows.Next() {
		var r Record
		var at, first, took int64
		var dropped string
		if err := rows.Scan(&r.ID, &at, &r.Client, &r.Route, &r.Dialect, &r.Model, &r.Effort, &r.Status, &first, &took,
			&r.InputTokens, &r.CachedTokens, &r.OutputTokens, &r.ReasoningTokens, &dropped, &r.Code, &r.Error, &r.Transport, &r.Turns, &r.Gone); err != nil {
			return err
		}
		r.Time, r.FirstWord, r.Duration = time.UnixMilli(at), time.Duration(first)*time.Millisecond, time.Duration(took)*time.Millisecond
		if dropped != "" {
			r.Dropped = strings.Split(dropped, ", ")
		}
		if err := yield(&r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// query asks the file; where there is none yet, nothing is found: no rows and no error.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	info, err := os.Stat(s.path)
	if err != nil {
		return nil, nil
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the history can't be read: %w", notFile(s.path))
	}
	rows, err := s.read.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("the history can't be read: %s", reason(err))
	}
	return rows, nil
}

// Names returns the clients and the models of the history, for choosing from.
func (s *Store) Names(ctx context.Context) (clients, models []string, err error) {
	names := func(column string) (found []string, err error) {
		rows, err := s.query(ctx, "SELECT "+column+" FROM hours WHERE "+column+" <> '' GROUP BY "+column+" ORDER BY sum(requests) DESC LIMIT 100")
		if rows == nil {
			return nil, err
		}
		defer rows.Close() //nolint:errcheck // Err tells
		for rows.Next() {
			var name string
			if err := rows.Scan(&name); err != nil {
				return nil, err
			}
			found = append(found, name)
		}
		return found, rows.Err()
	}
	if clients, err = names("client"); err != nil {
		return nil, nil, err
	}
	models, err = names("model")
	return clients, models, err
}

// MarshalJSON writes the record with times in RFC 3339 and durations in milliseconds; what says nothing is left out.
func (r *Record) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		ID        int64     `json:"id"`
		Time      time.Time `json:"time"`
		Client    string    `json:"client"`
		Route     string    `json:"route"`
		Dialect   string    `json:"dialect,omitempty"`
		Model     string    `json:"model"`
		Effort    string    `json:"effort,omitempty"`
		Status    int       `json:"status"`
		FirstWord int64     `json:"first_token_ms,omitempty"`
		Duration  int64     `json:"duration_ms"`
		Input     int64     `json:"input_tokens"`
		Cached    int64     `json:"cached_tokens"`
		Output    int64     `json:"output_tokens"`
		Reasoning int64     `json:"reasoning_tokens"`
		Dropped   []string  `json:"dropped,omitempty"`
		Code      string    `json:"error_code,omitempty"`
		Error     string    `json:"error,omitempty"`
		Transport string    `json:"transport,omitempty"`
		Turns     int       `json:"turns,omitempty"`
		Gone      bool      `json:"gone,omitempty"`
	}{r.ID, r.Time, r.Client, r.Route, r.Dialect, r.Model, r.Effort, r.Status, r.FirstWord.Milliseconds(), r.Duration.Milliseconds(),
		r.InputTokens, r.CachedTokens, r.OutputTokens, r.ReasoningTokens, r.Dropped, r.Code, r.Error, r.Transport, r.Turns, r.Gone})
}

// Format is how something is written out.
type Format string

// The formats. Text is for people, and for Usage only.
const (
	Text Format = "text"
	CSV  Format = "csv"
	JSON Format = "json"
)

// Export writes the chosen records to w, the newest first, one after the other: it holds one at a time.
func (s *Store) Export(ctx context.Context, w io.Writer, format Format, f Filter) error {
	const all = -1
	if format == JSON {
		separator := "[\n"
		if err := s.each(ctx, f, all, func(r *Record) error {
			raw, err := r.MarshalJSON()
			if err != nil {
				return err
			}
			_, err = io.WriteString(w, separator+string(raw))
			separator = ",\n"
			return err
		}); err != nil {
			return err
		}
		if separator == "[\n" {
			_, err := io.WriteString(w, "[]\n")
			return err
		}
		_, err := io.WriteString(w, "\n]\n")
		return err
	}
	out := csv.NewWriter(w)
	if err := out.Write([]string{"id", "time", "client", "route", "dialect", "model", "effort", "status", "first_token_ms", "duration_ms",
		"input_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "dropped", "error_code", "error", "transport", "turns", "gone"}); err != nil {
		return err
	}
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	if err := s.each(ctx, f, all, func(r *Record) error {
		return out.Write([]string{number(r.ID), r.Time.Format(time.RFC3339Nano), cell(r.Client), cell(r.Route), cell(r.Dialect), cell(r.Model), cell(r.Effort),
			strconv.Itoa(r.Status), number(r.FirstWord.Milliseconds()), number(r.Duration.Milliseconds()),
			number(r.InputTokens), number(r.CachedTokens), number(r.OutputTokens), number(r.ReasoningTokens),
			cell(strings.Join(r.Dropped, ", ")), cell(r.Code), cell(r.Error), cell(r.Transport), strconv.Itoa(r.Turns), strconv.FormatBool(r.Gone)})
	}); err != nil {
		return err
	}
	out.Flush()
	return out.Error()
}

// cell keeps a spreadsheet from running a client's name as a formula.
// Source: OWASP, CSV Injection.
func cell(s string) string {
	if s != "" && strings.ContainsRune("=+-@\t\r", rune(s[0])) {
		return "'" + s
	}
	return s
}
