//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"
	goopenai "github.com/sashabaranov/go-openai"
)

const pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="

func weatherParameters() map[string]any {
	return map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}}
}

// The official Go SDK, unmodified: a streamed tool call and its result, a structured output, an image, Responses.
func TestOpenAIGo(t *testing.T) {
	p, _ := startSignedIn(t)
	client := openai.NewClient(option.WithBaseURL(p.url+"/v1"), option.WithAPIKey("x"), option.WithMaxRetries(0))

	params := openai.ChatCompletionNewParams{
		Model:    "gpt-5.5",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.SystemMessage("Be brief."), openai.UserMessage("Please call get_weather.")},
		Tools: []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "get_weather", Parameters: weatherParameters()})},
		StreamOptions: openai.ChatCompletionStreamOptionsParam{IncludeUsage: openai.Bool(true)},
	}
	stream := client.Chat.Completions.NewStreaming(t.Context(), params)
	var acc openai.ChatCompletionAccumulator
	for stream.Next() {
		acc.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		t.Fatal(err)
	}
	if len(acc.Choices) != 1 || acc.Choices[0].FinishReason != "tool_calls" || acc.Usage.TotalTokens == 0 {
		t.Fatalf("%+v", acc)
	}
	call := acc.Choices[0].Message.ToolCalls[0]
	if call.Function.Name != "get_weather" || call.Function.Arguments != `{"city":"sample"}` {
		t.Errorf("%+v", call)
	}
	params.Messages = append(params.Messages, acc.Choices[0].Message.ToParam(), openai.ToolMessage("18 degrees", call.ID))
	answer, err := client.Chat.Completions.New(t.Context(), params)
	if err != nil || !strings.Contains(answer.Choices[0].Message.Content, "18 degrees") {
		t.Fatalf("%v %+v", err, answer)
	}

	answer, err = client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
		Model: "gpt-5.5", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("Fill it.")},
		ResponseFormat: openai.ChatCompletionNewParamsResponseFormatUnion{OfJSONSchema: &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "weather", Strict: openai.Bool(true), Schema: weatherParameters()}}},
	})
	var filled struct{ City string }
	if err != nil || json.Unmarshal([]byte(answer.Choices[0].Message.Content), &filled) != nil || filled.City != "sample" {
		t.Fatalf("%v %+v", err, answer)
	}

	answer, err = client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{
		Model: "gpt-5.5", Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage([]openai.ChatCompletionContentPartUnionParam{
			openai.TextContentPart("What is it?"), openai.ImageContentPart(openai.ChatCompletionContentPartImageImageURLParam{URL: "data:image/png;base64," + pixel})})},
	})
	if err != nil || !strings.Contains(answer.Choices[0].Message.Content, "1 image") {
		t.Fatalf("%v %+v", err, answer)
	}

	var apiErr *openai.Error
	_, err = client.Chat.Completions.New(t.Context(), openai.ChatCompletionNewParams{Model: "gpt-5.5",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage("[[context]]")}})
	if !errors.As(err, &apiErr) || apiErr.Code != "context_length_exceeded" || apiErr.StatusCode != 400 {
		t.Errorf("an error: %v", err)
	}

	events := client.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: "gpt-5.5", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("hello")}})
	var text, final string
	for events.Next() {
		event := events.Current()
		text += event.AsResponseOutputTextDelta().Delta
		if event.Type == "response.completed" {
			final = event.Response.OutputText()
		}
	}
	if events.Err() != nil || text != final || !strings.Contains(final, "hello") {
		t.Errorf("%v: %q, at last %q", events.Err(), text, final)
	}
	cut := client.Responses.NewStreaming(t.Context(), responses.ResponseNewParams{Model: "gpt-5.5", Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("[[cut]]")}})
	for cut.Next() {
	}
	if cut.Err() == nil {
		t.Error("a broken stream looked whole")
	}
}

// The other Go client, with tools, the legacy functions, and a stream that fails.
func TestGoOpenAI(t *testing.T) {
	p, _ := startSignedIn(t)
	config := goopenai.DefaultConfig("x")
	config.BaseURL = p.url + "/v1"
	client := goopenai.NewClientWithConfig(config)
	weather := goopenai.FunctionDefinition{Name: "get_weather", Parameters: weatherParameters()}

	request := goopenai.ChatCompletionRequest{
		Model: "gpt-5.5", MaxCompletionTokens: 50,
		Messages: []goopenai.ChatCompletionMessage{{Role: "user", Content: "use the tool"}},
		Tools:    []goopenai.Tool{{Type: "function", Function: &weather}},
	}
	answer, err := client.CreateChatCompletion(t.Context(), request)
	if err != nil || answer.Choices[0].FinishReason != "tool_calls" {
		t.Fatalf("%v %+v", err, answer)
	}
	request.Messages = append(request.Messages, answer.Choices[0].Message,
		goopenai.ChatCompletionMessage{Role: "tool", ToolCallID: answer.Choices[0].Message.ToolCalls[0].ID, Content: "sunny"})
	stream, err := client.CreateChatCompletionStream(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for {
		chunk, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text += chunk.Choices[0].Delta.Content // panics on a chunk without choices that nobody asked for
	}
	stream.Close()
	if !strings.Contains(text, "sunny") {
		t.Errorf("text %q", text)
	}

	//lint:ignore SA1019 the old form is what is tested
	legacy := goopenai.ChatCompletionRequest{Model: "gpt-5.5", Functions: []goopenai.FunctionDefinition{weather},
		Messages: []goopenai.ChatCompletionMessage{{Role: "user", Content: "get_weather please"}}}
	answer, err = client.CreateChatCompletion(t.Context(), legacy)
	if err != nil || answer.Choices[0].FinishReason != "function_call" || answer.Choices[0].Message.FunctionCall.Name != "get_weather" {
		t.Fatalf("%v %+v", err, answer)
	}
	legacy.Messages = append(legacy.Messages, answer.Choices[0].Message, goopenai.ChatCompletionMessage{Role: "function", Name: "get_weather", Content: "rain"})
	if answer, err = client.CreateChatCompletion(t.Context(), legacy); err != nil || !strings.Contains(answer.Choices[0].Message.Content, "rain") {
		t.Fatalf("%v %+v", err, answer)
	}

	broken, err := client.CreateChatCompletionStream(t.Context(), goopenai.ChatCompletionRequest{Model: "gpt-5.5",
		Messages: []goopenai.ChatCompletionMessage{{Role: "user", Content: "[[cut]]"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer broken.Close()
	for err == nil {
		_, err = broken.Recv()
	}
	if errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "unexpected") {
		t.Error("a broken stream looked whole")
	}
}
