package main

import (
	"strings"
	"testing"
)

func TestEventsAreCountedAndFailuresShown(t *testing.T) {
	events := `{"Action":"output","Package":"p","Test":"TestA","Output":"quiet\n"}
{"Action":"pass","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestB","Output":"b is wrong\n"}
{"Action":"fail","Package":"p","Test":"TestB"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"skip","Package":"no test files"}
{"Action":"fail","Package":"p","Elapsed":1.2}
{"Action":"pass","Package":"q","Elapsed":0.1}
no JSON at all
{"ImportPath":"r","Action":"build-output","Output":"r.go:1: broken\n"}
{"ImportPath":"r","Action":"build-fail"}
{"Action":"pass","Package":"q","Test":"TestLast"}`
	var shown strings.Builder
	if c := count(strings.NewReader(events), &shown); c != (counts{2, 1, 1}) {
		t.Errorf("%+v", c)
	}
	for _, want := range []string{"b is wrong", "FAIL  p", "ok    q", "no JSON at all", "r.go:1: broken"} {
		if !strings.Contains(shown.String(), want) {
			t.Errorf("it does not show %q:\n%s", want, shown.String())
		}
	}
	if strings.Contains(shown.String(), "quiet") {
		t.Error("it shows what a test that passes says")
	}
}
