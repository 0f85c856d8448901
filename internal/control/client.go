package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"
)

// ErrSilent is what Call's error is when the program is there and does not answer.
var ErrSilent = errors.New("the running Codex Proxy does not answer")

// Call has the program do verb and decodes what it returns into into, unless that is nil. Errors are the program's
// own words, or ErrSilent when it does not answer within patience.
func (p Program) Call(ctx context.Context, patience time.Duration, verb string, args url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	address := "http://" + p.address + "/" + verb
	if len(args) > 0 {
		address += "?" + args.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, http.NoBody)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // not through a proxy
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%w (process %d)", ErrSilent, p.PID)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	switch {
	case err != nil:
		return fmt.Errorf("%w (process %d)", ErrSilent, p.PID)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("the running Codex Proxy (process %d, version %s) is another version and does not know this. End it with `codex-proxy quit` and start it again", p.PID, p.Version)
	case resp.StatusCode != http.StatusOK:
		return errors.New(string(bytes.TrimSpace(raw)))
	case into == nil:
		return nil
	}
	return json.Unmarshal(raw, into)
}
