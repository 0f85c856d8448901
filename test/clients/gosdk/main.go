// Command gosdk runs the Go clients, unmodified, against a proxy in front of the stand-in, and prints what worked as
// JSON: client -> ability -> true or false. The conversations of "cache" are had with another proxy, behind which they
// are measured. Usage: gosdk ROOT-ADDRESS MEASURED-ADDRESS
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	ollama "github.com/ollama/ollama/api"
	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	sashabaranov "github.com/sashabaranov/go-openai"
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
