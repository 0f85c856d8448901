// Codex Proxy answers OpenAI's API on this machine from the user's own ChatGPT plan.
//
// This file turns flags and the environment into settings, and owns the life of the process. app.go puts the parts
// together.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the build (-ldflags "-X main.version=…").
var version = "dev"

// commandLine is what can be typed.
type commandLine struct {
	Settings settings         `embed:""`
	Serve    struct{}         `cmd:"" default:"1" help:"Run the proxy (this is what happens without a command)."`
	Version  kong.VersionFlag `short:"v" help:"Print the version and exit."`
}

const description = `Answers the OpenAI API on this machine from your ChatGPT plan. Point your editor or agent at http://localhost:9879/v1; any text will do as its API key.

It uses your sign-in of the Codex CLI (run "codex login" once) and keeps it fresh. To look around without one, run "codex-proxy --demo".

A flag wins over its environment variable, which wins over the default.`

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with its surroundings as arguments. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	var cl commandLine
	code := -1
	parser, err := kong.New(&cl,
		kong.Name("codex-proxy"),
		kong.Description(description),
		kong.Vars{"version": "codex-proxy " + version},
		kong.Writers(stdout, stderr),
		kong.Exit(func(c int) { code = c }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
	)
	if err != nil {
		fmt.Fprintln(stderr, "codex-proxy:", err)
		return 2
	}
	_, err = parser.Parse(args)
	if code >= 0 { // --help and --version
		return code
	}
	if err == nil {
		err = cl.Settings.check()
	}
	if err != nil {
		fmt.Fprintf(stderr, "codex-proxy: %v\nRun codex-proxy --help for what can be set.\n", err)
		return 2
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := newLogger(stderr, cl.Settings.Env, cl.Settings.LogLevel)
	app, err := newApp(cl.Settings, log)
	if err == nil {
		err = app.run(ctx)
	}
	if err != nil {
		log.Errorf("❌ %v", err)
		return 1
	}
	return 0
}
