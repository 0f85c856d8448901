package proxy

import (
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// quotes are passages in quotation marks, but not the marks in can't. They are compiled when they are used first: a Worker
// pays for what is done at its start.
var quotes = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile("(?s)(^|[\\s(\\[=:,])('.*?'|\".*?\"|`.*?`)($|[\\s)\\].,:;!?])")
})

var links = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile("https?://[^\\s'\"`]+") })

// longestQuote is how many bytes of a request's words an error may quote: the name of a model, a field or a tool.
const longestQuote = 60

// withoutQuotes is an error's sentence as it is kept and shown: the backend quotes what it does not like, and that may be
// what was said. Names stay, and so do OpenAI's own addresses.
func withoutQuotes(sentence string) string {
	sentence = quotes().ReplaceAllStringFunc(sentence, func(s string) string {
		parts := quotes().FindStringSubmatch(s)
		text := parts[2][1 : len(parts[2])-1]
		if len(text) <= longestQuote && !strings.ContainsAny(text, " \t\r\n") || text == "Sign in with ChatGPT" {
			return s
		}
		return parts[1] + parts[2][:1] + "…" + parts[2][:1] + parts[3]
	})
	return links().ReplaceAllStringFunc(sentence, func(link string) string {
		u, err := url.Parse(link)
		if err != nil {
			return "…"
		}
		if host := u.Hostname(); host == "chatgpt.com" || strings.HasSuffix(host, ".openai.com") || host == "openai.com" {
			return link
		}
		return u.Scheme + "://" + u.Host + "/…"
	})
}
