package proxy

import (
	"net/url"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// longestQuote is how many bytes of a request's words an error may quote: the name of a model, a field or a tool.
const longestQuote = 60

// withoutQuotes is an error's sentence as it is kept and shown: the backend quotes what it does not like, and that may be
// what was said. Names stay, and so do the proxy's own advice and OpenAI's own addresses. What a quotation holds is of any
// length, and may have marks in it that belong to nothing: each byte is looked at once.
func withoutQuotes(sentence string) string {
	var out strings.Builder
	done := 0 // bytes that are in out
	for i := 0; i < len(sentence); i++ {
		if !strings.ContainsRune("'\"`", rune(sentence[i])) || wordBefore(sentence, i) { // the mark in can't
			continue
		}
		end := endOfQuote(sentence, i)
		if text := sentence[i+1 : end]; !isName(text) && !isAdvice(text) {
			out.WriteString(sentence[done:i+1] + "…")
			done = end
		}
		i = end
	}
	out.WriteString(sentence[done:])
	return withoutLinks(out.String())
}

// endOfQuote is where the mark is that closes the one at start; the sentence's end where none does. There may be quotations
// in the quotation.
func endOfQuote(sentence string, start int) int {
	open := 1
	for i := start + 1; i < len(sentence); i++ {
		if sentence[i] != sentence[start] {
			continue
		}
		switch before, after := wordBefore(sentence, i), wordAfter(sentence, i); {
		case !after:
			if open--; open == 0 {
				return i
			}
		case !before:
			open++
		}
	}
	return len(sentence)
}

func wordBefore(s string, i int) bool {
	c, _ := utf8.DecodeLastRuneInString(s[:i])
	return unicode.IsLetter(c) || unicode.IsDigit(c)
}

func wordAfter(s string, i int) bool {
	c, _ := utf8.DecodeRuneInString(s[i+1:])
	return unicode.IsLetter(c) || unicode.IsDigit(c)
}

// isName reports whether a quotation is the name of something: those have no spaces, and are in ASCII.
func isName(text string) bool {
	return len(text) <= longestQuote && !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= utf8.RuneSelf })
}

// isAdvice reports whether a quotation is of what the proxy says to do: a command, or an entry of its menu.
func isAdvice(text string) bool {
	switch strings.TrimSuffix(text, "…") {
	case "Sign in", "Sign in with ChatGPT", "codex login":
		return true
	}
	return len(text) <= longestQuote && !strings.Contains(text, "\n") && strings.HasPrefix(text, "codex-proxy ")
}

// links are compiled when they are used first: a Worker pays for what is done at its start.
var links = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("https?://[^\\s'\"`]+") })

func withoutLinks(sentence string) string {
	return links().ReplaceAllStringFunc(sentence, func(link string) string {
		u, err := url.Parse(link)
		if err != nil {
			return "…"
		}
		if host := strings.TrimRight(u.Hostname(), ".,)"); host == "chatgpt.com" || strings.HasSuffix(host, ".openai.com") || host == "openai.com" {
			return link
		}
		return u.Scheme + "://" + u.Host + "/…"
	})
}
