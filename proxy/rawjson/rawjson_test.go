package rawjson

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
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
		clean, valid := Clean(document)
		if valid != json.Valid(document) || !valid && string(clean) != string(document) {
			t.Fatalf("%q: valid %t, clean %q", document, valid, clean)
		}
		if !valid {
			return
		}
		if !utf8.Valid(clean) || !reflect.DeepEqual(meaning(t, document), meaning(t, clean)) {
			t.Fatalf("%q: clean %q says something else", document, clean)
		}
		if again, _ := Clean(clean); string(again) != string(clean) {
			t.Fatalf("%q: clean %q, and then %q", document, clean, again)
		}
		document = clean
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
	})
}

// meaning is a document as encoding/json understands it.
func meaning(t *testing.T, document []byte) (v any) {
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.UseNumber() // of any size
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%q: %v", document, err)
	}
	return v
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

func TestADocumentIsTakenAsItIsWhereItCanBe(t *testing.T) {
	for in, want := range map[string]string{
		`"plain <&>"`: "", `"é\n\u00e9"`: "", `"\ud83d\ude00"`: "", `["\\ud83d"]`: "", `"\ud83d"`: `"�"`, "\"\xff\"": `"�"`, `"\ude00\ud83d"`: `"��"`, `"\ud83d\u0041<"`: `"�A<"`,
		`{"a\udc00":[1, "b", "c\ud800"] ,"d":"\ud83d\ude00"}`: `{"a�":[1, "b", "c�"] ,"d":"\ud83d\ude00"}`,
	} {
		document := []byte(in)
		got, valid := Clean(document)
		if want == "" && &got[0] != &document[0] || want != "" && string(got) != want || !valid {
			t.Errorf("%s: %s %t, not %s", in, got, valid, want)
		}
	}
	if got, valid := Clean([]byte("[\"\xff")); valid || string(got) != "[\"\xff" {
		t.Errorf("%q %t", got, valid)
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

func TestATextIsQuotedAsAnyReaderTakesIt(t *testing.T) {
	for c := range 256 {
		for _, text := range []string{string(rune(c)), "long enough for eight " + string([]byte{byte(c)}) + " more, 世界 👋\u2028", strings.Repeat(string(rune(c)), 40)} {
			var got string
			quoted := Quote(text)
			if err := json.Unmarshal(quoted, &got); err != nil || got != strings.ToValidUTF8(text, "\uFFFD") || !utf8.Valid(quoted) {
				t.Errorf("%q: %s %v", text, quoted, err)
			}
		}
	}
	if got := Quote(""); string(got) != `""` {
		t.Errorf("nothing: %s", got)
	}
}

func TestStringsAreFoundWhereverTheyStand(t *testing.T) {
	var found []string
	Strings([]byte(`{"a":["b\"c","",{"d\\":"\u0022"}],"e":1}`), func(s []byte) bool {
		found = append(found, string(s))
		return string(s) != `"\u0022"`
	})
	if want := []string{`"a"`, `"b\"c"`, `""`, `"d\\"`, `"\u0022"`}; !slices.Equal(found, want) {
		t.Errorf("%q, not %q", found, want)
	}
	Strings([]byte(`[1]`), func([]byte) bool { t.Error("a string where there is none"); return true })
}

// TestSpecialBytesAreFoundAtAnyPlace looks at each byte at each place of eight.
func TestSpecialBytesAreFoundAtAnyPlace(t *testing.T) {
	for c := range 256 {
		for place := range 20 {
			text := []byte(strings.Repeat("\xff\x80 a", 5))
			text[place] = byte(c)
			want := len(text)
			if c < ' ' || c == '"' || c == '\\' {
				want = place
			}
			for from := range place + 1 {
				if got := special(text, from); got != want {
					t.Fatalf("%q from %d: %d, not %d", text, from, got, want)
				}
			}
		}
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
		clean, _ := Clean(append(bytes.TrimSuffix(document, []byte(`"]}`)), "\xff\"]}"...))
		fields, _ := Fields(clean)
		Elements(fields["a"])
	}
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("it takes %s", took)
	}
}
