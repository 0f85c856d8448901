package page

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"codex-proxy/internal/history"
)

// withHistory keeps calls away that need a history when there is none.
func (p *Page) withHistory(next func(http.ResponseWriter, *http.Request, url.Values) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if p.config.History == nil {
			fail(w, http.StatusNotFound, "No history is kept.")
			return
		}
		if err := next(w, r, r.URL.Query()); err != nil {
			fail(w, http.StatusUnprocessableEntity, err.Error())
		}
	}
}

const mostRows = 1000

// serveRequests answers with a page of the history, the newest first.
func (p *Page) serveRequests(w http.ResponseWriter, r *http.Request, q url.Values) error {
	filter, err := p.filter(q)
	if err != nil {
		return err
	}
	most, err := strconv.Atoi(q.Get("most"))
	if err != nil || most < 1 || most > mostRows {
		most = mostRows
	}
	found, err := p.config.History.Requests(r.Context(), filter, most)
	if err != nil {
		return err
	}
	list := make([]*history.Record, len(found))
	for i := range found {
		list[i] = &found[i]
	}
	answer(w, map[string]any{"requests": list, "more": len(list) == most})
	return nil
}

func (p *Page) filter(q url.Values) (history.Filter, error) {
	f := history.Filter{Client: q.Get("client"), Model: q.Get("model"), Text: q.Get("text")}
	if failed, err := strconv.ParseBool(q.Get("failed")); err == nil {
		f.Failed = &failed
	}
	var err error
	if f.Since, err = p.time(q.Get("since")); err != nil {
		return f, err
	}
	if f.Until, err = p.time(q.Get("until")); err != nil {
		return f, err
	}
	f.Before, _ = strconv.ParseInt(q.Get("before"), 10, 64) //nolint:errcheck // 0 is from the newest
	f.After, _ = strconv.ParseInt(q.Get("after"), 10, 64)   //nolint:errcheck // 0 is to the oldest
	return f, nil
}

// time reads a time as RFC 3339 or as a span before now; nothing is the zero time.
func (p *Page) time(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	return history.ParseSince(text, p.config.Now())
}

func (p *Page) serveNames(w http.ResponseWriter, r *http.Request, _ url.Values) error {
	clients, models, err := p.config.History.Names(r.Context())
	if err != nil {
		return err
	}
	answer(w, map[string][]string{"clients": clients, "models": models})
	return nil
}

func (p *Page) usage(r *http.Request, q url.Values) (history.Usage, error) {
	since, err := p.time(q.Get("since"))
	if err != nil {
		return history.Usage{}, err
	}
	query := history.UsageQuery{By: history.By(q.Get("by")), Split: history.By(q.Get("split")), Since: since}
	switch query.By {
	case history.ByHour, history.ByDay, history.ByWeek, history.ByClient, history.ByModel:
	default:
		return history.Usage{}, fmt.Errorf("sums are told by hour, day, week, client or model, not by %q", query.By)
	}
	return p.config.History.Usage(r.Context(), query)
}

func (p *Page) serveUsage(w http.ResponseWriter, r *http.Request, q url.Values) error {
	u, err := p.usage(r, q)
	if err != nil {
		return err
	}
	answer(w, u)
	return nil
}

func (p *Page) serveWindows(w http.ResponseWriter, r *http.Request, q url.Values) error {
	since, err := p.time(q.Get("since"))
	if err != nil {
		return err
	}
	found, err := p.config.History.Windows(r.Context(), since)
	if err != nil {
		return err
	}
	answer(w, found)
	return nil
}

// serveExport streams the chosen requests, or the sums, as a file.
func (p *Page) serveExport(w http.ResponseWriter, r *http.Request, q url.Values) error {
	format := history.Format(q.Get("format"))
	kind := map[history.Format]string{history.CSV: "text/csv; charset=utf-8", history.JSON: "application/json"}[format]
	if kind == "" {
		return fmt.Errorf("exports are csv or json, not %q", format)
	}
	if q.Get("what") == "usage" {
		u, err := p.usage(r, q)
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", kind)
		u.Write(w, format) //nolint:errcheck // the browser has gone
		return nil
	}
	filter, err := p.filter(q)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", kind)
	if err := p.config.History.Export(r.Context(), w, format, filter); err != nil {
		panic(http.ErrAbortHandler) // half a file must not look like a whole one
	}
	return nil
}
