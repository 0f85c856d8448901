// Command gosdk runs the Go clients, unmodified, against a proxy in front of the stand-in, and prints what worked as
// JSON: client -> ability -> true or false. Usage: gosdk ROOT-ADDRESS
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
	root := os.Args[1]
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
	table := map[string]row{
		"openai-go":   openaiGo(openaiClient),
		"go-openai":   goOpenAI(sashabaranov.NewClientWithConfig(config)),
		"langchaingo": langchainGo(chain),
		"ollama/api":  ollamaAPI(ollama.NewClient(u, http.DefaultClient)),
	}
	results, failed := map[string]map[string]bool{}, false
	for client, abilities := range table {
		results[client] = map[string]bool{}
		for ability, try := range abilities {
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
