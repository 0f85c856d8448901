package history

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// migrations bring a file forward, one step a version (PRAGMA user_version). A step that was released is never changed.
var migrations = []string{
	`CREATE TABLE requests (
		id INTEGER PRIMARY KEY AUTOINCREMENT,
		time INTEGER NOT NULL, -- milliseconds since 1970
		client TEXT NOT NULL, route TEXT NOT NULL, dialect TEXT NOT NULL, model TEXT NOT NULL, effort TEXT NOT NULL,
		status INTEGER NOT NULL, first_word INTEGER NOT NULL, duration INTEGER NOT NULL, -- milliseconds
		input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
		dropped TEXT NOT NULL, code TEXT NOT NULL, error TEXT NOT NULL, transport TEXT NOT NULL, turns INTEGER NOT NULL
	);
	CREATE INDEX requests_time ON requests (time);
	CREATE TABLE hours (
		hour INTEGER NOT NULL, -- its start in seconds since 1970, by the clock on the wall
		client TEXT NOT NULL, model TEXT NOT NULL,
		requests INTEGER NOT NULL, errors INTEGER NOT NULL,
		input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL, reasoning INTEGER NOT NULL,
		PRIMARY KEY (hour, client, model)
	) WITHOUT ROWID;
	CREATE TABLE first_words ( -- a histogram; see bucket
		hour INTEGER NOT NULL, client TEXT NOT NULL, model TEXT NOT NULL, bucket INTEGER NOT NULL, requests INTEGER NOT NULL,
		PRIMARY KEY (hour, client, model, bucket)
	) WITHOUT ROWID;
	CREATE TABLE windows (
		name TEXT NOT NULL, time INTEGER NOT NULL, used REAL NOT NULL, resets INTEGER NOT NULL,
		PRIMARY KEY (name, time)
	) WITHOUT ROWID;`,
	`ALTER TABLE requests ADD COLUMN gone INTEGER NOT NULL DEFAULT 0`,
}

var (
	errClosed = errors.New("the history is closed")
	errNewer  = errors.New("it was written by a newer version of Codex Proxy. Update the program, or move history.db away")
)

// dataSource is the address of the file for the driver.
func dataSource(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_txlock": {"immediate"}}
	for _, p := range append([]string{"busy_timeout(2000)", "cache_size(-512)"}, pragmas...) {
		q.Add("_pragma", p)
	}
	return (&url.URL{Scheme: "file", OmitHost: true, Path: filepath.ToSlash(path), RawQuery: q.Encode()}).String()
}

const readersIdle = 1 // connections that are kept for the next question

// openReader returns a pool that opens nothing before it is asked, and that is empty again a little later.
func openReader(path string) *sql.DB {
	db, err := sql.Open("sqlite", dataSource(path, "ro", "query_only(1)"))
	if err != nil {
		panic(err) // the driver is linked in, and opening lazily can't fail otherwise
	}
	db.SetMaxOpenConns(2)
	db.SetMaxIdleConns(readersIdle)
	db.SetConnMaxIdleTime(30 * time.Second)
	return db
}

// openFile opens the file for writing, makes it when it is missing, and brings it forward.
func openFile(path string, steps []string) (*sql.DB, error) {
	if err := claim(path); err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", dataSource(path, "rw", "auto_vacuum(2)", "journal_mode(wal)", "synchronous(normal)", "journal_size_limit(4194304)"))
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	if err := migrate(db, steps); err != nil {
		db.Close() //nolint:errcheck // the first error tells more
		return nil, err
	}
	return db, nil
}

// claim makes sure that there is a regular file that only the user reads. SQLite gives its mode to the files beside it.
func claim(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return notFile(path)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return os.Chmod(path, 0o600)
	}
	return nil
}

// notFile is that something else than a file is in the history's place.
func notFile(path string) error {
	return fmt.Errorf("%s is not a file of its own. Move history.db away, and a new one is begun", path)
}

func migrate(db *sql.DB, steps []string) error {
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version > len(steps) {
		return errNewer
	}
	for ; version < len(steps); version++ {
		tx, err := db.BeginTx(context.Background(), nil)
		if err != nil {
			return err
		}
		defer tx.Rollback() //nolint:errcheck // nothing to take back after a commit
		var now int         // another program may have been faster
		if err := tx.QueryRow("PRAGMA user_version").Scan(&now); err != nil {
			return err
		}
		if now == version {
			if _, err := tx.Exec(steps[version]); err != nil {
				return err
			}
			if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", version+1)); err != nil {
				return err
			}
		}
		if err := tx.Commit(); err != nil {
			return err
		}
	}
	return nil
}

// damaged reports whether the file is not, or no longer, a database.
func damaged(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_CORRUPT || e.Code()&0xff == sqlite3.SQLITE_NOTADB)
}

// reason says what an error means for people.
func reason(err error) string {
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL:
			return "the disk is full"
		case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM:
			return "its file can't be opened, or not be written. Make history.db and its folder yours, or move it away"
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
			return "another program holds its file"
		case sqlite3.SQLITE_IOERR:
			return "the disk reports an error"
		}
	}
	return err.Error()
}
