package history

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(killedEnv) != "" {
		beKilled()
		return
	}
	goleak.VerifyTestMain(m)
}

func open(t *testing.T, options Options) *Store {
	t.Helper()
	s := Open(filepath.Join(t.TempDir(), "state", "history.db"), options)
	t.Cleanup(s.Close)
	return s
}

func flush(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func requests(t *testing.T, s *Store, f Filter) []Record {
	t.Helper()
	found, err := s.Requests(t.Context(), f, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

var sample = Record{
	Time: time.Now().Add(-time.Minute).Truncate(time.Millisecond), Client: "Claude Code", Route: "/v1/messages", Dialect: "anthropic", Model: "gpt-5.5", Effort: "high",
	Status: 200, FirstWord: 900 * time.Millisecond, Duration: 12 * time.Second,
	InputTokens: 31_402, CachedTokens: 30_000, OutputTokens: 412, ReasoningTokens: 100,
	Dropped: []string{"temperature", "top_p"}, Code: "", Error: "", Transport: "POST", Turns: 1, Gone: true,
}

func TestARecordIsReadBackAsItWas(t *testing.T) {
	s := open(t, Options{})
	s.Add(sample)
	flush(t, s)
	found := requests(t, s, Filter{})
	want := sample
	want.ID = 1
	if len(found) != 1 || fmt.Sprint(found[0]) != fmt.Sprint(want) {
		t.Fatalf("got %v, want %v", found, want)
	}
}

func TestRecordsOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "history.db")
	s := Open(path, Options{})
	s.Add(sample)
	s.Close()
	s = Open(path, Options{})
	defer s.Close()
	if found := requests(t, s, Filter{}); len(found) != 1 {
		t.Fatalf("%d records after a restart, want 1", len(found))
	}
}

func TestAHistoryThatWasReadIsOneFileAgainWhenItIsClosed(t *testing.T) {
	s := open(t, Options{})
	s.Add(sample)
	flush(t, s)
	requests(t, s, Filter{})
	s.Close()
	if files, err := os.ReadDir(filepath.Dir(s.path)); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

func TestOnlyTheUserReadsTheFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes say nothing there")
	}
	dir := filepath.Join(t.TempDir(), "state")
	s := Open(filepath.Join(dir, "history.db"), Options{})
	defer s.Close()
	s.Add(sample)
	flush(t, s)
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatalf("the files beside the history are not there: %v %v", files, err)
	}
	for _, f := range files {
		if info, _ := f.Info(); info.Mode().Perm() != 0o600 {
			t.Errorf("%s is %v", f.Name(), info.Mode())
		}
	}
	if info, _ := os.Stat(dir); info.Mode().Perm() != 0o700 {
		t.Errorf("the folder is %v", info.Mode())
	}
}

func TestALinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "elsewhere")
	if err := os.WriteFile(target, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "history.db")); err != nil {
		t.Skip(err)
	}
	s := Open(filepath.Join(dir, "history.db"), Options{})
	defer s.Close()
	if s.Problem() == "" {
		t.Error("no problem is told")
	}
	if info, _ := os.Stat(target); info.Size() > 0 || info.Mode().Perm() != 0o644 {
		t.Error("the target was written to")
	}
}

