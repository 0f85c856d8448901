package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	ollama "github.com/ollama/ollama/api"
	sashabaranov "github.com/sashabaranov/go-openai"
	"github.com/tmc/langchaingo/llms"
	langchain "github.com/tmc/langchaingo/llms/openai"
)

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
