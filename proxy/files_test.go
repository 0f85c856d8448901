package proxy

import (
	"strings"
	"testing"
)

// pdf is the beginning of one, in base64.
const pdf = "JVBERi0xLjQK"

// TestFilesGoUpInEveryDialect as the backend takes them: a data: address, and a name.
func TestFilesGoUpInEveryDialect(t *testing.T) {
	r := newRig(t)
	file := func(name string) string {
		return `{"type":"input_file","filename":"` + name + `","file_data":"data:application/pdf;base64,` + pdf + `"}`
	}
	chat := func(part string) string { return `{"messages":[{"role":"user","content":[` + part + `]}]}` }
	responses := func(part string) string { return `{"input":[{"role":"user","content":[` + part + `]}]}` }
	messages := func(block string) string {
		return `{"max_tokens":9,"messages":[{"role":"user","content":[` + block + `]}]}`
	}
	contents := func(part string) string { return `{"contents":[{"parts":[` + part + `]}]}` }
	const url = `{"type":"input_file","file_url":"https://example.com/a.pdf"}`
	for name, c := range map[string]struct{ path, body, want string }{
		"chat":                   {"/v1/chat/completions", chat(`{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,` + pdf + `"}}`), file("a.pdf")},
		"chat, bare":             {"/v1/chat/completions", chat(`{"type":"file","file":{"file_data":"` + pdf + `"}}`), file("document.pdf")},
		"chat, flat":             {"/v1/chat/completions", chat(`{"type":"input_file","filename":"a.pdf","file_data":"` + pdf + `"}`), file("a.pdf")},
		"chat, in lines":         {"/v1/chat/completions", chat(`{"type":"file","file":{"filename":"a.pdf","file_data":"JVBERi0x\r\nLjQK\n"}}`), file("a.pdf")},
		"chat, address in lines": {"/v1/chat/completions", chat(`{"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERi0x\nLjQK"}}`), file("a.pdf")},
		"chat, a url":            {"/v1/chat/completions", chat(`{"type":"file","file":{"file_url":"https://example.com/a.pdf"}}`), url},
		"responses":              {"/v1/responses", responses(`{"type":"input_file","filename":"a.pdf","file_data":"data:application/pdf;base64,` + pdf + `","detail":"low"}`), strings.Replace(file("a.pdf"), `"}`, `","detail":"low"}`, 1)},
		"responses, bare":        {"/v1/responses", responses(`{"type":"input_file","file_data":"` + pdf + `"}`), `{"type":"input_file","file_data":"data:application/pdf;base64,` + pdf + `","filename":"document.pdf"}`},
		"responses, url":         {"/v1/responses", responses(url), url},
		"messages":               {"/v1/messages", messages(`{"type":"document","title":"a.pdf","source":{"type":"base64","media_type":"application/pdf","data":"` + pdf + `"}}`), file("a.pdf")},
		"messages, bare":         {"/v1/messages", messages(`{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"` + pdf + `"}}`), file("document.pdf")},
		"messages, in lines":     {"/v1/messages", messages(`{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw0K\r\nGgo="}}`), `{"image_url":"data:image/png;base64,iVBORw0KGgo=","type":"input_image"}`},
		"messages, text":         {"/v1/messages", messages(`{"type":"document","source":{"type":"text","media_type":"text/plain","data":"words"}}`), `{"text":"words","type":"input_text"}`},
		"messages, url":          {"/v1/messages", messages(`{"type":"document","source":{"type":"url","url":"https://example.com/a.pdf"}}`), url},
		"gemini":                 {"/v1beta/models/gpt-5.5:generateContent", contents(`{"inlineData":{"mimeType":"application/pdf","data":"` + pdf + `"}}`), file("document.pdf")},
		"gemini, named":          {"/v1beta/models/gpt-5.5:generateContent", contents(`{"inlineData":{"mimeType":"application/pdf","displayName":"a.pdf","data":"` + pdf + `"}}`), file("a.pdf")},
		"gemini, in lines":       {"/v1beta/models/gpt-5.5:generateContent", contents(`{"inlineData":{"mimeType":"image/png","data":"iVBORw0K\nGgo="}}`), `{"image_url":"data:image/png;base64,iVBORw0KGgo=","type":"input_image"}`},
		"gemini, url":            {"/v1beta/models/gpt-5.5:generateContent", contents(`{"fileData":{"mimeType":"application/pdf","fileUri":"https://example.com/a.pdf"}}`), url},
	} {
		status, text := r.post(c.path, c.body)
		if got := r.sent().Get("input.0.content.0").Raw; status != 200 || got != c.want {
			t.Errorf("%s: %d %s\n%s", name, status, got, text)
		}
	}
	call := `{"type":"function_call","call_id":"c","name":"f","arguments":"{}"}`
	if status, text := r.post("/v1/responses", `{"input":[`+call+`,{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"x"},{"type":"input_file","filename":"a.pdf","file_data":"`+pdf+`"}]}]}`); status != 200 || r.sent().Get("input.1.output.1.file_data").Str != "data:application/pdf;base64,"+pdf {
		t.Errorf("a tool's: %d %s %s", status, text, r.sent().Get("input.1"))
	}
}

