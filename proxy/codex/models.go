package codex

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
)

//go:embed models.json
var bundledModels []byte

const (
	modelsFresh   = 15 * time.Minute // how long a fetched list is used without asking again
	modelsTimeout = 5 * time.Second
	modelsRetry   = 30 * time.Second // how long a fetch that failed is not tried again
	modelsWait    = 2 * time.Second  // how long the first request of all waits for the list
	modelsMost    = 8 << 20          // bytes
)

// Model is one entry of the backend's list.
type Model struct {
	ID             string   `json:"slug"`
	Name           string   `json:"display_name"`
	Description    string   `json:"description"`
	Visibility     string   `json:"visibility"` // "list" for people, "hide" not
	Priority       int      `json:"priority"`   // the smallest is offered first
	DefaultEffort  string   `json:"default_reasoning_level"`
	Efforts        []Effort `json:"supported_reasoning_levels"`
	ContextWindow  int      `json:"context_window"` // tokens
	InputKinds     []string `json:"input_modalities"`
	DefaultSummary string   `json:"default_reasoning_summary"`
	Verbosity      bool     `json:"support_verbosity"`
}

// EffortNames are the efforts that can be asked for, the least first.
func (m Model) EffortNames() []string {
	return slices.DeleteFunc(slices.Clone(EffortNames), func(name string) bool { return !slices.Contains(m.Efforts, Effort{name}) })
}

// Effort is one that a model knows.
type Effort struct {
	Name string `json:"effort"`
}

// ModelCache keeps the list from one run to the next.
type ModelCache interface {
	Load() ([]byte, error)
	Save([]byte) error
}

// Catalogue is the list of models: the backend's own, or the last one seen, or the one this program came with.
// Safe for concurrent use.
type Catalogue struct {
	// Aliases maps a name, or the family that names begin with, to a model: "claude-sonnet" also stands for
	// "claude-sonnet-4-5". Empty values mean the default model. Set before use.
	Aliases map[string]string
	// DefaultEffort is asked for where a request names no effort, brought to the nearest that the model has; models that
	// take none are asked for none. Empty for each model's own default. Set before use.
	DefaultEffort string

	defaultModel string
	cache        ModelCache
	flight       singleflight.Group

	mu      sync.RWMutex
	raw     []byte
	models  []Model
	etag    string
	source  string // the address that the list came from
	fetched time.Time
	failed  time.Time // of the last fetch that failed, if none has succeeded since
	failure error
	foreign bool // the list is not of this sign-in: it came with the program, or from another one's
}

// cachedModels is the file in the cache folder.
type cachedModels struct {
	ETag   string          `json:"etag"`
	Source string          `json:"source"`
	Models json.RawMessage `json:"models"` // the backend's answer
}

// NewCatalogue returns the catalogue as it was when the last run ended. cache may be nil. An empty defaultModel means
// the backend's first.
func NewCatalogue(defaultModel string, cache ModelCache) *Catalogue {
	c := &Catalogue{defaultModel: defaultModel, cache: cache}
	if err := c.use(bundledModels, "", ""); err != nil {
		panic(err) // the list is part of the program
	}
	c.foreign = true
	if cache != nil {
		var kept cachedModels
		if raw, err := cache.Load(); err == nil && json.Unmarshal(raw, &kept) == nil {
			c.foreign = c.use(kept.Models, kept.ETag, kept.Source) != nil // a damaged cache is no cache
		}
	}
	return c
}

var errNoModels = errors.New("the list of models can't be read")

func (c *Catalogue) use(raw []byte, etag, source string) error {
	var list struct {
		Models []Model `json:"models"`
	}
	if json.Unmarshal(raw, &list) != nil || len(list.Models) == 0 {
		return errNoModels
	}
	slices.SortStableFunc(list.Models, func(a, b Model) int { return a.Priority - b.Priority })
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw, c.models, c.etag, c.source = raw, list.Models, etag, source
	return nil
}

// Stale makes the next Fetch ask again: another sign-in may have other models.
func (c *Catalogue) Stale() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetched, c.failed, c.foreign = time.Time{}, time.Time{}, true
}

