package history

import (
	"database/sql"
	"errors"
	"math"
	"os"
	"strings"
	"time"
)

const (
	watchedDelay = 50 * time.Millisecond // before records are written while somebody looks
	retryAfter   = 5 * time.Second       // a write that failed
	pruneEvery   = time.Hour
)

// run writes what comes until Close. It sleeps while nothing comes.
func (s *Store) run() {
	defer close(s.stopped)
	var batch []Record
	var windows []Window
	var timer *time.Timer
	var due <-chan time.Time
	wake := func(in time.Duration) {
		if timer != nil {
			timer.Stop()
		}
		timer = time.NewTimer(in)
		due = timer.C
	}
	flush := func() {
		due = nil
		if len(batch)+len(windows) == 0 {
			return
		}
		newest, err := s.w.write(batch, windows)
		if err != nil {
			s.note(notKept(err))
			wake(retryAfter)
			return
		}
		s.note(s.w.setAside)
		if len(batch) > 0 {
			s.tell(newest)
		}
		clear(batch)
		batch, windows = batch[:0], nil
	}
	for {
		queue := s.queue
		if len(batch) >= batchLength { // could not be written yet
			queue = nil
		}
		select {
		case r := <-queue:
			batch = append(batch, r)
			if len(batch) >= batchLength {
				flush()
			} else if due == nil {
				delay := s.options.Delay
				if s.watched.Load() > 0 {
					delay = min(delay, watchedDelay)
				}
				wake(delay)
			}
		case w := <-s.windows:
			windows = append(windows, w...)
			windows = windows[max(0, len(windows)-64):]
			if due == nil {
				wake(s.options.Delay)
			}
		case <-due:
			flush()
		case job := <-s.jobs:
			for len(s.queue) > 0 && len(batch) < queueLength {
				batch = append(batch, <-s.queue)
			}
			flush()
			job()
		case <-s.stop:
			for len(s.queue) > 0 {
				batch = append(batch, <-s.queue)
			}
			for len(s.windows) > 0 {
				windows = append(windows, <-s.windows...)
			}
			flush()
			s.w.close()
			return
		}
	}
}

// writer is the file as the goroutine has it.
type writer struct {
	path    string
	options Options
	read    *sql.DB // where it is read

	db       *sql.DB // nil while it can't be opened
	setAside string  // says that a damaged file was put aside
	pruned   time.Time
	last     map[string]Window
}

// open opens the file; a damaged one is put aside. It returns what is wrong, for people.
func (w *writer) open() string {
	if err := w.tryOpen(); err != nil {
		return notKept(err)
	}
	return w.setAside
}

func notKept(err error) string {
	return "The history is not kept, while requests are answered as always: " + reason(err)
}

func (w *writer) tryOpen() error {
	if w.db != nil {
		return nil
	}
	db, err := openFile(w.path, w.options.migrations)
	if damaged(err) {
		if err := w.putAside(); err != nil {
			return err
		}
		db, err = openFile(w.path, w.options.migrations)
	}
	if err != nil {
		return err
	}
	w.db, w.last = db, map[string]Window{}
	w.read.SetMaxIdleConns(0) // what is open there is of the file before
	w.read.SetMaxIdleConns(readersIdle)
	return nil
}

// putAside moves a damaged file away, in place of one that was moved before.
func (w *writer) putAside() error {
	w.close()
	if err := os.Rename(w.path, w.path+".damaged"); err != nil {
		return err
	}
	os.Remove(w.path + "-wal") //nolint:errcheck // most often there is none
	os.Remove(w.path + "-shm") //nolint:errcheck // as above
	w.setAside = "The history's file was damaged: it is kept as history.db.damaged, and a new one was begun"
	return nil
}

func (w *writer) close() {
	if w.db != nil {
		w.db.Close() //nolint:errcheck // what was committed is there
		w.db = nil
	}
}

