// Command gosdk runs the Go clients, unmodified, against a proxy in front of the stand-in, and prints what worked as
// JSON: client -> ability -> true or false. The conversations of "cache" are had with another proxy, behind which they
// are measured. Usage: gosdk ROOT-ADDRESS MEASURED-ADDRESS
package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	ollama "github.com/ollama/ollama/api"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	sashabaranov "github.com/sashabaranov/go-openai"
	"github.com/tmc/langchaingo/llms"
	langchain "github.com/tmc/langchaingo/llms/openai"
)

const (
	model = "gpt-5.5"
	pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

type row map[string]func(context.Context) error

func main() {
	table, measured := clients(os.Args[1]), clients(os.Args[2])
	results, failed := map[string]map[string]bool{}, false
	for client, abilities := range table {
		results[client] = map[string]bool{}
		for ability, try := range abilities {
			if ability == "cache" {
				try = measured[client][ability]
			}
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := try(ctx)
			cancel()
			results[client][ability] = err == nil
			if err != nil {
				failed = true
				fmt.Fprintf(os.Stderr, "✗ %s, %s: %v\n", client, ability, err)
			}
		}
	}
	json.NewEncoder(os.Stdout).Encode(results) //nolint:errcheck // the reader has gone
	if failed {
		os.Exit(1)
	}
}

// clients are the rows of those that call a proxy.
func clients(root string) map[string]row {
	u, err := url.Parse(root)
	if err != nil {
		panic(err)
	}
	openaiClient := openai.NewClient(option.WithBaseURL(root+"/v1"), option.WithAPIKey("x"))
	config := sashabaranov.DefaultConfig("x")
	config.BaseURL = root + "/v1"
	chain, err := langchain.New(langchain.WithToken("x"), langchain.WithBaseURL(root+"/v1"), langchain.WithModel(model))
	if err != nil {
		panic(err)
	}
	return map[string]row{
		"openai-go":             openaiGo(openaiClient),
		"openai-go (WebSocket)": openaiGoBySocket(openaiClient),
		"go-openai":             goOpenAI(sashabaranov.NewClientWithConfig(config)),
		"langchaingo":           langchainGo(chain),
		"ollama/api":            ollamaAPI(ollama.NewClient(u, http.DefaultClient)),
	}
}

// turns is how many the conversation of "cache" has: each asks for a tool, and then hears what it answered.
const turns = 10

// converse has a conversation that bears the mark by which run.mjs finds it. answer takes what the user says, and
// answers it to the end.
func converse(mark string, answer func(text string) (string, error)) error {
	for i := range turns {
		text, err := answer(fmt.Sprintf("cache:%s: %d: call get_weather", mark, i))
		if err := holds(text, "18 degrees", err); err != nil {
			return err
		}
	}
	return nil
}

func holds(text, want string, err error) error {
	if err == nil && !strings.Contains(text, want) {
		err = fmt.Errorf("%q lacks %q", text, want)
	}
	return err
}

func refused(err error) error {
	if err == nil {
		return errors.New("the limit was no error")
	}
	text := err.Error()
	if e := new(openai.Error); errors.As(err, &e) {
		text = e.Message // its text has only the status
	}
	return holds(strings.ToLower(text), "usage limit reached", nil)
}

func openaiGo(c openai.Client) row {
	ask := func(text string) openai.ChatCompletionNewParams {
		return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
	}
	complete := func(ctx context.Context, p openai.ChatCompletionNewParams) (string, error) {
		answer, err := c.Chat.Completions.New(ctx, p)
		if err != nil {
			return "", err
		}
		return answer.Choices[0].Message.Content, nil
	}
	return row{
		"chat": func(ctx context.Context) error {
			text, err := complete(ctx, ask("hello"))
			return holds(text, "hello", err)
		},
		"stream": func(ctx context.Context) error {
			stream, text := c.Chat.Completions.NewStreaming(ctx, ask("hello")), ""
			for stream.Next() {
				text += stream.Current().Choices[0].Delta.Content
			}
			return holds(text, "hello", stream.Err())
		},
		"tools": func(ctx context.Context) error {
			p := ask("call get_weather")
			p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "get_weather", Parameters: openai.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}})}
			answer, err := c.Chat.Completions.New(ctx, p)
			if err != nil || len(answer.Choices[0].Message.ToolCalls) != 1 {
				return fmt.Errorf("no call: %w", err)
			}
			p.Messages = append(p.Messages, answer.Choices[0].Message.ToParam(), openai.ToolMessage("18 degrees", answer.Choices[0].Message.ToolCalls[0].ID))
			text, err := complete(ctx, p)
			return holds(text, "18 degrees", err)
		},
		"cache": func(ctx context.Context) error {
			p := ask("")
			p.Messages = nil
			p.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(openai.FunctionDefinitionParam{Name: "get_weather", Parameters: openai.FunctionParameters(weather)})}
			return converse("openai-go", func(text string) (string, error) {
				p.Messages = append(p.Messages, openai.UserMessage(text))
				for {
					answer, err := c.Chat.Completions.New(ctx, p)
					if err != nil {
						return "", err
					}
					said := answer.Choices[0].Message
					p.Messages = append(p.Messages, said.ToParam())
					if len(said.ToolCalls) == 0 {
						return said.Content, nil
					}
					for _, call := range said.ToolCalls {
						p.Messages = append(p.Messages, openai.ToolMessage("18 degrees", call.ID))
					}
				}
			})
		},
		"images": func(ctx context.Context) error {
			p := ask("")
			p.Messages = []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
				openai.TextContentPart("see"), openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + pixel})})}
			text, err := complete(ctx, p)
			return holds(text, "1 image", err)
		},
		"structured": func(ctx context.Context) error {
			p := ask("fill")
			p.ResponseFormat = openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &openai.ResponseFormatJSONSchemaParam{JSONSchema: openai.ResponseFormatJSONSchemaJSONSchemaParam{
				Name: "n", Strict: openai.Bool(true), Schema: map[string]any{"type": "object", "properties": map[string]any{"n": map[string]any{"type": "integer"}}, "required": []string{"n"}, "additionalProperties": false}}}}
			text, err := complete(ctx, p)
			return holds(text, `{"n":1}`, err)
		},
		"errors": func(ctx context.Context) error { _, err := complete(ctx, ask("[[limit]]")); return refused(err) },
		"cancel": func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			stream := c.Chat.Completions.NewStreaming(ctx, ask("[[endless]]"))
			stream.Next()
			cancel()
			for stream.Next() {
			}
			if stream.Err() == nil {
				return errors.New("a cancelled stream ended well")
			}
			return nil
		},
	}
}

