package tray

import (
	"slices"

	"codex-proxy/internal/connect"
)

// connectItems is a line for each tool of the table, checked while it is connected. A click connects it or puts
// everything back; for a tool that has no settings file it copies what to paste.
func connectItems(s State) []Item {
	items := []Item{
		{ID: "copy base URL", Title: "Copy base URL", Action: CopyBaseURL},
		{ID: "copy model", Title: "Copy model id", Action: CopyModel},
	}
	for _, t := range connect.Tools() {
		connected := slices.ContainsFunc(s.Tools, func(is Tool) bool { return is.ID == t.ID && is.Connected })
		items = append(items, Item{ID: "connect " + t.ID, Title: t.Name, Action: ConnectPrefix + Action(t.ID), Checkbox: t.HasFile(), Checked: connected})
	}
	return items
}
