package codex

// Unanswered are the calls of a conversation that have no result yet, in the order in which they were made, for dialects
// whose results may name the tool instead of the call. Each step takes the same time however many there are.
type Unanswered struct {
	all    []string            // ids; those that were taken stay in it
	byName map[string][]string // ids, likewise
	open   map[string]bool     // ids that were not taken
}

// NewUnanswered returns one without calls.
func NewUnanswered() *Unanswered {
	return &Unanswered{byName: map[string][]string{}, open: map[string]bool{}}
}

// Add notes a call.
func (u *Unanswered) Add(id, name string) {
	u.all, u.byName[name], u.open[id] = append(u.all, id), append(u.byName[name], id), true
}

// Take returns the call that a result is for: that of its id, or the first of its name, or the first of all.
func (u *Unanswered) Take(id, name string) (string, bool) {
	found, ok := id, u.open[id]
	if !ok && id == "" && name != "" {
		found, u.byName[name], ok = u.first(u.byName[name])
	}
	if !ok {
		found, u.all, ok = u.first(u.all)
	}
	delete(u.open, found)
	return found, ok
}

// first is the first of a list that was not taken, and the list after it.
func (u *Unanswered) first(list []string) (string, []string, bool) {
	for i, id := range list {
		if u.open[id] {
			return id, list[i+1:], true
		}
	}
	return "", nil, false
}