var weather = map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}

// bySocket is a Responses WebSocket.
type bySocket struct{ *responses.ResponseConnection }

// on opens one for as long as use takes.
func on(ctx context.Context, c openai.Client, use func(bySocket) error) error {
	conn, err := c.Responses.Connect(ctx, responses.ResponseConnectionOptions{})
	if err != nil {
		return err
	}
	defer conn.Abort()
	return use(bySocket{conn})
}

func say(text string) responses.ResponsesClientEventResponseCreateParam {
	return responses.ResponsesClientEventResponseCreateParam{Model: model, Input: responses.ResponsesClientEventResponseCreateInputUnionParam{OfString: openai.String(text)}}
}

// ask sends a turn and returns its whole answer.
func (s bySocket) ask(ctx context.Context, p responses.ResponsesClientEventResponseCreateParam) (*responses.Response, error) {
	if err := s.Create(ctx, p); err != nil {
		return nil, err
	}
	return s.FinalResponse(ctx)
}

func (s bySocket) text(ctx context.Context, p responses.ResponsesClientEventResponseCreateParam) (string, error) {
	answer, err := s.ask(ctx, p)
	if err != nil {
		return "", err
	}
	return answer.OutputText(), nil
}

// converse sends a turn, and what the tools answer, until the model does.
func (s bySocket) converse(ctx context.Context, p responses.ResponsesClientEventResponseCreateParam) (*responses.Response, error) {
	p.Tools = []responses.ToolUnionParam{responses.ToolParamOfFunction("get_weather", weather, false)}
	for {
		answer, err := s.ask(ctx, p)
		if err != nil {
			return nil, err
		}
		var outputs responses.ResponseInputParam
		for _, item := range answer.Output {
			if item.Type == "function_call" {
				output := responses.ResponseInputItemParamOfFunctionCallOutput("18 degrees")
				output.OfFunctionCallOutput.CallID = openai.String(item.CallID)
				outputs = append(outputs, output)
			}
		}
		if outputs == nil {
			return answer, nil
		}
		p.PreviousResponseID = openai.String(answer.ID)
		p.Input = responses.ResponsesClientEventResponseCreateInputUnionParam{OfResponse: &outputs}
	}
}

