//go:build e2e

package e2e

import "github.com/chromedp/cdproto/runtime"

// awaitPromise has Evaluate wait for what a script promises.
func awaitPromise(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
