//go:build unix

package cli

import (
	"fmt"
	"os"
	"syscall"
)

// restart starts the program again in the place of this process, as it was started, and has it open its page, unless one comes back.
func restart(p Process) int {
	program, err := os.Executable()
	if err == nil {
		err = syscall.Exec(program, append([]string{program}, again(p.Args)...), os.Environ()) // returns only to fail
	}
	fmt.Fprintf(p.Err, "❌ It could not be started again: %v\n", err)
	return 1
}
