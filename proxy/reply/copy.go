package reply

import (
	"codex-proxy/proxy/codex"
)

// Encoder writes the events of an answer in some dialect.
type Encoder interface {
	// Event takes one event, which is not a failure, and returns the end with the last one.
	Event(codex.Event) *codex.End
	// Stopped returns the end of an answer that a stop sequence ended; nil while it goes on.
	Stopped() *codex.End
	// Finish is called once, before the last bytes are sent. stopped is what the last Stopped said.
	Finish(end *codex.End, stopped bool)
	// Take returns what was written since it was called last; the slice is valid until the next event.
	Take() []byte
}

// Copy reads an answer to its end, or to a stop sequence, and sends what the encoder makes of it, what belongs to one
// burst at once. more says that further bytes follow. The error is an *codex.Error, or another one when the caller has gone.
func Copy(s *codex.Stream, to Encoder, send func(p []byte, more bool) error) (*codex.End, error) {
	take := func(more bool) error {
		if p := to.Take(); len(p) > 0 {
			return send(p, more)
		}
		return nil
	}
	s.BeforeWait(func() error { return take(false) })
	for {
		ev, err := s.Read()
		if err != nil {
			if gone := take(true); gone != nil { // what came before is told, however it came
				err = gone
			}
			return nil, err
		}
		end := to.Event(ev)
		stopped := to.Stopped()
		if stopped != nil { // the backend's call is ended here; what it used is an estimate
			end = stopped
		}
		if end != nil {
			to.Finish(end, stopped != nil)
			return end, take(true) // what closes the answer comes after it
		}
	}
}

// Discard is a send for an answer that is kept until it is whole.
func Discard([]byte, bool) error { return nil }