// All returns the models for people, the first is the default.
func (c *Catalogue) All() []Model {
	c.mu.RLock()
	defer c.mu.RUnlock()
	all := slices.DeleteFunc(slices.Clone(c.models), func(m Model) bool { return m.Visibility != "list" })
	for i, m := range all {
		all[i] = c.withDefault(m)
	}
	return all
}

// withDefault is the model with the default effort of the catalogue, where it takes one.
func (c *Catalogue) withDefault(m Model) Model {
	if c.DefaultEffort != "" && len(m.Efforts) > 0 {
		m.DefaultEffort = clamp(c.DefaultEffort, m, true)
	}
	return m
}

// Raw returns the backend's own list, for callers that read it.
func (c *Catalogue) Raw() []byte {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.raw
}

// Find returns the model of that id, also a hidden one.
func (c *Catalogue) Find(id string) (Model, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, m := range c.models {
		if m.ID == id {
			return c.withDefault(m), true
		}
	}
	return Model{}, false
}

// Default is the id for requests that name no model.
func (c *Catalogue) Default() string {
	if c.defaultModel != "" {
		return c.defaultModel
	}
	if all := c.All(); len(all) > 0 {
		return all[0].ID
	}
	return ""
}

// EffortNames are the efforts of reasoning, the least first. "ultra" is how clients call a mode of theirs; on the wire it is xhigh.
var EffortNames = []string{"none", "minimal", "low", "medium", "high", "xhigh", "max"}

// Resolve reads a model name as callers write it and returns the backend's id and the effort to ask for. The effort is
// the caller's, or the name's suffix, or the catalogue's default, brought to the nearest that the model has; empty for
// the model's own default.
func (c *Catalogue) Resolve(name, effort string) (id, clamped string) {
	if name == "" {
		name = c.Default()
	}
	if rest, ok := strings.CutPrefix(name, "openai/"); ok {
		name = rest
	}
	if !c.knows(name) {
		name, effort = c.aliased(name, effort)
	}
	m, known := c.Find(name)
	if !known {
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			base, suffix := name[:i], name[i+1:]
			if m2, ok := c.Find(base); effortRank(suffix) >= 0 && (ok || suffix != "max") {
				name, m, known = base, m2, ok
				if effort == "" {
					effort = suffix
				}
			}
		}
	}
	if effort == "" && c.DefaultEffort != "" && len(m.Efforts) > 0 {
		effort = m.DefaultEffort
	}
	return name, clamp(effort, m, known)
}

// families are the names that other vendors' tools insist on: with a model's id behind it they mean that model, as in
// "claude-gpt-5.5", and without an alias the default model.
var families = []string{"claude", "gemini"}

// Offers reports whether the list has what callers name so, by an alias too; an empty name is the default model.
func (c *Catalogue) Offers(name string) bool {
	id, _ := c.Resolve(name, "")
	_, ok := c.Find(id)
	return ok
}

// knows reports whether name is a model's id, with or without an effort.
func (c *Catalogue) knows(name string) bool {
	if _, ok := c.Find(name); ok {
		return true
	}
	i := strings.LastIndexByte(name, '-')
	if i < 0 || effortRank(name[i+1:]) < 0 {
		return false
	}
	_, ok := c.Find(name[:i])
	return ok
}

// aliased follows an alias with an effort behind it, which wins over one of the alias's own: "fast-high".
func (c *Catalogue) aliased(name, effort string) (target, asked string) {
	target = c.alias(name)
	i := strings.LastIndexByte(name, '-')
	if _, exact := c.Aliases[name]; exact || target == name || effort != "" || i < 0 || name[i+1:] == "max" || effortRank(name[i+1:]) < 0 {
		return target, effort
	}
	return target, name[i+1:]
}

// alias follows the longest alias that name is or begins with.
func (c *Catalogue) alias(name string) string {
	for _, family := range families {
		if id, ok := strings.CutPrefix(name, family+"-"); ok && c.Aliases[name] == "" && c.knows(id) {
			return id
		}
	}
	best, target := "", ""
	for from, to := range c.Aliases {
		if len(from) > len(best) && inFamily(name, from) {
			best, target = from, to
		}
	}
	if best == "" {
		for _, family := range families {
			if inFamily(name, family) {
				best = family
			}
		}
	}
	switch {
	case best == "":
		return name
	case target == "":
		return c.Default()
	}
	return target
}

