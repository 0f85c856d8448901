package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/openai/openai-go/v3"
)

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