// TestFilesThatNobodyCanReadAreRefused by the path where they are.
func TestFilesThatNobodyCanReadAreRefused(t *testing.T) {
	r := newRig(t)
	const hello = `{"type":"text","text":"look"}`
	for name, c := range map[string]struct{ path, body, param, says string }{
		"chat, an upload":       {"/v1/chat/completions", `{"messages":[{"role":"system","content":"x"},{"role":"user","content":[` + hello + `,{"type":"file","file":{"file_id":"file-1"}}]}]}`, "messages[1].content[1].file.file_id", "Uploaded files"},
		"chat, flat":            {"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"input_file","file_id":"file-1"}]}]}`, "messages[0].content[0].file_id", "Uploaded files"},
		"chat, nothing":         {"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"file"}]}]}`, "messages[0].content[0].file_data", "must hold file_data"},
		"chat, no base64":       {"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"no base64!"}}]}]}`, "messages[0].content[0].file.file_data", "base64"},
		"chat, an empty one":    {"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"file","file":{"file_data":"data:application/pdf;base64,"}}]}]}`, "messages[0].content[0].file.file_data", "base64"},
		"chat, sound":           {"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"input_audio"}]}]}`, "messages[0].content[0].type", "audio"},
		"chat, no picture":      {"/v1/chat/completions", `{"messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, "messages[0].content[0].image_url", "must hold a url"},
		"responses, an upload":  {"/v1/responses", `{"input":[{"role":"user","content":"x"},{"role":"user","content":[{"type":"input_text","text":"x"},{"type":"input_file","file_id":"file-1"}]}]}`, "input[1].content[1].file_id", "Uploaded files"},
		"responses, a picture":  {"/v1/responses", `{"input":[{"role":"user","content":[{"type":"input_image","file_id":"file-1"}]}]}`, "input[0].content[0].file_id", "Uploaded"},
		"responses, of a tool":  {"/v1/responses", `{"input":[{"type":"function_call","call_id":"c","name":"f","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":[{"type":"input_file","file_id":"file-1"}]}]}`, "input[1].output[0].file_id", "Uploaded files"},
		"responses, a path":     {"/v1/responses", `{"input":[{"role":"user","content":[{"type":"input_file","file_url":"file:///etc/passwd"}]}]}`, "input[0].content[0].file_url", "https://"},
		"messages, an upload":   {"/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":"x"},{"role":"user","content":[` + hello + `,{"type":"document","source":{"type":"file","file_id":"file-1"}}]}]}`, "", "messages.1: content.1: the source of this document"},
		"messages, an odd path": {"/v1/messages", `{"max_tokens":9,"messages":[{"role":"user","content":[{"type":"document","source":{"type":"url","url":"file:///x"}}]}]}`, "", "messages.0: content.0: file_url must begin with https://"},
		"gemini, an upload":     {"/v1beta/models/gpt-5.5:generateContent", `{"contents":[{"parts":[{"text":"x"},{"fileData":{"mimeType":"application/pdf","fileUri":"https://generativelanguage.googleapis.com/v1beta/files/x"}}]}]}`, "", "contents[0].parts[1]: uploaded files"},
	} {
		status, text := r.post(c.path, c.body)
		if status != 400 || get(text, "error.param").Str != c.param || !strings.Contains(get(text, "error.message").Str, c.says) {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if r.sent().Exists() {
		t.Errorf("a request went up: %s", r.sent())
	}
}