// write stores all or nothing, and returns the newest ID.
func (w *writer) write(batch []Record, windows []Window) (newest int64, err error) {
	if _, err := os.Lstat(w.path); errors.Is(err, os.ErrNotExist) {
		w.close() // somebody has deleted it, and what is written to it goes with it
	}
	if err := w.tryOpen(); err != nil {
		return 0, err
	}
	newest, err = w.transaction(batch, windows)
	if damaged(err) {
		if err := w.putAside(); err != nil {
			return 0, err
		}
		if err := w.tryOpen(); err != nil {
			return 0, err
		}
		newest, err = w.transaction(batch, windows)
	}
	if err != nil {
		return 0, err
	}
	size, err := w.size()
	if err != nil || size > w.options.MaxBytes || time.Since(w.pruned) > pruneEvery {
		if w.prune(time.Now()) == nil { // else it is tried again with the next records: these are kept
			w.pruned = time.Now()
		}
	}
	return newest, nil
}

func (w *writer) transaction(batch []Record, windows []Window) (newest int64, err error) {
	tx, err := w.db.Begin()
	if err != nil {
		return 0, err
	}
	defer tx.Rollback() //nolint:errcheck // nothing to take back after a commit
	if len(batch) > 0 {
		if newest, err = insert(tx, batch); err != nil {
			return 0, err
		}
	}
	last := map[string]Window{}
	for _, sample := range windows {
		before, known := last[sample.Name]
		if !known {
			before, known = w.last[sample.Name]
		}
		if known && !worthKeeping(before, sample) {
			continue
		}
		if _, err := tx.Exec("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)", sample.Name, sample.Time.Unix(), sample.Used, unix(sample.ResetsAt)); err != nil {
			return 0, err
		}
		last[sample.Name] = sample
	}
	if err := tx.Commit(); err != nil {
		return 0, err
	}
	for name, sample := range last {
		w.last[name] = sample
	}
	return newest, nil
}

// worthKeeping reports whether a sample tells something that the one before doesn't.
func worthKeeping(before, sample Window) bool {
	return math.Abs(before.Used-sample.Used) >= 0.5 || sample.Time.Sub(before.Time) >= time.Hour
}

