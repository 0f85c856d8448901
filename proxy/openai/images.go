package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/reply"
)

// imageRequest is a request of the Images API. Source: OpenAI API reference, images.
type imageRequest struct {
	codex.Request
	prompt  string
	count   int
	stream  bool
	edit    bool
	tool    map[string]any
	sources []json.RawMessage // pictures to edit, as parts
	err     error
}

// Images answers POST /v1/images/generations, and edits: the backend makes pictures by a tool of its own.
func (h *Handler) Images(w http.ResponseWriter, r *http.Request, body []byte) reply.Outcome {
	req, err := parseImages(r.Header.Get("Content-Type"), body, strings.HasSuffix(r.URL.Path, "/edits"))
	out := reply.Outcome{Dropped: req.Dropped, Streamed: req.stream}
	if err != nil {
		return h.fail(w, &req.Request, out, err)
	}
	streams, err := h.open(r.Context(), slices.Repeat([]*codex.Request{req.call()}, req.count))
	if err != nil {
		return h.fail(w, &req.Request, out, err)
	}
	defer closeAll(streams)
	out.Model, out.Effort = streams[0].Model, streams[0].Effort
	to := reply.NewStream(w, reply.SSE)
	if req.stream {
		to = streamTo(w, &req.Request, streams[0])
	}
	pictures, each := make([]gjson.Result, req.count), make([]codex.Tokens, req.count)
	err = reply.Parallel(req.count, func(i int) (err error) {
		pictures[i], each[i], err = readPicture(streams[i])
		return err
	})
	out.Heard(streams...)
	for _, t := range each {
		out.Add(t)
	}
	if err != nil {
		return h.breakStream(w, &req.Request, to, out, err)
	}
	use := map[string]any{"input_tokens": out.Input, "output_tokens": out.Output, "total_tokens": out.Input + out.Output,
		"input_tokens_details": map[string]any{"text_tokens": out.Input, "image_tokens": 0}}
	if req.stream {
		kind := "image_generation.completed"
		if req.edit {
			kind = "image_edit.completed"
		}
		for _, p := range pictures {
			event := map[string]any{"type": kind, "b64_json": p.Get("result").Str, "created_at": time.Now().Unix(), "usage": use}
			for _, name := range []string{"size", "quality", "background", "output_format"} {
				event[name] = p.Get(name).String()
			}
			out.Gone = to.Send(sseEvent(kind, event), false) != nil
		}
		return out
	}
	data := []any{}
	answer := map[string]any{"created": time.Now().Unix(), "usage": use}
	for _, p := range pictures {
		entry := map[string]any{"b64_json": p.Get("result").Str}
		if revised := p.Get("revised_prompt").Str; revised != "" {
			entry["revised_prompt"] = revised
		}
		data = append(data, entry)
		for _, name := range []string{"size", "quality", "background", "output_format"} {
			if v := p.Get(name).Str; v != "" {
				answer[name] = v
			}
		}
	}
	answer["data"] = data
	reply.Announce(w.Header(), req.Dropped, streams[0].Header)
	out.Gone = writeObject(w, answer) != nil
	return out
}

// readPicture reads an answer to its end. It is an error when it has no picture.
func readPicture(s *codex.Stream) (picture gjson.Result, used codex.Tokens, err error) {
	var said strings.Builder
	events := codex.EventHandler{
		Text: func(raw string) { said.WriteString(codex.Text(raw)) },
		Other: func(item gjson.Result) {
			if item.Get("type").Str == "image_generation_call" && item.Get("result").Str != "" {
				picture = item
			}
		},
	}
	for {
		ev, err := s.Read()
		if err != nil {
			return picture, used, err
		}
		if end := events.Event(ev); end != nil {
			if !picture.Exists() {
				err = &codex.Error{Status: http.StatusBadGateway, Type: "server_error", Code: "no_image", Message: strings.TrimSpace("The model made no picture. " + said.String())}
			}
			return picture, end.Tokens, err
		}
	}
}

