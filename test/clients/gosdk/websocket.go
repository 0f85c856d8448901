package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/responses"
)

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
