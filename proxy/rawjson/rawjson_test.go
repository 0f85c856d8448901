package rawjson

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

var documents = []string{
	`{}`, `[]`, `null`, `"x"`, ` { "a" : 1 , "b":[1,2,{"c":"]"}], "a":{"d":"}\""} } `, `[ 1, "two" ,[3], {"four":4}, null,true ]`,
	`{"":0,"\u00e9\"":"\\"}`, `[[[[]]],{}]`, "\t[\n\"\\ud83d\\ude00\"]\r", `{"a":-1.5e-7}`,
}

func FuzzAgainstEncodingJSON(f *testing.F) {
	for _, d := range documents {
		f.Add([]byte(d))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		if Valid(document) != json.Valid(document) {
			t.Fatalf("%q: valid %t, not %t", document, Valid(document), json.Valid(document))
		}
		if !json.Valid(document) || !utf8.Valid(document) { // of names that are no text there are none
			return
		}
		var wantFields map[string]json.RawMessage
		isObject := json.Unmarshal(document, &wantFields) == nil && wantFields != nil
		fields, ok := Fields(document)
		if ok != isObject || len(fields) != len(wantFields) {
			t.Fatalf("fields of %q: %v %q, not %v %q", document, ok, fields, isObject, wantFields)
		}
		for name, want := range wantFields {
			if got := fields[name]; string(got) != string(want) {
				t.Errorf("field %q of %q: %q, not %q", name, document, got, want)
			}
		}
		var want []json.RawMessage
		isList := json.Unmarshal(document, &want) == nil
		got, ok := Elements(document)
		if ok != isList || len(got) != len(want) {
			t.Fatalf("elements of %q: %v %q, not %v %q", document, ok, got, isList, want)
		}
		for i := range want {
			if string(got[i]) != string(want[i]) {
				t.Errorf("element %d of %q: %q, not %q", i, document, got[i], want[i])
			}
		}
		var text, again string
		if json.Unmarshal(document, &text) == nil && document[0] == '"' && document[len(document)-1] == '"' {
			if err := json.Unmarshal(String(document), &again); err != nil || again != text {
				t.Errorf("string %q: %q %v, not %q", document, again, err, text)
			}
		}
	})
}

// TestDepthIsBounded: a document that is all brackets would take more stack than a program may have.
func TestDepthIsBounded(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	for name, document := range map[string][]byte{
		"as deep as may be": nested(depthMost), "one more": nested(depthMost + 1), "sixteen million": nested(16 << 20), "open": []byte(strings.Repeat("[", 16<<20)),
		"objects": []byte(strings.Repeat(`{"a":`, 4<<20)), "side by side": []byte("[" + strings.Repeat("[],", depthMost) + "[]]"),
		"in a string": []byte(`["` + strings.Repeat(`[\"`, 2*depthMost) + `"]`), "a string": []byte(`["` + strings.Repeat(`[\\[`, 2*depthMost) + `"]`), "closed first": []byte(strings.Repeat("]", 2*depthMost) + strings.Repeat("[", 16<<20)),
	} {
		if got, want := Valid(document), json.Valid(document); got != want {
			t.Errorf("%s: valid %t, not %t", name, got, want)
		}
	}
}

func TestAStringIsTakenAsItIsWhereItCanBe(t *testing.T) {
	for in, want := range map[string]string{
		`"plain <&>"`: `"plain <&>"`, `"é\n\u00e9"`: `"é\n\u00e9"`, `"\ud83d"`: `"�"`, `"\ud83d\ude00"`: `"😀"`, "\"\xff\"": `"�"`,
	} {
		if got := string(String(json.RawMessage(in))); got != want {
			t.Errorf("%s: %s, not %s", in, got, want)
		}
	}
}

func TestNothingIsCopied(t *testing.T) {
	document := []byte(`{"list":[1,2,3]}`)
	fields, _ := Fields(document)
	list, _ := Elements(fields["list"])
	document[9] = '7'
	if string(list[0]) != "7" || !reflect.DeepEqual(string(fields["list"]), "[7,2,3]") {
		t.Errorf("%s %s", list[0], fields["list"])
	}
	if cap(fields["list"]) != len(fields["list"]) {
		t.Error("an append to a part would write into what follows it")
	}
}

// TestWorkIsLinear: what is quadratic takes minutes for a megabyte of marks, and what is linear some milliseconds.
func TestWorkIsLinear(t *testing.T) {
	begin := time.Now()
	for _, text := range []string{`\"`, `\\`, `\u0041`, `a\n`, `","`, `",[["x"]],"`} {
		document := []byte(`{"a":["` + strings.Repeat(text, 1<<20/len(text)) + `"]}`)
		if !json.Valid(document) {
			t.Fatal("no JSON")
		}
		fields, _ := Fields(document)
		list, _ := Elements(fields["a"])
		String(list[0])
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it takes %s", took)
	}
}
