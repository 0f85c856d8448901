package gemini

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/tidwall/gjson"

	"codex-proxy/proxy/codex"
	"codex-proxy/proxy/rawjson"
	"codex-proxy/proxy/reply"
)

// converter turns contents into items. SDKs send back what came down as it came: each piece of a text may be a content of
// its own, and a result may name the function only.
type converter struct {
	r       *request
	cache   *codex.ReasoningCache
	model   string
	waiting *codex.Unanswered
	calls   int

	user     []json.RawMessage // parts of the user's message, not written yet: strings, and whole parts
	said     []json.RawMessage // the model's text, likewise: strings
	thoughts []json.RawMessage // reasoning that belongs to what follows
	reasoned bool              // the model's turn has brought its reasoning
}

// convert turns the contents into items.
func (r *request) convert(cache *codex.ReasoningCache, model string) error {
	contents := elements(r.contents)
	if len(contents) == 0 {
		return codex.Invalid("contents", "contents is missing or empty. Send at least one content")
	}
	c := converter{r: r, cache: cache, model: model, waiting: codex.NewUnanswered()}
	for i, content := range contents {
		parts, role := partsOf(content)
		for j, p := range parts {
			err := c.part(role, p)
			if e, ok := err.(*codex.Error); ok { //nolint:errorlint // made right here
				return codex.Invalid("contents", "contents[%d].parts[%d]: %s", i, j, e.Message)
			}
		}
	}
	c.endUser()
	c.endModel()
	return nil
}

func (c *converter) part(role string, raw gjson.Result) error {
	switch role {
	case "model", "assistant":
		c.endUser()
		c.modelPart(raw)
		return nil
	case "system", "developer":
		c.endUser()
		c.endModel()
		if text := field(raw, "text").String(); text != "" {
			c.add(codex.Message("developer", text))
		}
		return nil
	case "", "user", "function", "tool":
		c.endModel()
		return c.userPart(raw)
	}
	return codex.Invalid("", "the role %.40q is unknown. Use user or model", role)
}

func (c *converter) add(item json.RawMessage) { c.r.Input = append(c.r.Input, item) }

// endUser writes the user's message.
func (c *converter) endUser() {
	if len(c.user) == 1 && rawjson.IsString(c.user[0]) {
		c.add(codex.MessageOf("user", c.user[0]))
	} else if len(c.user) > 0 {
		for i, p := range c.user {
			if rawjson.IsString(p) {
				c.user[i] = codex.InputText(p)
			}
		}
		c.add(codex.MessageParts("user", c.user))
	}
	c.user = nil
}

// endModel ends the model's turn. Reasoning that nothing follows is of no use.
func (c *converter) endModel() {
	c.endText()
	c.thoughts, c.reasoned = nil, false
}

func (c *converter) endText() {
	if c.said == nil {
		return
	}
	c.think()
	c.add(codex.MessageOf("assistant", rawjson.Join(c.said, "")))
	c.said = nil
}

func (c *converter) think() {
	c.r.Input = append(c.r.Input, c.thoughts...)
	c.thoughts = nil
}

func (c *converter) modelPart(raw gjson.Result) {
	thought := false
	var text json.RawMessage
	var call gjson.Result
	eachRaw(raw, func(name string, value json.RawMessage) {
		if name == "text" {
			text = stringOf(value)
			return
		}
		v := gjson.Parse(rawjson.View(value))
		switch name {
		case "thought":
			thought = v.Bool()
		case "thoughtSignature":
			if items := reasoning(v.String(), c.model); items != nil {
				c.endText()
				c.thoughts, c.reasoned = append(c.thoughts, items...), true
			}
		case "functionCall":
			call = v
		case "executableCode":
			text = stringOf(rawjson.Raw(field(v, "code").Raw))
		case "codeExecutionResult":
			text = stringOf(rawjson.Raw(field(v, "output").Raw))
		}
	})
	if t := rawjson.NotEmpty(text); t != nil && !thought {
		c.said = append(c.said, t)
	}
	if call.Exists() {
		c.endText()
		c.call(call)
	}
}

func (c *converter) call(call gjson.Result) {
	id, name, arguments := "", "", "{}"
	each(call, func(field string, v gjson.Result) {
		switch field {
		case "id":
			id = v.String()
		case "name":
			name = v.String()
		case "args":
			arguments = v.Raw
		}
	})
	if id == "" {
		id = fmt.Sprintf("call_%d", c.calls)
	}
	c.calls++
	if !c.reasoned {
		c.thoughts = append(c.thoughts, c.cache.Before(c.model, id)...)
	}
	c.think()
	c.waiting.Add(id, name)
	c.add(reply.Encode(map[string]string{"type": "function_call", "call_id": id, "name": c.r.names.Shorten(name), "arguments": arguments}))
}

func (c *converter) userPart(raw gjson.Result) (err error) {
	eachRaw(raw, func(name string, value json.RawMessage) {
		if name == "text" {
			if text := rawjson.NotEmpty(stringOf(value)); text != nil {
				c.user = append(c.user, text)
			}
			return
		}
		v := gjson.Parse(rawjson.View(value))
		var p json.RawMessage
		var e error
		switch name {
		case "inlineData":
			p, e = inline(v)
		case "fileData":
			p, e = file(v)
		case "functionResponse":
			e = c.result(v)
		case "executableCode":
			p = inputText(field(v, "code").String())
		case "codeExecutionResult":
			p = inputText(field(v, "output").String())
		case "functionCall":
			e = codex.Invalid("", "a functionCall stands in a content of the role model")
		case "thought", "thoughtSignature", "videoMetadata", "mediaResolution", "partMetadata":
			// nothing that the model could read
		default:
			e = codex.Invalid("", "the part %.40q is unknown. Use text, inlineData, fileData or functionResponse", name)
		}
		if p != nil {
			c.user = append(c.user, p)
		}
		if err == nil {
			err = e
		}
	})
	return err
}

