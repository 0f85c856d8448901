package proxy

import "testing"

func TestAnErrorThatIsKeptQuotesNothingThatWasSaid(t *testing.T) {
	for sentence, want := range map[string]string{
		"Invalid value: 'tell me my secrets'. Supported values are: 'low', and 'high'.":           "Invalid value: '…'. Supported values are: 'low', and 'high'.",
		"Invalid value: 'it's a secret'.":                                                         "Invalid value: '…'.",
		"Unknown \"two\nlines\", sorry":                                                           "Unknown \"…\", sorry",
		"The 'gpt-5' model is not supported.":                                                     "The 'gpt-5' model is not supported.",
		"It can't be read. It isn't JSON":                                                         "It can't be read. It isn't JSON",
		"\"Sign in with ChatGPT\" does not offer this.":                                           "\"Sign in with ChatGPT\" does not offer this.",
		"Failed to download https://files.example/secret.png?sig=1. Try it.":                      "Failed to download https://files.example/… Try it.",
		"See and change it at https://chatgpt.com/settings/usage":                                 "See and change it at https://chatgpt.com/settings/usage",
		"Invalid schema for function 'get_weather': In context=('properties', 'a'), 'x' is wrong": "Invalid schema for function 'get_weather': In context=('properties', 'a'), 'x' is wrong",
	} {
		if got := withoutQuotes(sentence); got != want {
			t.Errorf("%q: %q", sentence, got)
		}
	}
}
