package app

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"codex-proxy/creds"
	"codex-proxy/internal/atomicfile"
	"codex-proxy/proxy/codex"
)

// PlanNotice is what is said once, when a "Sign in with ChatGPT" is used for the first time.
// Source: developers.openai.com/siwc/ui-ux-guidelines.
const PlanNotice = "You're using your ChatGPT plan. Manage usage: " + codex.ManageUsage

// answered hears of each answer. The first that comes by a registration of "Sign in with ChatGPT" is told in the log and
// in State; the file remembers for which registrations that was done.
func (a *App) answered(kind creds.Kind) {
	if kind != creds.KindChatGPT {
		return
	}
	client := a.manager.ClientID()
	if before := a.planClient.Swap(&client); before != nil && *before == client {
		return
	}
	a.planNotice.Store(false)
	file := filepath.Join(StateFolder(), "plan-told")
	raw, _ := os.ReadFile(file)
	told := strings.Fields(string(raw))
	if client == "" || slices.Contains(told, client) {
		return
	}
	a.log.Info("ℹ️ " + PlanNotice)
	a.planNotice.Store(true)
	if err := atomicfile.Write(file, []byte(strings.Join(append(told, client), "\n")+"\n")); err != nil {
		a.log.Warnf("the next start will say again that your ChatGPT plan is in use: %v", err)
	}
	a.changed(false)
}
