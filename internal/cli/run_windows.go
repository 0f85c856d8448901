package cli

import (
	"os"
	"os/exec"
	"syscall"
)

// handedOn are the signals that a tool gets from who sent them to us: the console sends Ctrl-C to all of its programs.
var handedOn = []os.Signal{os.Interrupt}

// apart keeps a command out of the console's group, so that Ctrl-C does not reach it.
func apart(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// killed is the signal that ended a program: there are none here.
func killed(syscall.WaitStatus) int { return 0 }
