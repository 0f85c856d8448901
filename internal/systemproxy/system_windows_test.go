package systemproxy

import (
	"errors"
	"testing"

	"golang.org/x/sys/windows/registry"
)

// TestWindowsIsAsked: make test-windows runs this under wine, in a registry of its own.
func TestWindowsIsAsked(t *testing.T) {
	key, _, err := registry.CreateKey(registry.CURRENT_USER, internetSettings, registry.SET_VALUE)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Close()
	set := func(on uint32, values ...string) {
		t.Helper()
		err := key.SetDWordValue("ProxyEnable", on)
		for i, name := range []string{"ProxyServer", "ProxyOverride", "AutoConfigURL"} {
			err = errors.Join(err, key.SetStringValue(name, values[i]))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	defer set(0, "", "", "")
	for _, x := range []struct {
		on     uint32
		values []string
		want   string
		err    error
	}{
		{1, []string{"127.0.0.1:7890", "localhost;<local>", ""}, "127.0.0.1:7890", nil},
		{1, []string{"http=a:1;https=b:2", "*.com", ""}, "", nil},
		{0, []string{"127.0.0.1:7890", "", ""}, "", nil},
		{0, []string{"", "", "http://pac.example.com/"}, "", ErrScript},
	} {
		set(x.on, x.values...)
		if got, err := lookup(t.Context(), "https://chatgpt.com/"); got != x.want || !errors.Is(err, x.err) {
			t.Errorf("%+v: %q %v", x, got, err)
		}
	}
}
