package cli

import (
	"fmt"
	"os"
	"os/exec"
)

// restart starts the program again, as it was started, and has it open its page, unless one comes back.
func restart(p Process) int {
	program, err := os.Executable()
	if err == nil {
		err = exec.Command(program, again(p.Args)...).Start()
	}
	if err != nil {
		fmt.Fprintf(p.Err, "❌ It could not be started again: %v\n", err)
		return 1
	}
	return 0
}
