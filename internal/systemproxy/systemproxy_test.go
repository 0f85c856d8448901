package systemproxy

import (
	"context"
	"errors"
	"net/url"
	"testing"
)

func TestWindowsSettingsAreRead(t *testing.T) {
	for _, x := range []struct{ server, override, host, want string }{
		{"127.0.0.1:7890", "", "chatgpt.com", "http://127.0.0.1:7890"},
		{"http=a:1;https=b:2;ftp=c:3;socks=d:4", "<local>", "chatgpt.com", "http://b:2"},
		{"http=a:1;socks=d:4", "", "chatgpt.com", "socks5://d:4"},
		{"http=a:1", "", "chatgpt.com", ""},
		{"socks5://127.0.0.1:1080", "", "chatgpt.com", "socks5://127.0.0.1:1080"},
		{"", "", "chatgpt.com", ""},
		{"a:1", "localhost;127.*;*.OpenAI.com", "auth.openai.com", ""},
		{"a:1", "localhost;127.*;*.openai.com;<local>", "chatgpt.com", "http://a:1"},
		{"a:1", "https://chatgpt.com:443", "chatgpt.com", ""},
		{"a:1", "<local>", "intranet", ""},
		{"a:1", "[", "chatgpt.com", "http://a:1"},
	} {
		got := ""
		if u := parse(windows(x.server, x.override, x.host)); u != nil {
			got = u.String()
		}
		if got != x.want {
			t.Errorf("%+v: %q", x, got)
		}
	}
}

func TestScutilIsRead(t *testing.T) {
	const head = "<dictionary> {\n  ExceptionsList : <array> {\n    0 : *.local\n    1 : 169.254/16\n    2 : chat.example.com\n  }\n  FTPPassive : 1\n"
	for _, x := range []struct {
		text, host, want string
		err              error
	}{
		{head + "  HTTPSEnable : 1\n  HTTPSPort : 7890\n  HTTPSProxy : 127.0.0.1\n  SOCKSEnable : 1\n  SOCKSPort : 1080\n  SOCKSProxy : 127.0.0.1\n}\n", "chatgpt.com", "http://127.0.0.1:7890", nil},
		{head + "  HTTPSEnable : 1\n  HTTPSPort : 7890\n  HTTPSProxy : 127.0.0.1\n}\n", "chat.example.com", "", nil},
		{head + "  HTTPSEnable : 0\n  HTTPSProxy : 127.0.0.1\n  SOCKSEnable : 1\n  SOCKSPort : 1080\n  SOCKSProxy : 127.0.0.1\n}\n", "chatgpt.com", "socks5://127.0.0.1:1080", nil},
		{head + "  ProxyAutoConfigEnable : 1\n  ProxyAutoConfigURLString : http://pac.example.com/\n}\n", "chatgpt.com", "", ErrScript},
		{head + "}\n", "chatgpt.com", "", nil},
		{"", "chatgpt.com", "", nil},
	} {
		text, err := scutil(x.text, x.host)
		got := ""
		if u := parse(text); u != nil {
			got = u.String()
		}
		if got != x.want || !errors.Is(err, x.err) {
			t.Errorf("%s of\n%s%q %v", x.host, x.text, got, err)
		}
	}
}

func TestWhatIsNoProxyIsNone(t *testing.T) {
	for text, want := range map[string]string{"direct://": "", "socks4://a:1": "", "socks://a:1": "socks5://a:1", "a b": "", ":8080": "", " a:1 ": "http://a:1"} {
		got := ""
		if u := parse(text); u != nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%q is %q", text, got)
		}
	}
}

// TestTheSystemIsAskedAgain: what it says changes while the program runs, and one that hangs is left alone for a while.
func TestTheSystemIsAskedAgain(t *testing.T) {
	asked, says, hangs := 0, "a:1", false
	r := Resolver{ask: func(ctx context.Context, address string) (string, error) {
		if asked++; address != "https://chatgpt.com/" {
			t.Errorf("asked for %s", address)
		}
		if hangs {
			<-ctx.Done()
			return "", ctx.Err()
		}
		return says, nil
	}}
	u := &url.URL{Scheme: "https", Host: "chatgpt.com", Path: "/backend-api"}
	expect := func(proxy string, times int) {
		t.Helper()
		got, _ := r.For(u)
		if got == nil || got.String() != proxy || asked != times {
			t.Errorf("%v, asked %d times", got, asked)
		}
	}
	later := func() {
		a := r.kept["https://chatgpt.com"]
		a.until = a.until.Add(-fresh)
		r.kept["https://chatgpt.com"] = a
	}
	expect("http://a:1", 1)
	says = "b:2"
	expect("http://a:1", 1)
	later()
	expect("http://b:2", 2)
	hangs = true
	later()
	expect("http://b:2", 3)
	later()
	expect("http://b:2", 3)
}