func openaiGoBySocket(c openai.Client) row {
	return row{
		"chat": func(ctx context.Context) error {
			return on(ctx, c, func(s bySocket) error {
				text, err := s.text(ctx, say("hello"))
				return holds(text, "hello", err)
			})
		},
		"stream": func(ctx context.Context) error {
			return on(ctx, c, func(s bySocket) error {
				if err := s.Create(ctx, say("hello")); err != nil {
					return err
				}
				var heard responses.ResponseAccumulator
				for {
					event, err := s.Recv(ctx)
					if err != nil {
						return err
					}
					if err := heard.AddEvent(event); err != nil {
						return err
					}
					if event.Type == "response.completed" {
						return holds(heard.Snapshot().OutputText(), "hello", nil)
					}
				}
			})
		},
		"tools": func(ctx context.Context) error {
			return on(ctx, c, func(s bySocket) error {
				answer, err := s.converse(ctx, say("call get_weather"))
				if err != nil {
					return err
				}
				return holds(answer.OutputText(), "18 degrees", nil)
			})
		},
		"errors": func(ctx context.Context) error {
			return on(ctx, c, func(s bySocket) error {
				_, err := s.text(ctx, say("[[limit]]"))
				if e := new(responses.ResponseProtocolError); errors.As(err, &e) {
					err = errors.New(e.Event.RawJSON())
				}
				return refused(err)
			})
		},
		"cancel": func(ctx context.Context) error {
			return on(ctx, c, func(s bySocket) error {
				if err := s.Create(ctx, say("[[endless]]")); err != nil {
					return err
				}
				if _, err := s.Recv(ctx); err != nil {
					return err
				}
				if err := s.SendRaw(ctx, json.RawMessage(`{"type":"response.cancel"}`)); err != nil {
					return err
				}
				answer, err := s.FinalResponse(ctx)
				if err != nil {
					return err
				}
				return holds(string(answer.IncompleteDetails.Reason), "cancelled", nil)
			})
		},
		"websocket": func(ctx context.Context) error {
			return on(ctx, c, func(s bySocket) error {
				slow, err := s.Lane("slow")
				if err != nil {
					return err
				}
				fast, err := s.Lane("fast")
				if err != nil {
					return err
				}
				for stream, text := range map[string]string{"slow": "[[endless]]", "fast": "hello"} {
					p := say(text)
					p.StreamID = openai.String(stream)
					if err := s.Create(ctx, p); err != nil {
						return err
					}
				}
				first, err := fast.FinalResponse(ctx)
				if err != nil {
					return err
				}
				if err := s.SendRaw(ctx, json.RawMessage(`{"type":"response.cancel","stream_id":"slow"}`)); err != nil {
					return err
				}
				stopped, err := slow.FinalResponse(ctx)
				if err != nil {
					return err
				}
				if err := holds(string(stopped.IncompleteDetails.Reason), "cancelled", nil); err != nil {
					return err
				}
				p := say("and more")
				p.PreviousResponseID = openai.String(first.ID)
				text, err := s.text(ctx, p)
				return holds(text, "and more", err)
			})
		},
		"cache": func(ctx context.Context) error {
			return on(ctx, c, func(s bySocket) error {
				previous := ""
				return converse("openai-go-WebSocket-", func(text string) (string, error) {
					p := say(text)
					if previous != "" {
						p.PreviousResponseID = openai.String(previous)
					}
					answer, err := s.converse(ctx, p)
					if err != nil {
						return "", err
					}
					previous = answer.ID
					return answer.OutputText(), nil
				})
			})
		},
	}
}

