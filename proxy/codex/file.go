package codex

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"
)

// File is a file in a message: its data, or where it is.
type File struct {
	Name string // empty for one that goes with the data
	Data string // base64, alone or in a data: address
	URL  string
	ID   string // of an upload: there are none
}

// Part is the file as the backend takes it, an input_file. The error is an *Error whose Param is the field at fault, as the
// Responses API calls it. Source: OpenAI guide on file inputs.
func (f File) Part() (json.RawMessage, error) {
	f, err := f.checked()
	if err != nil {
		return nil, err
	}
	return mustJSON(struct {
		Type string `json:"type"`
		Name string `json:"filename,omitempty"`
		Data string `json:"file_data,omitempty"`
		URL  string `json:"file_url,omitempty"`
	}{"input_file", f.Name, f.Data, f.URL}), nil
}

// checked brings the data into an address, and names what has no name, which the backend asks for.
func (f File) checked() (File, error) {
	switch {
	case f.ID != "":
		return f, Invalid("file_id", "Uploaded files are not available with a ChatGPT plan. Send the file itself in file_data")
	case f.Data == "" && f.URL == "":
		return f, Invalid("file_data", "A file must hold file_data, which is base64 or a data: address")
	case f.Data == "":
		if !strings.HasPrefix(f.URL, "https://") && !strings.HasPrefix(f.URL, "http://") {
			return f, Invalid("file_url", "file_url must begin with https://. Send a file of this machine in file_data")
		}
		return f, nil
	}
	url, ok := DataURL("", f.Data)
	if !ok {
		return f, Invalid("file_data", "file_data must be base64, alone or in a data: address")
	}
	f.Data = url
	kind, data, ok := strings.Cut(url[len("data:"):], ";base64,")
	if !ok || data == "" {
		return f, Invalid("file_data", "file_data must be base64, alone or in a data: address")
	}
	if f.Name == "" {
		f.Name = "document"
		if kind == "application/pdf" {
			f.Name = "document.pdf"
		}
	}
	return f, nil
}

var lineBreaks = strings.NewReplacer("\r", "", "\n", "")

// DataURL is base64, which may stand in lines as mail has it, as a data: address without them. Without a kind, which is a
// media type, the data says it; what says none is no base64, and ok is false. An address stays one.
func DataURL(kind, data string) (url string, ok bool) {
	if strings.ContainsAny(data, "\r\n") {
		data = lineBreaks.Replace(data)
	}
	if strings.HasPrefix(data, "data:") {
		return data, true
	}
	if kind == "" {
		head, err := base64.StdEncoding.DecodeString(data[:min(len(data), 684)/4*4])
		if err != nil || len(head) == 0 {
			return "", false
		}
		kind, _, _ = strings.Cut(http.DetectContentType(head), ";")
	}
	return "data:" + kind + ";base64," + data, true
}

// fixFiles checks the files and pictures of an item, where path is, in the fields that may hold some. What needs no change
// stays as it came.
func fixFiles(item json.RawMessage, path string) (json.RawMessage, error) {
	for _, field := range []string{"content", "output"} {
		list := gjson.GetBytes(item, field)
		if !list.IsArray() {
			continue
		}
		parts := bodyWriter{buf: []byte("[")}
		changed := false
		for j, part := range list.Array() {
			raw, err := fixFile(part)
			if e, ok := err.(*Error); ok { //nolint:errorlint // made right here
				return nil, Invalid(path+"."+field+"["+strconv.Itoa(j)+"]."+e.Param, "%s", e.Message)
			}
			if j > 0 {
				parts.buf = append(parts.buf, ',')
			}
			parts.buf = append(parts.buf, raw...)
			changed = changed || raw != part.Raw
		}
		if changed {
			out, err := sjson.SetRawBytes(bytes.Clone(item), field, append(parts.buf, ']'))
			if err != nil {
				return nil, Invalid(path, "%s can't be read", path)
			}
			item = out
		}
	}
	return item, nil
}

// fixFile returns a part; one that holds a file as the backend takes it.
func fixFile(part gjson.Result) (string, error) {
	switch kind := part.Get("type").Str; {
	case kind == "input_image" && part.Get("file_id").Str != "":
		return "", Invalid("file_id", "Uploaded pictures are not available with a ChatGPT plan. Send the picture itself in image_url")
	case kind != "input_file":
		return part.Raw, nil
	}
	came := File{part.Get("filename").Str, part.Get("file_data").Str, part.Get("file_url").Str, part.Get("file_id").Str}
	f, err := came.checked()
	if err != nil || f == came {
		return part.Raw, err
	}
	raw, err := sjson.Set(part.Raw, "filename", f.Name)
	if err == nil {
		raw, err = sjson.Set(raw, "file_data", f.Data)
	}
	if err != nil {
		return "", Invalid("file_data", "The file can't be read")
	}
	return raw, nil
}
