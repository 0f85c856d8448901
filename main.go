// Codex Proxy answers OpenAI's API on this machine from the user's own ChatGPT plan.
//
// This file owns the process: its signals and its exit code. Package cli reads the command line, and package app is
// the program put together.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"codex-proxy/internal/cli"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	code := cli.Run(ctx, cli.Process{Version: version, Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