func goOpenAI(c *sashabaranov.Client) row {
	ask := func(text string) sashabaranov.ChatCompletionRequest {
		return sashabaranov.ChatCompletionRequest{Model: model, Messages: []sashabaranov.ChatCompletionMessage{{Role: "user", Content: text}}}
	}
	complete := func(ctx context.Context, r sashabaranov.ChatCompletionRequest) (string, error) {
		answer, err := c.CreateChatCompletion(ctx, r)
		if err != nil {
			return "", err
		}
		return answer.Choices[0].Message.Content, nil
	}
	return row{
		"chat": func(ctx context.Context) error {
			text, err := complete(ctx, ask("hello"))
			return holds(text, "hello", err)
		},
		"stream": func(ctx context.Context) error {
			stream, err := c.CreateChatCompletionStream(ctx, ask("hello"))
			if err != nil {
				return err
			}
			defer stream.Close()
			text := ""
			for {
				chunk, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					return holds(text, "hello", nil)
				}
				if err != nil {
					return err
				}
				text += chunk.Choices[0].Delta.Content
			}
		},
		"tools": func(ctx context.Context) error {
			r := ask("call get_weather")
			r.Tools = []sashabaranov.Tool{{Type: "function", Function: &sashabaranov.FunctionDefinition{Name: "get_weather", Parameters: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}}}}
			answer, err := c.CreateChatCompletion(ctx, r)
			if err != nil || len(answer.Choices[0].Message.ToolCalls) != 1 {
				return fmt.Errorf("no call: %w", err)
			}
			r.Messages = append(r.Messages, answer.Choices[0].Message, sashabaranov.ChatCompletionMessage{Role: "tool", ToolCallID: answer.Choices[0].Message.ToolCalls[0].ID, Content: "18 degrees"})
			text, err := complete(ctx, r)
			return holds(text, "18 degrees", err)
		},
		"cache": func(ctx context.Context) error {
			r := ask("")
			r.Messages = nil
			r.Tools = []sashabaranov.Tool{{Type: "function", Function: &sashabaranov.FunctionDefinition{Name: "get_weather", Parameters: weather}}}
			return converse("go-openai", func(text string) (string, error) {
				r.Messages = append(r.Messages, sashabaranov.ChatCompletionMessage{Role: "user", Content: text})
				for {
					answer, err := c.CreateChatCompletion(ctx, r)
					if err != nil {
						return "", err
					}
					said := answer.Choices[0].Message
					r.Messages = append(r.Messages, said)
					if len(said.ToolCalls) == 0 {
						return said.Content, nil
					}
					for _, call := range said.ToolCalls {
						r.Messages = append(r.Messages, sashabaranov.ChatCompletionMessage{Role: "tool", ToolCallID: call.ID, Content: "18 degrees"})
					}
				}
			})
		},
		"images": func(ctx context.Context) error {
			r := ask("")
			r.Messages = []sashabaranov.ChatCompletionMessage{{Role: "user", MultiContent: []sashabaranov.ChatMessagePart{{Type: "text", Text: "see"}, {Type: "image_url", ImageURL: &sashabaranov.ChatMessageImageURL{URL: "data:image/png;base64," + pixel}}}}}
			text, err := complete(ctx, r)
			return holds(text, "1 image", err)
		},
		"errors": func(ctx context.Context) error { _, err := complete(ctx, ask("[[limit]]")); return refused(err) },
	}
}

func langchainGo(c *langchain.LLM) row {
	return row{
		"chat": func(ctx context.Context) error {
			text, err := llms.GenerateFromSinglePrompt(ctx, c, "hello", llms.WithTemperature(0.2), llms.WithMaxTokens(100))
			return holds(text, "hello", err)
		},
		"stream": func(ctx context.Context) error {
			text := ""
			_, err := llms.GenerateFromSinglePrompt(ctx, c, "hello", llms.WithStreamingFunc(func(_ context.Context, chunk []byte) error { text += string(chunk); return nil }))
			return holds(text, "hello", err)
		},
		"tools": func(ctx context.Context) error {
			history := []llms.MessageContent{llms.TextParts(llms.ChatMessageTypeHuman, "call get_weather")}
			tools := llms.WithTools([]llms.Tool{{Type: "function", Function: &llms.FunctionDefinition{Name: "get_weather", Parameters: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}}}})
			answer, err := c.GenerateContent(ctx, history, tools)
			if err != nil || len(answer.Choices[0].ToolCalls) != 1 {
				return fmt.Errorf("no call: %w", err)
			}
			call := answer.Choices[0].ToolCalls[0]
			history = append(history, llms.MessageContent{Role: llms.ChatMessageTypeAI, Parts: []llms.ContentPart{call}},
				llms.MessageContent{Role: llms.ChatMessageTypeTool, Parts: []llms.ContentPart{llms.ToolCallResponse{ToolCallID: call.ID, Name: "get_weather", Content: "18 degrees"}}})
			answer, err = c.GenerateContent(ctx, history, tools)
			if err != nil {
				return err
			}
			return holds(answer.Choices[0].Content, "18 degrees", nil)
		},
		"cache": func(ctx context.Context) error {
			var history []llms.MessageContent
			tools := llms.WithTools([]llms.Tool{{Type: "function", Function: &llms.FunctionDefinition{Name: "get_weather", Parameters: weather}}})
			return converse("langchaingo", func(text string) (string, error) {
				history = append(history, llms.TextParts(llms.ChatMessageTypeHuman, text))
				for {
					answer, err := c.GenerateContent(ctx, history, tools)
					if err != nil {
						return "", err
					}
					said := answer.Choices[0]
					if len(said.ToolCalls) == 0 {
						history = append(history, llms.TextParts(llms.ChatMessageTypeAI, said.Content))
						return said.Content, nil
					}
					for _, call := range said.ToolCalls {
						history = append(history, llms.MessageContent{Role: llms.ChatMessageTypeAI, Parts: []llms.ContentPart{call}},
							llms.MessageContent{Role: llms.ChatMessageTypeTool, Parts: []llms.ContentPart{llms.ToolCallResponse{ToolCallID: call.ID, Name: "get_weather", Content: "18 degrees"}}})
					}
				}
			})
		},
		"images": func(ctx context.Context) error {
			answer, err := c.GenerateContent(ctx, []llms.MessageContent{{Role: llms.ChatMessageTypeHuman, Parts: []llms.ContentPart{llms.TextPart("see"), llms.ImageURLPart("data:image/png;base64," + pixel)}}})
			if err != nil {
				return err
			}
			return holds(answer.Choices[0].Content, "1 image", nil)
		},
		"errors": func(ctx context.Context) error {
			_, err := llms.GenerateFromSinglePrompt(ctx, c, "[[limit]]")
			return refused(err)
		},
	}
}