// result is what a function returned: text, or parts when there are pictures with it.
// Source: Gemini API reference, FunctionResponse: output and error are its own words, anything else is all of the output.
func (c *converter) result(response gjson.Result) error {
	id, name, text := "", "", ""
	var attached []json.RawMessage
	var err error
	each(response, func(field string, v gjson.Result) {
		switch field {
		case "id":
			id = v.String()
		case "name":
			name = v.String()
		case "response":
			text = resultText(v)
		case "parts":
			for _, p := range v.Array() {
				each(p, func(kind string, v gjson.Result) {
					var part json.RawMessage
					var e error
					switch kind {
					case "inlineData":
						part, e = inline(v)
					case "fileData":
						part, e = file(v)
					}
					if part != nil {
						attached = append(attached, part)
					}
					if err == nil {
						err = e
					}
				})
			}
		}
	})
	if err != nil {
		return err
	}
	c.endUser()
	id, _ = c.waiting.Take(id, name) // none where the history was trimmed: it is dropped later
	var output any = text
	if attached != nil {
		output = append([]json.RawMessage{inputText(text)}, attached...)
	}
	c.add(reply.Encode(map[string]any{"type": "function_call_output", "call_id": id, "output": output}))
	return nil
}

func resultText(response gjson.Result) string {
	output, failure := response.Get("output"), response.Get("error")
	switch {
	case failure.Exists():
		return "The tool failed: " + failure.String()
	case output.Exists():
		return output.String()
	}
	return response.Raw
}

// stringOf is a value that should be a string as one.
func stringOf(value json.RawMessage) json.RawMessage {
	if rawjson.IsString(value) {
		return value
	}
	return reply.Encode(gjson.Parse(rawjson.View(value)).String())
}

func inputText(text string) json.RawMessage {
	return reply.Encode(map[string]string{"type": "input_text", "text": text})
}

// inline is data inside the request as the Responses API has it.
func inline(blob gjson.Result) (json.RawMessage, error) {
	kind, data, name := "", "", ""
	each(blob, func(field string, v gjson.Result) {
		switch field {
		case "mimeType":
			kind = strings.ToLower(v.String())
		case "data":
			data = v.String()
		case "displayName":
			name = v.String()
		}
	})
	if strings.ContainsAny(data, "-_") { // either alphabet is good. Source: ProtoJSON format, bytes
		data = strings.NewReplacer("-", "+", "_", "/").Replace(data)
	}
	url, _ := codex.DataURL(kind, data)
	switch {
	case data == "":
		return nil, codex.Invalid("", "inlineData must have a mimeType and data")
	case strings.HasPrefix(kind, "image/"):
		return reply.Encode(map[string]string{"type": "input_image", "image_url": url}), nil
	case kind == "application/pdf":
		return codex.File{Name: name, Data: url}.Part()
	case strings.HasPrefix(kind, "text/"), kind == "application/json":
		text, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(data, "=\r\n"))
		if err != nil {
			return nil, codex.Invalid("", "the data of a %s is not base64", kind)
		}
		return inputText(string(text)), nil
	}
	return nil, codex.Invalid("", "data of the type %.40q can't be read with a ChatGPT plan. Send text, images or PDF", kind)
}

// file is what stands at an address.
func file(data gjson.Result) (json.RawMessage, error) {
	kind, uri := strings.ToLower(field(data, "mimeType").String()), field(data, "fileUri").String()
	switch {
	case !strings.HasPrefix(uri, "https://") && !strings.HasPrefix(uri, "http://") || strings.HasPrefix(uri, "https://generativelanguage.googleapis.com/"):
		return nil, codex.Invalid("", "uploaded files are not available with a ChatGPT plan. Send the file in inlineData")
	case strings.HasPrefix(kind, "image/"):
		return reply.Encode(map[string]string{"type": "input_image", "image_url": uri}), nil
	case kind == "application/pdf" || strings.HasPrefix(kind, "text/"):
		return codex.File{URL: uri}.Part()
	}
	return nil, codex.Invalid("", "a file of the type %.40q can't be read with a ChatGPT plan. Send text, images or PDF", kind)
}

// signature carries reasoning to the caller and back, as bytes, which some SDKs decode.
func signature(model string, encrypted []string) string {
	signed := make([]string, len(encrypted))
	for i, e := range encrypted {
		signed[i] = codex.SignReasoning(model, e)
	}
	return base64.StdEncoding.EncodeToString([]byte(strings.Join(signed, ",")))
}

// reasoning returns the items that a signature carries; nil for another program's, or another model's.
func reasoning(signature, model string) (items []json.RawMessage) {
	if strings.ContainsAny(signature, "-_") {
		signature = strings.NewReplacer("-", "+", "_", "/").Replace(signature)
	}
	all, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(signature, "="))
	if err != nil {
		return nil
	}
	for s := range strings.SplitSeq(string(all), ",") {
		if encrypted, ok := codex.SignedReasoning(s, model); ok {
			items = append(items, reply.Encode(map[string]any{"type": "reasoning", "summary": []string{}, "encrypted_content": encrypted}))
		}
	}
	return items
}
