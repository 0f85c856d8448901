//go:build !windows

package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// handedOn are the signals that a tool gets from who sent them to us.
var handedOn = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}

// apart keeps a command out of the terminal's group, so that Ctrl-C does not reach it.
func apart(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// killed is the signal that ended a program; 0 for none.
func killed(s syscall.WaitStatus) int {
	if s.Signaled() {
		return int(s.Signal())
	}
	return 0
}