func insert(tx *sql.Tx, batch []Record) (newest int64, err error) {
	row, err := tx.Prepare("INSERT INTO requests (time, client, route, dialect, model, effort, status, first_word, duration, input, cached, output, reasoning, dropped, code, error, transport, turns, gone) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
	if err != nil {
		return 0, err
	}
	defer row.Close() //nolint:errcheck // ends with the transaction
	hour, err := tx.Prepare(`INSERT INTO hours VALUES (?, ?, ?, 1, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET requests = requests + 1, errors = errors + excluded.errors,
		input = input + excluded.input, cached = cached + excluded.cached, output = output + excluded.output, reasoning = reasoning + excluded.reasoning`)
	if err != nil {
		return 0, err
	}
	defer hour.Close() //nolint:errcheck // as above
	word, err := tx.Prepare("INSERT INTO first_words VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET requests = requests + 1")
	if err != nil {
		return 0, err
	}
	defer word.Close() //nolint:errcheck // as above
	for i := range batch {
		r := &batch[i]
		result, err := row.Exec(r.Time.UnixMilli(), r.Client, r.Route, r.Dialect, r.Model, r.Effort, r.Status, r.FirstWord.Milliseconds(), r.Duration.Milliseconds(),
			r.InputTokens, r.CachedTokens, r.OutputTokens, r.ReasoningTokens, clip(strings.Join(r.Dropped, ", "), longestError), r.Code, r.Error, r.Transport, r.Turns, r.Gone)
		if err != nil {
			return 0, err
		}
		if newest, err = result.LastInsertId(); err != nil {
			return 0, err
		}
		failed := 0
		if r.Failed() {
			failed = 1
		}
		start := hourOf(r.Time).Unix()
		if _, err := hour.Exec(start, r.Client, r.Model, failed, r.InputTokens, r.CachedTokens, r.OutputTokens, r.ReasoningTokens); err != nil {
			return 0, err
		}
		if r.FirstWord > 0 {
			if _, err := word.Exec(start, r.Client, r.Model, bucket(r.FirstWord)); err != nil {
				return 0, err
			}
		}
	}
	return newest, nil
}

// prune deletes what is too old, and the oldest of what is too much.
func (w *writer) prune(now time.Time) error {
	for _, limit := range []struct {
		query string
		at    int64
	}{
		{"DELETE FROM requests WHERE time < ?", now.Add(-w.options.Keep).UnixMilli()},
		{"DELETE FROM hours WHERE hour < ?", now.Add(-w.options.KeepSums).Unix()},
		{"DELETE FROM first_words WHERE hour < ?", now.Add(-w.options.KeepSums).Unix()},
		{"DELETE FROM windows WHERE time < ?", now.Add(-w.options.KeepSums).Unix()},
	} {
		if _, err := w.db.Exec(limit.query, limit.at); err != nil {
			return err
		}
	}
	// A tenth of the rows at a time; the sums follow only when there are no rows left to give.
	for range 40 {
		size, err := w.size()
		if err != nil {
			return err
		}
		if size <= w.options.MaxBytes {
			break
		}
		result, err := w.db.Exec("DELETE FROM requests WHERE id <= (SELECT min(id) + (max(id) - min(id)) / 10 FROM requests)")
		if err != nil {
			return err
		}
		if n, err := result.RowsAffected(); err != nil || n > 0 {
			continue
		}
		for _, table := range []string{"hours", "first_words"} {
			if _, err := w.db.Exec("DELETE FROM " + table + " WHERE hour <= (SELECT min(hour) + (max(hour) - min(hour)) / 10 FROM " + table + ")"); err != nil {
				return err
			}
		}
	}
	return w.compact("PRAGMA incremental_vacuum")
}

// size is how much of the file is in use, in bytes.
func (w *writer) size() (int64, error) {
	var pages, free, each int64
	err := w.db.QueryRow("SELECT page_count, freelist_count, page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size").Scan(&pages, &free, &each)
	return (pages - free) * each, err
}

// erase deletes everything, from the file's free space too.
func (w *writer) erase() error {
	if err := w.tryOpen(); err != nil {
		return err
	}
	for _, table := range []string{"requests", "hours", "first_words", "windows"} {
		if _, err := w.db.Exec("DELETE FROM " + table); err != nil {
			return err
		}
	}
	clear(w.last)
	if err := os.Remove(w.path + ".damaged"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	w.setAside = ""
	return w.compact("VACUUM")
}

// compact gives free pages back to the disk, by a statement that says how.
func (w *writer) compact(how string) error {
	if err := drain(w.db, how); err != nil {
		return err
	}
	return drain(w.db, "PRAGMA wal_checkpoint(TRUNCATE)")
}

// drain runs a statement that answers with rows, to its end.
func drain(db *sql.DB, query string) error {
	rows, err := db.Query(query)
	if err != nil {
		return err
	}
	for rows.Next() {
	}
	return rows.Err()
}

// hourOf is the start of a time's hour by the clock on the wall, which in some places is not one of UTC.
func hourOf(t time.Time) time.Time {
	t = t.Local()
	return t.Add(-time.Duration(t.Minute())*time.Minute - time.Duration(t.Second())*time.Second - time.Duration(t.Nanosecond()))
}

// bucketsAnOctave makes a bucket of the histogram 4.4% wide.
const bucketsAnOctave = 16

// bucket is the place of a duration in the histogram.
func bucket(d time.Duration) int {
	return int(math.Round(bucketsAnOctave * math.Log2(max(1, float64(d)/float64(time.Millisecond)))))
}

// ofBucket is the middle of a bucket.
func ofBucket(b int) time.Duration {
	return time.Duration(math.Exp2(float64(b)/bucketsAnOctave) * float64(time.Millisecond)).Round(time.Millisecond)
}

// unix is zero for the zero time.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

func fromUnix(s int64) time.Time {
	if s == 0 {
		return time.Time{}
	}
	return time.Unix(s, 0)
}