func ollamaAPI(c *ollama.Client) row {
	whole := false
	ask := func(text string) *ollama.ChatRequest {
		return &ollama.ChatRequest{Model: model, Messages: []ollama.Message{{Role: "user", Content: text}}}
	}
	run := func(ctx context.Context, r *ollama.ChatRequest) (last ollama.Message, err error) {
		err = c.Chat(ctx, r, func(part ollama.ChatResponse) error {
			last.Content += part.Message.Content
			last.ToolCalls = append(last.ToolCalls, part.Message.ToolCalls...)
			last.Role = "assistant"
			return nil
		})
		return last, err
	}
	return row{
		"chat": func(ctx context.Context) error {
			if err := c.Heartbeat(ctx); err != nil {
				return err
			}
			list, err := c.List(ctx)
			if err != nil || len(list.Models) == 0 {
				return fmt.Errorf("no models: %w", err)
			}
			r := ask("hello")
			r.Stream = &whole
			answer, err := run(ctx, r)
			return holds(answer.Content, "hello", err)
		},
		"stream": func(ctx context.Context) error {
			answer, err := run(ctx, ask("hello"))
			return holds(answer.Content, "hello", err)
		},
		"tools": func(ctx context.Context) error {
			r := ask("call get_weather")
			if err := json.Unmarshal([]byte(`[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`), &r.Tools); err != nil {
				return err
			}
			answer, err := run(ctx, r)
			if err != nil || len(answer.ToolCalls) != 1 {
				return fmt.Errorf("no call: %w", err)
			}
			r.Messages = append(r.Messages, answer, ollama.Message{Role: "tool", Content: "18 degrees", ToolName: "get_weather"})
			answer, err = run(ctx, r)
			return holds(answer.Content, "18 degrees", err)
		},
		"cache": func(ctx context.Context) error {
			r := ask("")
			r.Messages = nil
			if err := json.Unmarshal([]byte(`[{"type":"function","function":{"name":"get_weather","parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}]`), &r.Tools); err != nil {
				return err
			}
			return converse("ollama-api", func(text string) (string, error) {
				r.Messages = append(r.Messages, ollama.Message{Role: "user", Content: text})
				for {
					said, err := run(ctx, r)
					if err != nil {
						return "", err
					}
					r.Messages = append(r.Messages, said)
					if len(said.ToolCalls) == 0 {
						return said.Content, nil
					}
					r.Messages = append(r.Messages, ollama.Message{Role: "tool", Content: "18 degrees", ToolName: "get_weather"})
				}
			})
		},
		"images": func(ctx context.Context) error {
			raw, err := base64.StdEncoding.DecodeString(pixel)
			if err != nil {
				return err
			}
			r := ask("see")
			r.Messages[0].Images = []ollama.ImageData{raw}
			answer, err := run(ctx, r)
			return holds(answer.Content, "1 image", err)
		},
		"structured": func(ctx context.Context) error {
			r := ask("fill")
			r.Format = json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)
			answer, err := run(ctx, r)
			return holds(answer.Content, `{"n":1}`, err)
		},
		"errors": func(ctx context.Context) error { _, err := run(ctx, ask("[[limit]]")); return refused(err) },
	}
}
