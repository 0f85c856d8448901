//go:build darwin && !cgo

package tray

import "context"

// Available reports whether this build can show an icon: it was built without cgo.
const Available = false

// Panel shows nothing in this build.
type Panel struct{}

// NewPanel returns a UI that shows nothing.
func NewPanel() *Panel { return &Panel{} }

// Clicks never receives.
func (p *Panel) Clicks() <-chan Action { return nil }

// Ready is never closed.
func (p *Panel) Ready() <-chan struct{} { return nil }

// Render does nothing.
func (p *Panel) Render(View) {}

// Show waits until ctx ends.
func (p *Panel) Show(ctx context.Context, ended func()) {
	<-ctx.Done()
	ended()
}
