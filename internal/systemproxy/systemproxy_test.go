package systemproxy

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"
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

// TestTheSystemIsAskedAgain: what it says changes while the program runs, and one that is slow holds a request up for a
// moment only.
func TestTheSystemIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, says, takes := 0, "a:1", time.Duration(0)
		r := Resolver{ask: func(ctx context.Context, address string) (string, error) {
			if asked++; address != "https://chatgpt.com/" {
				t.Errorf("asked for %s", address)
			}
			answer := says
			select {
			case <-time.After(takes):
				return answer, nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}}
		u := &url.URL{Scheme: "https", Host: "chatgpt.com", Path: "/backend-api"}
		expect := func(proxy string, times int, within time.Duration) {
			t.Helper()
			begun := time.Now()
			got, _ := r.For(u)
			took := time.Since(begun)
			synctest.Wait() // who asks the system is waiting, or done
			if (got == nil) != (proxy == "") || got != nil && got.String() != proxy || asked != times || took > within {
				t.Errorf("%v after %v, asked %d times", got, took, asked)
			}
		}
		takes = 3 * time.Second // it is starting
		expect("", 1, patience)
		expect("", 1, patience)
		time.Sleep(takes)
		synctest.Wait()
		expect("http://a:1", 1, 0)
		says, takes = "b:2", 0
		expect("http://a:1", 1, 0)
		time.Sleep(fresh)
		expect("http://b:2", 2, 0)
		takes = time.Hour
		time.Sleep(fresh)
		expect("http://b:2", 3, patience)
		time.Sleep(longest)
		expect("http://b:2", 3, 0)
		takes = 0
		time.Sleep(retry)
		expect("http://b:2", 4, 0)
	})
}
