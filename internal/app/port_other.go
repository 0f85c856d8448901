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

// portHolder is the program that listens on a TCP port, as far as the system tells: its name and process.
func portHolder(port int) (name string, pid int) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	if runtime.GOOS == "windows" {
		out, _ := exec.CommandContext(ctx, "netstat", "-ano", "-p", "TCP").Output()
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) >= 5 && strings.HasSuffix(f[1], ":"+strconv.Itoa(port)) && f[3] == "LISTENING" {
				pid, _ = strconv.Atoi(f[4])
				return "", pid
			}
		}
		return "", 0
	}
	out, _ := exec.CommandContext(ctx, "lsof", "-nP", "-iTCP:"+strconv.Itoa(port), "-sTCP:LISTEN", "-Fpc").Output()
	for line := range strings.Lines(string(out)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "p"):
			pid, _ = strconv.Atoi(line[1:])
		case strings.HasPrefix(line, "c"):
			name = line[1:]
		}
	}
	return name, pid
}
