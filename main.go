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

// Set by the build (-ldflags "-X main.version=…"): the version, and for releases where the notice of a newer one is, and
// the key that signs it. Without them nothing is looked for.
var version, updateAddress, updateKey = "dev", "", ""

func main() {
	ctx, hurry := interrupts()
	os.Exit(cli.Run(ctx, cli.Process{
		Version: version, Args: os.Args[1:], In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Hurry: hurry,
		UpdateAddress: updateAddress, UpdateKey: updateKey,
		Plain: os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb", // Source: no-color.org
	}))
}

// interrupts turns the first Ctrl-C, SIGTERM or end of the terminal into the end of ctx, upon which the program ends in
// good order, and the second into the closing of hurry, upon which it waits for nothing but a refresh that was sent:
// the sign-in would be lost with its answer.
func interrupts() (ctx context.Context, hurry <-chan struct{}) {
	ctx, end := context.WithCancel(context.Background())
	now := make(chan struct{})
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		<-signals
		end()
		<-signals
		close(now)
		for range signals { // more of them change nothing
		}
	}()
	return ctx, now
}