func inFamily(name, family string) bool {
	rest, ok := strings.CutPrefix(name, family)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], "-.:@"))
}

func effortRank(effort string) int {
	if effort == "ultra" {
		effort = "xhigh"
	}
	return slices.Index(EffortNames, effort)
}

// clamp brings an effort to the nearest that the model has, the lower of two.
func clamp(effort string, m Model, known bool) string {
	want := effortRank(effort)
	if want < 0 {
		return ""
	}
	if !known || len(m.Efforts) == 0 {
		return EffortNames[max(want, 2)] // none and minimal are what models lack
	}
	best, distance := "", len(EffortNames)
	for _, e := range m.Efforts {
		r := slices.Index(EffortNames, e.Name)
		if r < 0 {
			continue
		}
		if d := max(r-want, want-r); d < distance {
			best, distance = e.Name, d
		}
	}
	return best
}

// Fetch asks the backend for its list unless the last answer is fresh. Callers at the same time share one request.
// After an error the list that was there stays in use, and for half a minute that error is the answer.
func (c *Catalogue) Fetch(ctx context.Context, client *Client) error {
	c.mu.RLock()
	fresh, failing, failure := time.Since(c.fetched) < modelsFresh, time.Since(c.failed) < modelsRetry, c.failure
	c.mu.RUnlock()
	switch {
	case fresh:
		return nil
	case failing:
		return failure
	}
	return c.Renew(ctx, client)
}

// Renew asks the backend for its list, however fresh the one at hand is. Callers at the same time share one request.
func (c *Catalogue) Renew(ctx context.Context, client *Client) error {
	ctx, cancel := context.WithTimeout(ctx, modelsTimeout)
	defer cancel()
	done := c.flight.DoChan("fetch", func() (any, error) { return nil, c.fetchOnce(context.WithoutCancel(ctx), client) })
	select {
	case r := <-done:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await has the first request wait a moment for the list: the one that came with the program may name models that the
// plan does not have.
func (c *Catalogue) await(ctx context.Context, client *Client) {
	c.mu.RLock()
	foreign := c.foreign
	c.mu.RUnlock()
	if foreign {
		ctx, cancel := context.WithTimeout(ctx, modelsWait)
		defer cancel()
		c.Fetch(ctx, client) //nolint:errcheck // the list at hand is used
	}
}

// fetchOnce fetches, and remembers a failure that is not about the sign-in.
func (c *Catalogue) fetchOnce(ctx context.Context, client *Client) (err error) {
	defer recoverInto(&err)
	err = c.fetch(ctx, client)
	var known *Error
	if err != nil && !errors.As(err, &known) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.failed, c.failure = time.Now(), err
	}
	return err
}

func (c *Catalogue) fetch(ctx context.Context, client *Client) error {
	ctx, cancel := context.WithTimeout(ctx, modelsTimeout)
	defer cancel()
	c.mu.RLock()
	etag, kept := c.etag, c.source
	c.mu.RUnlock()
	source := ""
	resp, err := client.get(ctx, func(u Upstream) string { source = u.ModelsURL; return source }, etag)
	if err == nil && resp.StatusCode == http.StatusNotModified && source != kept { // a tag of another list
		resp.Body.Close()
		resp, err = client.get(ctx, func(u Upstream) string { return u.ModelsURL }, "")
	}
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		c.stamp()
		return nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, modelsMost))
	if err != nil || resp.StatusCode != http.StatusOK {
		return errNoModels
	}
	etag = resp.Header.Get("Etag")
	if err := c.use(raw, etag, source); err != nil {
		return err
	}
	c.stamp()
	if c.cache != nil {
		c.cache.Save(mustJSON(cachedModels{ETag: etag, Source: source, Models: raw})) //nolint:errcheck // at worst the next start begins with an older list
	}
	return nil
}

func (c *Catalogue) stamp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fetched, c.failed, c.foreign = time.Now(), time.Time{}, false
}

// BundledModels is the backend's list as it was when this program was made.
// Source: the catalogue inside Codex CLI 0.169.
func BundledModels() []byte { return bundledModels }
