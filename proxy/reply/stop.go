package reply

import "strings"

// Stopper looks for stop sequences in text that comes in pieces. It holds back what may be the beginning of one.
type Stopper struct {
	sequences []string
	held      string
	hit       string
}

// Hit is the sequence that was found, or empty.
func (s *Stopper) Hit() string { return s.hit }

// NewStopper returns nil when there is nothing to look for.
func NewStopper(sequences []string) *Stopper {
	if len(sequences) == 0 {
		return nil
	}
	return &Stopper{sequences: sequences}
}

// Push takes the next piece and returns what can be sent; hit means that a sequence was found and the answer ends
// before it.
func (s *Stopper) Push(piece string) (out string, hit bool) {
	text := s.held + piece
	end := -1
	for _, q := range s.sequences {
		if i := strings.Index(text, q); i >= 0 && (end < 0 || i < end) {
			end, s.hit = i, q
		}
	}
	if end >= 0 {
		s.held = ""
		return text[:end], true
	}
	keep := 0
	for _, q := range s.sequences {
		for n := min(len(q)-1, len(text)); n > keep; n-- {
			if strings.HasSuffix(text, q[:n]) {
				keep = n
				break
			}
		}
	}
	// A sequence begins with a whole character, so this never cuts one.
	s.held = strings.Clone(text[len(text)-keep:]) // the piece is gone with its event
	return text[:len(text)-keep], false
}

// Rest is what was held back, at the end of the answer.
func (s *Stopper) Rest() string {
	out := s.held
	s.held = ""
	return out
}