// call is the request for one picture.
func (r *imageRequest) call() *codex.Request {
	c := r.Request
	c.Expected = []string{"model"}
	c.Instructions = "You make pictures with the image_generation tool. Make exactly one, as the user describes it, and say nothing."
	c.Effort = "low"
	c.Tools = []json.RawMessage{encode(r.tool)}
	parts := append([]json.RawMessage{encode(inputText{"input_text", r.prompt})}, r.sources...)
	c.Input = []json.RawMessage{encode(struct {
		Type    string            `json:"type"`
		Role    string            `json:"role"`
		Content []json.RawMessage `json:"content"`
	}{"message", "user", parts})}
	return &c
}

func parseImages(contentType string, body []byte, edit bool) (*imageRequest, error) {
	r := &imageRequest{count: 1, edit: edit, tool: map[string]any{"type": "image_generation", "output_format": "png"}}
	kind, params, _ := mime.ParseMediaType(contentType)
	if kind == "multipart/form-data" {
		if err := r.readForm(body, params["boundary"]); err != nil {
			return r, err
		}
	} else {
		fields, err := reply.Object(body)
		if err != nil {
			return r, err
		}
		for _, name := range slices.Sorted(maps.Keys(fields)) {
			v := gjson.ParseBytes(fields[name])
			switch {
			case v.Type == gjson.Null:
			case name == "image" || name == "images":
				for _, one := range append(v.Array(), gjson.Result{}) {
					if url := one.String(); one.Type == gjson.String {
						r.sources = append(r.sources, encode(inputImage{"input_image", url, ""}))
					} else if url := one.Get("image_url").String(); url != "" {
						r.sources = append(r.sources, encode(inputImage{"input_image", url, ""}))
					}
				}
			default:
				r.field(name, v.String())
			}
		}
	}
	switch {
	case r.err != nil:
		return r, r.err
	case r.prompt == "":
		return r, codex.Invalid("prompt", "prompt is missing. Describe the picture")
	case edit && len(r.sources) == 0:
		return r, codex.Invalid("image", "image is missing. Send the picture that is to be edited")
	}
	return r, nil
}

// field takes one parameter, as text.
func (r *imageRequest) field(name, v string) {
	switch name {
	case "prompt":
		r.prompt = v
	case "n":
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > mostChoices {
			r.err = codex.Invalid("n", "n must be a number from 1 to %d: each picture is a call of its own", mostChoices)
		}
		r.count = n
	case "stream":
		r.stream = v == "true"
	case "size", "quality", "background", "output_format", "moderation", "input_fidelity":
		if v != "auto" {
			r.tool[name] = v
		}
	case "output_compression":
		if n, err := strconv.Atoi(v); err == nil {
			r.tool[name] = n
		}
	case "response_format":
		if v != "b64_json" {
			r.Drop("response_format") // pictures come as b64_json: there is no place to load them from
		}
	default:
		r.Drop(name) // also model: the backend chooses that of the pictures
	}
}

func (r *imageRequest) readForm(body []byte, boundary string) error {
	form := multipart.NewReader(bytes.NewReader(body), boundary)
	for {
		part, err := form.NextPart()
		if err == io.EOF { //nolint:errorlint // returned bare
			return nil
		}
		if err != nil {
			return codex.Invalid("", "The form can't be read")
		}
		raw, err := io.ReadAll(part)
		if err != nil {
			return codex.Invalid("", "The form can't be read")
		}
		switch name := strings.TrimSuffix(part.FormName(), "[]"); name {
		case "image":
			r.sources = append(r.sources, encode(inputImage{"input_image", dataURL(raw), ""}))
		case "mask":
			r.tool["input_image_mask"] = map[string]string{"image_url": dataURL(raw)}
		default:
			r.field(name, string(raw))
		}
	}
}

func dataURL(raw []byte) string {
	return "data:" + http.DetectContentType(raw) + ";base64," + base64.StdEncoding.EncodeToString(raw)
}