func TestFiltersAndPages(t *testing.T) {
	s := open(t, Options{})
	for i := range 25 {
		r := sample
		r.Time = sample.Time.Add(time.Duration(i) * time.Second)
		if i%5 == 0 {
			r.Client, r.Status, r.Code, r.Error = "Zed", 403, "plan_limit", "100% of the plan is used."
		}
		if i%2 == 0 {
			r.Model = "gpt-9"
		}
		s.Add(r)
	}
	flush(t, s)
	yes, no := true, false
	for name, c := range map[string]struct {
		filter Filter
		want   int
	}{
		"everything":            {Filter{}, 25},
		"a client":              {Filter{Client: "Zed"}, 5},
		"a model":               {Filter{Model: "gpt-9"}, 13},
		"both":                  {Filter{Client: "Zed", Model: "gpt-9"}, 3},
		"failed":                {Filter{Failed: &yes}, 5},
		"not failed":            {Filter{Failed: &no}, 20},
		"text in the error":     {Filter{Text: "of the plan"}, 5},
		"a sign of LIKE":        {Filter{Text: "100%"}, 5},
		"no sign of LIKE":       {Filter{Text: "Z_d"}, 0},
		"nor the other":         {Filter{Text: "of % plan"}, 0},
		"since":                 {Filter{Since: sample.Time.Add(20 * time.Second)}, 5},
		"until":                 {Filter{Until: sample.Time.Add(20 * time.Second)}, 20},
		"what is new":           {Filter{After: 20}, 5},
		"the page after a page": {Filter{Before: 6}, 5},
		"quotes":                {Filter{Client: `'; DROP TABLE requests; --`}, 0},
	} {
		if found := requests(t, s, c.filter); len(found) != c.want {
			t.Errorf("%s: %d records, want %d", name, len(found), c.want)
		}
	}
	var all []int64
	for before := int64(0); ; {
		page, err := s.Requests(t.Context(), Filter{Before: before}, 7)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, r := range page {
			all = append(all, r.ID)
		}
		before = page[len(page)-1].ID
	}
	if len(all) != 25 || all[0] != 25 || all[24] != 1 {
		t.Errorf("the pages have %v", all)
	}
	clients, models, err := s.Names(t.Context())
	if err != nil || strings.Join(clients, ",") != "Claude Code,Zed" || strings.Join(models, ",") != "gpt-9,gpt-5.5" {
		t.Errorf("names are %v and %v (%v)", clients, models, err)
	}
}

func TestAnExportHasEachRequestAndRunsNothingInASpreadsheet(t *testing.T) {
	s := open(t, Options{})
	for i := range 300 {
		r := sample
		r.Client, r.OutputTokens = `=HYPERLINK("x")`, int64(i)
		s.Add(r)
	}
	flush(t, s)
	var raw bytes.Buffer
	if err := s.Export(t.Context(), &raw, CSV, Filter{}); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&raw).ReadAll()
	if err != nil || len(rows) != 301 || rows[300][0] != "1" || rows[1][2] != `'=HYPERLINK("x")` || rows[1][19] != "true" {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	raw.Reset()
	if err := s.Export(t.Context(), &raw, JSON, Filter{After: 100}); err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(raw.Bytes(), &list); err != nil || len(list) != 200 || list[0]["client"] != `=HYPERLINK("x")` || list[0]["output_tokens"] != 299.0 || list[0]["gone"] != true {
		t.Fatalf("%d records, %v: %v", len(list), err, list[0])
	}
	raw.Reset()
	if err := s.Export(t.Context(), &raw, JSON, Filter{Client: "nobody"}); err != nil || raw.String() != "[]\n" {
		t.Errorf("nothing is exported as %q (%v)", raw.String(), err)
	}
}

func TestDeletingLeavesNothingInTheFile(t *testing.T) {
	s := open(t, Options{})
	r := sample
	r.Client = "a-name-to-look-for"
	for range 2000 {
		s.Add(r)
		if len(s.queue) > queueLength/2 {
			flush(t, s)
		}
	}
	s.AddWindows([]Window{{Name: "5-hour", Time: time.Now(), Used: 5}})
	flush(t, s)
	if err := s.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := requests(t, s, Filter{}); len(found) > 0 {
		t.Errorf("%d records are left", len(found))
	}
	if u, err := s.Usage(t.Context(), UsageQuery{By: ByDay}); err != nil || u.Total.Requests > 0 {
		t.Errorf("sums are left: %v %v", u.Total, err)
	}
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(s.path + suffix)
		if err == nil && bytes.Contains(raw, []byte(r.Client)) {
			t.Errorf("history.db%s still has the name", suffix)
		}
	}
	s.Add(sample)
	flush(t, s)
	if found := requests(t, s, Filter{}); len(found) != 1 || found[0].ID != 2001 {
		t.Errorf("after deleting there is %v", found)
	}
}

