package history

import (
	"bufio"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestAFullDiskCostsTheHistoryOnly(t *testing.T) {
	told := make(chan string, 8)
	s := open(t, Options{OnProblem: func(p string) { told <- p }})
	s.Add(sample)
	flush(t, s)
	limit := func(pages int) {
		if err := s.do(t.Context(), func() error { return drain(s.w.db, fmt.Sprintf("PRAGMA max_page_count = %d", pages)) }); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // as many as there are
	for range 5000 {
		s.Add(sample) // comes back, whatever the disk says
	}
	if p := <-told; !strings.Contains(p, "disk is full") || !strings.Contains(p, "requests are answered") {
		t.Fatalf("told %q", p)
	}
	if s.Lost() == 0 {
		t.Error("records beyond the queue are not counted as lost")
	}
	limit(1 << 30)
	flush(t, s)
	if p := s.Problem(); p != "" {
		t.Errorf("still told: %q", p)
	}
	if found := requests(t, s, Filter{}); len(found) < queueLength {
		t.Errorf("%d records are kept of what waited", len(found))
	}
}

func TestADamagedFileIsPutAside(t *testing.T) {
	for name, damage := range map[string][]byte{"no database": []byte(strings.Repeat("This is a letter. ", 500)), "half a page": []byte("SQLite format 3\x00 and then nonsense")} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			if err := os.WriteFile(path, damage, 0o600); err != nil {
				t.Fatal(err)
			}
			told := make(chan string, 8)
			s := Open(path, Options{OnProblem: func(p string) { told <- p }})
			defer s.Close()
			if p := <-told; !strings.Contains(p, "damaged") || p != s.Problem() {
				t.Errorf("told %q and %q", p, s.Problem())
			}
			s.Add(sample)
			flush(t, s)
			if found := requests(t, s, Filter{}); len(found) != 1 {
				t.Errorf("%d records in the new file", len(found))
			}
			if kept, _ := os.ReadFile(path + ".damaged"); string(kept) != string(damage) {
				t.Error("what was there is not kept")
			}
			if err := s.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(path + ".damaged"); err == nil || s.Problem() != "" {
				t.Errorf("what was put aside outlives the deletion; told %q", s.Problem())
			}
		})
	}
}

func TestAFileDamagedWhileOpenIsPutAside(t *testing.T) {
	s := open(t, Options{})
	s.Add(sample)
	flush(t, s)
	if err := s.do(t.Context(), func() error { return s.w.compact("VACUUM") }); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := f.Stat()
	junk := make([]byte, info.Size())
	for i := range junk {
		junk[i] = byte(rand.IntN(256))
	}
	if _, err := f.WriteAt(junk, 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	s.do(t.Context(), func() error { return drain(s.w.db, "PRAGMA shrink_memory") }) //nolint:errcheck // forgets its cache
	s.Add(sample)
	flush(t, s)
	if !strings.Contains(s.Problem(), "damaged") {
		t.Errorf("told %q", s.Problem())
	}
	if n := s.Lost(); n > 0 {
		t.Errorf("%d are lost", n)
	}
}

// TestAFileDeletedWhileOpenIsBegunAnew: by hand, or by what cleans up. What is written to it would be gone, and nobody told.
func TestAFileDeletedWhileOpenIsBegunAnew(t *testing.T) {
	for _, all := range []bool{true, false} {
		s := open(t, Options{})
		s.Add(sample)
		s.Add(sample)
		flush(t, s)
		if found := requests(t, s, Filter{}); len(found) != 2 { // the page reads
			t.Fatalf("%d records", len(found))
		}
		if err := os.Remove(s.path); err != nil {
			t.Skip(err) // Windows keeps what is open
		}
		if all {
			os.Remove(s.path + "-wal") //nolint:errcheck // seen below
			os.Remove(s.path + "-shm") //nolint:errcheck // as above
		}
		s.Add(sample)
		flush(t, s)
		if found := requests(t, s, Filter{}); len(found) != 1 || s.Problem() != "" {
			t.Errorf("%d records, %q", len(found), s.Problem())
		}
	}
}

func TestAFolderThatCannotBeMadeIsToldAndTriedAgain(t *testing.T) {
	dir := t.TempDir()
	blocked := filepath.Join(dir, "state")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var told []string
	s := Open(filepath.Join(blocked, "history.db"), Options{OnProblem: func(problem string) { told = append(told, problem) }})
	defer s.Close()
	s.Add(sample)
	s.Flush(t.Context()) //nolint:errcheck // it fails
	if len(told) != 1 || told[0] != s.Problem() || !strings.HasPrefix(told[0], "The history is not kept") {
		t.Errorf("told %q", told)
	}
	if found := requests(t, s, Filter{}); len(found) > 0 {
		t.Error("something is found")
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	flush(t, s)
	if found := requests(t, s, Filter{}); len(found) != 1 || s.Problem() != "" {
		t.Errorf("%d records, %q", len(found), s.Problem())
	}
}

// TestAFileThatCantBeOpenedIsToldWithWhatToDo: a folder in its place, and one that belongs to somebody else.
func TestAFileThatCantBeOpenedIsToldWithWhatToDo(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, path string){
		"a folder": func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
		"nobody's": func(t *testing.T, path string) {
			if os.Getuid() == 0 || os.PathSeparator != '/' {
				t.Skip("who may do everything opens it")
			}
			if err := os.WriteFile(path, nil, 0); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "history.db")
			prepare(t, path)
			s := Open(path, Options{})
			defer s.Close()
			_, err := s.Usage(t.Context(), UsageQuery{By: ByDay})
			if err == nil || !strings.Contains(err.Error(), "history.db") || !strings.Contains(err.Error(), " away") {
				t.Errorf("read: %v", err)
			}
			if !strings.Contains(s.Problem(), "history.db") || !strings.Contains(s.Problem(), " away") {
				t.Errorf("written: %s", s.Problem())
			}
		})
	}
}

func TestANewerFileIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	newer := append(append([]string{}, migrations...), "CREATE TABLE later (x)")
	s := Open(path, Options{migrations: newer})
	s.Add(sample)
	s.Close()
	s = Open(path, Options{})
	defer s.Close()
	s.Add(sample)
	flush(t, s)
	if !strings.Contains(s.Problem(), "newer version") {
		t.Errorf("told %q", s.Problem())
	}
	if found := requests(t, s, Filter{}); len(found) != 1 {
		t.Errorf("%d records, want the one that was there", len(found))
	}
}

func TestAnOlderFileIsBroughtForward(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := Open(path, Options{})
	s.Add(sample)
	s.Close()
	newer := append(append([]string{}, migrations...), "CREATE TABLE later (x); INSERT INTO later SELECT count(*) FROM requests")
	for range 2 { // the second time there is nothing to do
		s = Open(path, Options{migrations: newer})
		var n, version int
		if err := s.w.db.QueryRow("SELECT x, (SELECT user_version FROM pragma_user_version) FROM later").Scan(&n, &version); err != nil || n != 1 || version != len(newer) {
			t.Errorf("%d rows were seen, version %d (%v)", n, version, err)
		}
		s.Close()
	}
}

// TestAFileOfTheFirstVersionKeepsItsRows: what it doesn't tell is not so.
func TestAFileOfTheFirstVersionKeepsItsRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := Open(path, Options{migrations: migrations[:1]})
	if _, err := s.w.db.Exec("INSERT INTO requests VALUES (1, ?, 'Zed', '', '', '', '', 200, 0, 0, 0, 0, 0, 0, '', '', '', '', 0)", sample.Time.UnixMilli()); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s = Open(path, Options{})
	defer s.Close()
	s.Add(sample)
	flush(t, s)
	if found := requests(t, s, Filter{}); len(found) != 2 || !found[0].Gone || found[1].Gone || found[1].Client != "Zed" {
		t.Errorf("found %+v", found)
	}
}

const killedEnv = "CODEX_PROXY_HISTORY_TO_KILL"

// beKilled adds records as fast as they come, and says of each when it was added.
func beKilled() {
	s := Open(os.Getenv(killedEnv), Options{})
	for i := int64(1); ; i++ {
		r := sample
		r.Time, r.OutputTokens = time.Now(), i
		s.Add(r)
		fmt.Printf("%d %d\n", i, time.Now().UnixMilli())
		time.Sleep(500 * time.Microsecond)
	}
}

func TestKillMinus9LosesTwoSecondsAtMostAndNeverTheFile(t *testing.T) {
	rounds := 4
	if n, err := strconv.Atoi(os.Getenv("KILL_ROUNDS")); err == nil {
		rounds = n
	} else if testing.Short() {
		rounds = 1
	}
	path := filepath.Join(t.TempDir(), "history.db")
	worst, most := time.Duration(0), int64(0)
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), killedEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		added := map[int64]int64{}
		var last int64
		var kill *time.Timer
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			var at int64
			if n, _ := fmt.Sscanf(lines.Text(), "%d %d", &last, &at); n == 2 {
				added[last] = at
			}
			if kill == nil { // it is open
				kill = time.AfterFunc(time.Duration(rand.IntN(2500))*time.Millisecond, func() { cmd.Process.Kill() }) //nolint:errcheck // it is ours
			}
		}
		err = cmd.Wait()
		if kill == nil {
			t.Fatalf("round %d: nothing was added: %v", round, err)
		}
		kill.Stop()
		killed := added[last]

		db, err := sql.Open("sqlite", dataSource(path, "rw"))
		if err != nil {
			t.Fatal(err)
		}
		var verdict string
		var rows, sums, kept int64
		if err := db.QueryRow("SELECT * FROM pragma_integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
			t.Fatalf("round %d: the file is not whole: %s %v", round, verdict, err)
		}
		err = db.QueryRow("SELECT (SELECT count(*) FROM requests), (SELECT coalesce(sum(requests), 0) FROM hours), (SELECT coalesce(max(output), 0) FROM requests)").Scan(&rows, &sums, &kept)
		if err != nil || rows != sums {
			t.Fatalf("round %d: %d rows, %d in the sums (%v)", round, rows, sums, err)
		}
		if kept < last {
			lost := time.Duration(killed-added[kept+1]) * time.Millisecond
			worst, most = max(worst, lost), max(most, last-kept)
			if lost > 2*time.Second {
				t.Errorf("round %d: %v are lost", round, lost)
			}
		}
		if _, err := db.Exec("DELETE FROM requests; DELETE FROM hours"); err != nil {
			t.Fatal(err)
		}
		db.Close()
	}
	t.Logf("%d rounds: at worst %v and %d records lost, never a broken file", rounds, worst, most)
}
