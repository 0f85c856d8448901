package codex

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func decode(t testing.TB, r io.Reader) (types, data []string, raw string, err error) {
	t.Helper()
	d := NewDecoder(r)
	for {
		ev, err := d.Next()
		if err != nil {
			return types, data, raw, err
		}
		types = append(types, ev.Type)
		data = append(data, string(ev.Data))
		raw += string(ev.Raw)
	}
}

const plain = "event: response.created\ndata: {\"type\":\"response.created\"}\n\n" +
	": a comment\n\n" +
	"event: nothing\n\n" +
	"data: {\"type\":\"response.output_text.delta\",\"delta\":\"Grüße 世界 👋\"}\n\n" +
	"event:response.completed\ndata:{\"a\":1,\ndata: \"b\":2}\nid: 7\n\n"

func TestDecoderUnderstandsEachFraming(t *testing.T) {
	for name, text := range map[string]string{
		"LF": plain, "CRLF": strings.ReplaceAll(plain, "\n", "\r\n"), "CR": strings.ReplaceAll(plain, "\n", "\r"),
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "a byte at a time": iotest.OneByteReader,
			"halves": iotest.HalfReader, "with the error": iotest.DataErrReader,
		} {
			types, data, raw, err := decode(t, wrap(strings.NewReader(text)))
			if err != io.EOF {
				t.Errorf("%s, %s: %v", name, how, err)
			}
			if got := strings.Join(types, " "); got != "response.created response.output_text.delta response.completed" {
				t.Errorf("%s, %s: types %s", name, how, got)
			}
			if len(data) != 3 || data[1] != `{"type":"response.output_text.delta","delta":"Grüße 世界 👋"}` || data[2] != "{\"a\":1,\n\"b\":2}" {
				t.Errorf("%s, %s: data %q", name, how, data)
			}
			if again, _, _, _ := decode(t, strings.NewReader(raw)); len(again) != 3 {
				t.Errorf("%s, %s: passed on it is %q", name, how, raw)
			}
		}
	}
}

func TestDecoderDropsAnEventThatTheEndCutOff(t *testing.T) {
	types, _, _, err := decode(t, strings.NewReader("data: {\"type\":\"a\"}\n\ndata: {\"type\":\"b\"}\n"))
	if err != io.EOF || len(types) != 1 {
		t.Errorf("%v %v", types, err)
	}
	broken := errors.New("broken")
	if _, _, _, err := decode(t, io.MultiReader(strings.NewReader("data: x"), iotest.ErrReader(broken))); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestDecoderGrowsForALargeEventAndRefusesAHugeOne(t *testing.T) {
	large := "data: {\"type\":\"x\",\"d\":\"" + strings.Repeat("y", 16<<20) + "\"}\n\n"
	types, data, _, err := decode(t, strings.NewReader(large+"data: {\"type\":\"z\"}\n\n"))
	if err != io.EOF || len(types) != 2 || len(data[0]) < 16<<20 {
		t.Errorf("%v %v", types, err)
	}
	if _, _, _, err := decode(t, io.MultiReader(strings.NewReader("data: "), endless{})); !errors.Is(err, errEventTooLarge) {
		t.Errorf("got %v", err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

func TestTextDeltasAreDecodedWithoutGarbage(t *testing.T) {
	event := []byte("event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"word \"}\n\n")
	d := NewDecoder(bytes.NewReader(bytes.Repeat(event, 5000)))
	allocations := testing.AllocsPerRun(1000, func() {
		if _, err := d.Next(); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations an event", allocations)
	}
}

func FuzzDecoder(f *testing.F) {
	f.Add([]byte(plain), 3)
	f.Add([]byte(strings.ReplaceAll(plain, "\n", "\r\n")), 1)
	f.Add([]byte("data\n\rdata:\r\r\n\n"), 2)
	f.Fuzz(func(t *testing.T, raw []byte, cut int) {
		whole, wholeData, _, _ := decode(t, bytes.NewReader(raw))
		cut = max(0, min(cut, len(raw)))
		parts, partsData, passed, _ := decode(t, io.MultiReader(bytes.NewReader(raw[:cut]), iotest.OneByteReader(bytes.NewReader(raw[cut:]))))
		if strings.Join(whole, "\x00") != strings.Join(parts, "\x00") || strings.Join(wholeData, "\x00") != strings.Join(partsData, "\x00") {
			t.Fatalf("%q read in parts is %q %q, else %q %q", raw, parts, partsData, whole, wholeData)
		}
		again, againData, _, _ := decode(t, strings.NewReader(passed))
		if strings.Join(whole, "\x00") != strings.Join(again, "\x00") || strings.Join(wholeData, "\x00") != strings.Join(againData, "\x00") {
			t.Fatalf("%q passed on is %q", raw, passed)
		}
	})
}