func TestWhoWatchesHearsOfEachBatchSoon(t *testing.T) {
	s := open(t, Options{Delay: time.Hour})
	newest, cancel := s.Watch()
	defer cancel()
	for want := int64(1); want <= 3; want++ {
		s.Add(sample)
		select {
		case got := <-newest:
			if got != want {
				t.Fatalf("the newest is %d, want %d", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("nothing was told")
		}
	}
}

func TestAddCostsNextToNothing(t *testing.T) {
	s := open(t, Options{})
	if n := testing.AllocsPerRun(500, func() { s.Add(sample) }); n > 0 {
		t.Errorf("Add allocates %v times", n)
	}
	const rounds = 20_000
	each := time.Hour
	for range 5 { // the best of them: the machine may be busy
		begin := time.Now()
		for range rounds {
			s.Add(sample)
		}
		each = min(each, time.Since(begin)/rounds)
	}
	t.Logf("Add takes %v while the writer writes, %d of %d lost", each, s.Lost(), 5*rounds)
	if each > 20*time.Microsecond {
		t.Errorf("Add takes %v", each)
	}
}

// TestEveryRecordIsKeptAtFiveHundredASecond: what waits to be written is a second's worth, and a busy machine may let the writer
// wait longer, so three tries are made.
func TestEveryRecordIsKeptAtFiveHundredASecond(t *testing.T) {
	for try := 1; ; try++ {
		s := open(t, Options{})
		tick := time.NewTicker(20 * time.Millisecond)
		for range 100 {
			<-tick.C
			for range 10 {
				s.Add(sample)
			}
		}
		tick.Stop()
		flush(t, s)
		found, lost := len(requests(t, s, Filter{})), s.Lost()
		if found+int(lost) != 1000 {
			t.Fatalf("%d are kept, %d lost", found, lost)
		}
		if lost == 0 {
			return
		}
		if try == 3 {
			t.Fatalf("%d are lost in the best of three tries", lost)
		}
	}
}

func TestANilStoreTakesEverything(*testing.T) {
	var s *Store
	s.Add(sample)
	s.AddWindows(nil)
	s.Close()
}

func TestLongNamesAreCut(t *testing.T) {
	s := open(t, Options{})
	r := sample
	r.Client, r.Error = strings.Repeat("ö", 5000), strings.Repeat("x", 5000)
	s.Add(r)
	flush(t, s)
	found := requests(t, s, Filter{})[0]
	if len(found.Client) > longestName+3 || len(found.Error) > longestError+3 || !strings.HasSuffix(found.Client, "ö…") {
		t.Errorf("kept %d and %d bytes: %s", len(found.Client), len(found.Error), found.Client)
	}
}

func TestTheDemoIsABelievableWeek(t *testing.T) {
	s := open(t, Options{})
	now := time.Date(2026, 11, 25, 18, 21, 0, 0, time.Local)
	begin := time.Now()
	if err := FillDemo(s, now); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begin)
	u, err := s.Usage(t.Context(), UsageQuery{By: ByClient})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d requests, %d errors, %.0f%% cached, median %v, in %v", u.Total.Requests, u.Total.Errors, 100*u.Total.CachedShare(), u.Total.Median, took)
	if len(u.Rows) != 5 || u.Total.Requests < 1000 || u.Total.Requests > 8000 || u.Total.Errors == 0 || u.Total.CachedShare() < 0.7 {
		t.Errorf("not believable: %+v", u.Total)
	}
	newest := requests(t, s, Filter{})[0]
	if newest.Time.After(now) || now.Sub(newest.Time) > time.Hour {
		t.Errorf("the newest request is of %v", newest.Time)
	}
}
