//go:build !linux

package app

import (
	"context"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// portHolder names the program that listens on a TCP port; empty when the system does not tell.
func portHolder(port int) string {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if runtime.GOOS == "windows" {
		out, _ := exec.CommandContext(ctx, "netstat", "-ano", "-p", "TCP").Output()
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) >= 5 && strings.HasSuffix(f[1], ":"+strconv.Itoa(port)) && f[3] == "LISTENING" {
				return "process " + f[4]
			}
		}
		return ""
	}
	out, _ := exec.CommandContext(ctx, "lsof", "-nP", "-iTCP:"+strconv.Itoa(port), "-sTCP:LISTEN", "-Fpc").Output()
	pid, name := "", ""
	for line := range strings.Lines(string(out)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "p"):
			pid = line[1:]
		case strings.HasPrefix(line, "c"):
			name = line[1:]
		}
	}
	if name == "" {
		return ""
	}
	return name + " (process " + pid + ")"
}
