// Codex Proxy answers OpenAI's API on this machine from the user's own ChatGPT plan.
//
// This file turns flags and the environment into settings, and owns the life of the process. app.go puts the parts
// together.
package main

import (
	"context"
	"errors"
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
	Settings  settings         `embed:""`
	Menu      menuCommand      `cmd:"" default:"withargs" help:"Run the proxy with its icon and menu (this is what happens without a command)."`
	Serve     serveCommand     `cmd:"" help:"Run the proxy without an icon."`
	Login     loginCommand     `cmd:"" help:"Sign in with ChatGPT, or with --codex as the Codex CLI does."`
	Logout    logoutCommand    `cmd:"" help:"End the sign-in and delete it here. The Codex CLI's own stays."`
	Status    statusCommand    `cmd:"" help:"Say who is signed in, for how long, and how much of the plan is used."`
	Refresh   refreshCommand   `cmd:"" help:"Refresh the tokens now."`
	Import    importCommand    `cmd:"" help:"Take the Codex CLI's sign-in."`
	Workspace workspaceCommand `cmd:"" help:"List the workspaces of the sign-in, or choose one."`
	Doctor    doctorCommand    `cmd:"" help:"Look at everything and say what to do. The report can be copied into an issue."`
	Start     startCommand     `cmd:"" help:"Start the proxy of the running program again."`
	Stop      stopCommand      `cmd:"" help:"Stop the proxy; the program and its icon stay."`
	Connect   connectCommand   `cmd:"" help:"Print what to paste into a tool."`
	Autostart autostartCommand `cmd:"" help:"Start at login, or no longer."`
	Log       logCommand       `cmd:"" help:"Print the log of the program with the icon."`
	Worker    workerCommand    `cmd:"" help:"For the proxy as a Cloudflare Worker."`
	Quit      quitCommand      `cmd:"" help:"End the running program."`
	Version   kong.VersionFlag `short:"v" help:"Print the version and exit."`
}

const description = `Answers the OpenAI API on this machine from your ChatGPT plan. Point your editor or agent at http://localhost:9879/v1; any text will do as its API key.

It uses your sign-in of the Codex CLI and keeps it fresh; without the CLI, run "codex-proxy login". To look around without a sign-in, run "codex-proxy --demo".

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
	parsed, err := parser.Parse(args)
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
	err = parsed.Run(&console{ctx: ctx, settings: cl.Settings, args: args, in: os.Stdin, out: stdout, err: stderr})
	if err != nil {
		if !errors.Is(err, errSilent) {
			fmt.Fprintf(stderr, "❌ %v\n", err)
		}
		return 1
	}
	return 0
}

type serveCommand struct {
	InstallService   bool `xor:"service" help:"Have the system start the proxy whenever you log in, and start it now. For people without the menu."`
	UninstallService bool `xor:"service" help:"Undo --install-service."`
}

func (s *serveCommand) Run(c *console) error {
	log := newLogger(c.err, c.settings.Env, c.settings.LogLevel)
	if s.InstallService || s.UninstallService {
		return c.service(s.InstallService)
	}
	a, err := newApp(c.settings, log)
	if err == nil {
		err = a.run(c.ctx, false)
	}
	if err != nil {
		log.Errorf("❌ %v", err)
		return errSilent
	}
	return nil
}
