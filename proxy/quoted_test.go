package proxy

import (
	"strings"
	"testing"
	"time"
)

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
		"Open https://chatgpt.com. Try it":                                                        "Open https://chatgpt.com. Try it",
		"Nobody is signed in. Run `codex-proxy login`":                                            "Nobody is signed in. Run `codex-proxy login`",
		"Click on \"Sign in…\" in the menu":                                                       "Click on \"Sign in…\" in the menu",
		"Invalid: 'low' 'tell me secrets'":                                                        "Invalid: 'low' '…'",
		"Invalid value: ('text','tell me secrets')":                                               "Invalid value: ('text','…')",
		"Invalid value: {'type': 'text', 'text': 'tell me secrets'}":                              "Invalid value: {'type': 'text', 'text': '…'}",
		"Invalid value: {\"text\":\"tell me secrets\"}":                                           "Invalid value: {\"text\":\"…\"}",
		"Invalid value: 'he said 'yes', and more secrets'. Send another":                          "Invalid value: '…'. Send another",
		"Invalid value: 'a secret that is cut":                                                    "Invalid value: '…",
		"Invalid value: '秘密を教えて'.":                                                                "Invalid value: '…'.",
		"Invalid schema for function 'get_weather': In context=('properties', 'a'), 'x' is wrong": "Invalid schema for function 'get_weather': In context=('properties', 'a'), 'x' is wrong",
	} {
		if got := withoutQuotes(sentence); got != want {
			t.Errorf("%q: %q", sentence, got)
		}
	}
}

// TestWhatIsKeptOfALongErrorTakesNoTime: the backend may quote a whole file, with marks in it that belong to nothing.
func TestWhatIsKeptOfALongErrorTakesNoTime(t *testing.T) {
	start := time.Now()
	withoutQuotes("Invalid value: " + strings.Repeat("  'x and \"y\" ;\n", 20_000))
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}
