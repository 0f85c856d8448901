// Package cli is the command line: text in and out. What the commands do is done by package app.
package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"codex-proxy/creds"
	"codex-proxy/internal/app"
	"codex-proxy/internal/control"
)

// Process is the surroundings of a command.
type Process struct {
	Version string
	Args    []string // after the program's name
	// UpdateAddress and UpdateKey are those of package update; empty in builds that are no releases.
	UpdateAddress, UpdateKey string
	In                       io.Reader
	Out                      io.Writer
	Err                      io.Writer
	// Plain means that the terminal, or its user, wants no colours.
	Plain bool
	// Hurry is closed when the user wants the end at once, after ctx has ended; nil for never.
	Hurry <-chan struct{}
}

// commandLine is what can be typed beside a command.
type commandLine struct {
	Settings app.Settings     `embed:""`
	ShowThe  kong.VersionFlag `name:"version" short:"v" help:"Print the version and exit."`
}

// command is a word that can be typed.
type command struct {
	name string
	does any    // its flags, with a method Run
	tags string // for kong, which takes passthrough only beside cmd
	help string
}

// commands are all of them, in the order in which help shows them.
func commands() []command {
	return []command{
		{"menu", &menuCommand{}, `default:"withargs"`, "Run the proxy with its icon and menu (this is what happens without a command)."},
		{"serve", &serveCommand{}, "", "Run the proxy without an icon."},
		{"login", &loginCommand{}, "", "Sign in: in the browser, or with --device by a code."},
		{"logout", &logoutCommand{}, "", "End the sign-in and delete it here. The Codex CLI's own stays."},
		{"status", &statusCommand{}, "", "Say who is signed in, for how long, and how much of the plan is used."},
		{"refresh", &refreshCommand{}, "", "Refresh the tokens now."},
		{"import", &importCommand{}, "", "Take the Codex CLI's sign-in."},
		{"workspace", &workspaceCommand{}, "", "List the workspaces of the sign-in, or choose one."},
		{"doctor", &doctorCommand{}, "", "Look at everything and say what to do. The report can be copied into an issue."},
		{"open", &openCommand{}, "", "Open the page: what the proxy does, and where everything is set."},
		{"usage", &usageCommand{}, "", "Say how many requests and tokens were used, by day, hour, client or model."},
		{"start", &startCommand{}, "", "Start the proxy of the running program again."},
		{"stop", &stopCommand{}, "", "Stop the proxy; the program and its icon stay."},
		{"connect", &connectCommand{}, "", "Point a tool at the proxy: shows the change and asks. Without a tool, list them; --undo puts the settings back."},
		{"autostart", &autostartCommand{}, "", "Start at login, or no longer."},
		{"log", &logCommand{}, "", "Print the log of the program with the icon."},
		{"worker", &workerCommand{}, "", "For the proxy as a Cloudflare Worker."},
		{"quit", &quitCommand{}, "", "End the running program."},
		{"completion", &completionCommand{}, "", "Print what bash, zsh or fish needs to complete this program's commands."},
		{"man", &manCommand{}, `hidden:""`, "Print the manual page."},
		{"uninstall", &uninstallCommand{}, "", "Undo what this program set up for you: the start at login, the service, the tools that are connected. With --purge also the sign-in and the settings."},
		{"run", &runCommand{}, `cmd:"" passthrough:""`, "Start a tool that uses the proxy; its settings stay as they are. Such as: run claude."},
		{"keys", &keysCommand{}, "", "List the API keys that have names, make one, or take one away."},
		{"version", &versionCommand{}, "", "Print the version."},
		{"help", &helpCommand{}, "", "Say what a command does."},
	}
}

// needed are the commands that kong must know for a command line. To describe all of them takes a tenth of the program's
// start, so it is only the first word's, if that is a command. Help and the manual page speak of the others, and a shell asks
// for any.
func needed(args []string, all []command) []command {
	name := "menu"
	if len(args) > 0 {
		name = args[0]
	}
	i := slices.IndexFunc(all, func(c command) bool { return c.name == name })
	if i < 0 || name == "help" || name == "man" || shellAsks() {
		return all
	}
	return all[i : i+1]
}

const description = `Answers the OpenAI API on this machine from your ChatGPT plan. Point your editor or agent at http://localhost:9879/v1; any text will do as its API key.

It uses your sign-in of the Codex CLI and keeps it fresh; without the CLI, run "codex-proxy login". To look around without a sign-in, run "codex-proxy --demo".

A flag wins over its environment variable, which wins over what was chosen in the menu, which wins over the default.`

// Run carries out the command line and returns the exit code: 0 when all went well, 1 when it did not, 2 for a command
// line that can't be understood. It ends early, with everything safe, when ctx does.
func Run(ctx context.Context, p Process) int {
	app.FindHome()
	var cl commandLine
	code := -1
	all := commands()
	parser, err := cl.parser(p, all, func(c int) { code = c })
	if err != nil {
		fmt.Fprintln(p.Err, "codex-proxy:", err)
		return 2
	}
	if answerShell(parser); code >= 0 {
		return code
	}
	saved, unreadable := app.ReadSaved()
	kong.Resolvers(fromFile(saved)).Apply(parser) //nolint:errcheck // it has no error to give
	parsed, err := cl.parse(parser, p.Args, saved)
	for code < 0 && err != nil && helps(parsed, err) {
		setting := inFile(err.Error(), p.Args, parser, saved)
		if setting == "" {
			break
		}
		wrong := blamed(plainError(all, err), p.Args, parser, saved)
		cl.Settings.Wrong = fmt.Errorf("%s. Mend that file, or delete it to start with the defaults", wrong)
		delete(saved, setting)
		parsed, err = cl.parse(parser, p.Args, saved)
	}
	if code >= 0 { // --help and --version
		return code
	}
	if unreadable != nil {
		cl.Settings.Warnings = append(cl.Settings.Warnings, unreadable.Error())
	}
	if err != nil {
		fmt.Fprintf(p.Err, "codex-proxy: %s\nRun codex-proxy --help for what can be set.\n", blamed(plainError(all, err), p.Args, parser, saved))
		return 2
	}
	err = parsed.Run(&console{ctx: ctx, settings: cl.Settings, process: p, parser: parser})
	if errors.Is(err, errRestart) {
		return restart(p)
	}
	var exit exitCode
	if errors.As(err, &exit) {
		return int(exit)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = errors.New("stopped. `codex-proxy status` says how it is")
	}
	if err != nil {
		if !errors.Is(err, errSilent) {
			fmt.Fprintf(p.Err, "❌ %v\n", err)
		}
		return 1
	}
	return 0
}

// parser reads a command line into cl. exit is called where there is nothing to be done but to print.
func (cl *commandLine) parser(p Process, all []command, exit func(code int)) (*kong.Kong, error) {
	options := []kong.Option{
		kong.Name("codex-proxy"),
		kong.Description(description),
		kong.Vars{"version": "codex-proxy " + p.Version},
		kong.Writers(p.Out, p.Err),
		kong.Exit(exit),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, NoExpandSubcommands: true, WrapUpperBound: 110}),
	}
	for _, c := range needed(p.Args, all) {
		options = append(options, kong.DynamicCommand(c.name, c.help, "", c.does, c.tags))
	}
	return kong.New(cl, options...)
}

// startsAgain is why the program would not start with the command line that it was started with; nil when it would.
func (c *console) startsAgain() error {
	var cl commandLine
	all := commands()
	parser, err := cl.parser(c.process, all, func(int) {})
	if err != nil {
		return err
	}
	saved, _ := app.ReadSaved()                   //nolint:errcheck // one that can't be read is passed over at a start
	kong.Resolvers(fromFile(saved)).Apply(parser) //nolint:errcheck // it has no error to give
	if _, err := cl.parse(parser, c.process.Args, saved); err != nil {
		return fmt.Errorf("Codex Proxy would not start again: %s", blamed(plainError(all, err), c.process.Args, parser, saved)) //nolint:staticcheck // a name
	}
	return nil
}

// parse reads a command line, with what was chosen in the menu or on the page.
func (cl *commandLine) parse(parser *kong.Kong, args []string, saved app.Saved) (*kong.Context, error) {
	cl.Settings.Warnings = nil
	parsed, err := parser.Parse(args)
	if err != nil {
		return parsed, err
	}
	cl.Settings.From, cl.Settings.DeniedOrigins = sources(parsed, saved), saved.DeniedOrigins()
	return parsed, cl.Settings.Check()
}

// helps reports whether the command is one that helps to put settings right, or that needs none: a wrong value in the
// settings file is passed over for it.
func helps(parsed *kong.Context, err error) bool {
	if parse := (*kong.ParseError)(nil); errors.As(err, &parse) {
		parsed = parse.Context
	}
	name, _, _ := strings.Cut(parsed.Command(), " ")
	return slices.Contains([]string{"version", "help", "man", "completion", "doctor", "log", "quit", "uninstall"}, name)
}

// exitCode ends the program with an exit code that is not its own.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// argumentHelp says what an argument is that kong misses; empty when that is not known.
func argumentHelp(err error, name string) string {
	var parse *kong.ParseError
	if !errors.As(err, &parse) {
		return ""
	}
	for _, step := range parse.Context.Path {
		if step.Command == nil {
			continue
		}
		for _, argument := range step.Command.Positional {
			if argument.Name == name && argument.Help != "" {
				return ": " + strings.ToLower(argument.Help[:1]) + argument.Help[1:]
			}
		}
	}
	return ""
}

// plainError is kong's error without its grammar's words, and with a guess at a command that was mistyped.
func plainError(all []command, err error) string {
	text := err.Error()
	if typed, ok := strings.CutPrefix(text, "unexpected argument "); ok {
		var names []string
		for _, c := range all {
			if c.name == typed {
				return fmt.Sprintf("%q is a command, and can't stand behind another", typed)
			}
			names = append(names, c.name)
		}
		typed, guess, guessed := strings.Cut(typed, ", did you mean ") // kong's, below a command
		text = fmt.Sprintf("there is no command %q", typed)
		if guessed {
			return text + "; did you mean " + guess
		}
		if near := nearest(typed, names); near != "" {
			text += fmt.Sprintf("; did you mean %q?", near)
		}
		return text
	}
	if missing, ok := strings.CutPrefix(text, `expected "<`); ok {
		missing, _, _ = strings.Cut(missing, ">")
		return "<" + missing + "> is missing" + argumentHelp(err, missing)
	}
	if at, wrong, ok := strings.Cut(text, ": expected "); ok && strings.HasPrefix(at, "--") {
		return at + " has a wrong value: expected " + wrong
	}
	return text
}

// blamed is an error about a flag that was not typed, in the words of where its value stands.
func blamed(text string, args []string, parser *kong.Kong, saved app.Saved) string {
	flag := untyped(text, args, parser)
	if flag == nil {
		return text
	}
	named := strings.TrimPrefix(text, "--")
	if inEnvironment(flag) {
		named, _, _ = strings.Cut(named, " (from envar ") // kong's
		return "In the variable " + flag.Envs[0] + ": " + named
	}
	if inFile(text, args, parser, saved) != "" {
		return "In " + app.SettingsFile() + ": " + named
	}
	return text
}

// inFile is the setting that an error is about, if its value stands in the settings file.
func inFile(text string, args []string, parser *kong.Kong, saved app.Saved) string {
	if flag := untyped(text, args, parser); flag != nil && !inEnvironment(flag) && saved[flag.Name] != nil {
		return flag.Name
	}
	return ""
}

// untyped is the flag that an error is about, if it was not typed.
func untyped(text string, args []string, parser *kong.Kong) *kong.Flag {
	named, ok := strings.CutPrefix(text, "--")
	name := named[:strings.IndexAny(named+" ", " :")]
	typed := func(arg string) bool { return arg == "--"+name || strings.HasPrefix(arg, "--"+name+"=") }
	i := slices.IndexFunc(parser.Model.Flags, func(f *kong.Flag) bool { return f.Name == name })
	if !ok || i < 0 || slices.ContainsFunc(args, typed) {
		return nil
	}
	return parser.Model.Flags[i]
}

// fromFile hands kong the values of the settings file, below the environment's.
func fromFile(saved app.Saved) kong.Resolver {
	return kong.ResolverFunc(func(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
		v, ok := saved[flag.Name]
		if !ok || inEnvironment(flag) {
			return nil, nil
		}
		switch v := v.(type) {
		case string, bool, []any, map[string]any:
			return v, nil
		default:
			return fmt.Sprint(v), nil // a number
		}
	})
}

func inEnvironment(flag *kong.Flag) bool {
	for _, name := range flag.Envs {
		if _, ok := os.LookupEnv(name); ok {
			return true
		}
	}
	return false
}

// sources says where the value of each setting comes from.
func sources(parsed *kong.Context, saved app.Saved) map[string]app.Source {
	typed := map[string]bool{}
	for _, path := range parsed.Path {
		if path.Flag != nil && !path.Resolved {
			typed[path.Flag.Name] = true
		}
	}
	out := map[string]app.Source{}
	for _, flag := range parsed.Model.Flags {
		_, inFile := saved[flag.Name]
		switch {
		case typed[flag.Name]:
			out[flag.Name] = app.FromFlag
		case inEnvironment(flag):
			out[flag.Name] = app.FromEnv
		case inFile:
			out[flag.Name] = app.FromFile
		default:
			out[flag.Name] = app.FromDefault
		}
	}
	return out
}

// console is what a command works with.
type console struct {
	ctx      context.Context
	settings app.Settings
	process  Process
	parser   *kong.Kong
}

func (c *console) printf(format string, args ...any) { fmt.Fprintf(c.process.Out, format, args...) }

func (c *console) warnf(format string, args ...any) { fmt.Fprintf(c.process.Err, format, args...) }

// errSilent ends a command with exit code 1 when everything has been said.
var errSilent = errors.New("")

// open builds the program without running it, and loads the sign-in. Steps of the sign-in's life are printed. The
// caller closes it.
func (c *console) open() (*app.App, error) {
	if c.settings.Demo {
		return nil, errors.New("the demo has no sign-in. Leave --demo out")
	}
	return c.openDemoToo()
}

// openDemoToo is open for what can be asked of a demo that runs, too.
func (c *console) openDemoToo() (*app.App, error) {
	a, err := app.New(c.settings, app.Program{Version: c.process.Version, Log: app.NewLogger(io.Discard, c.settings.Env, "error", true)})
	if err != nil {
		return nil, err
	}
	a.Waiting = c.waiting
	a.Steps = func(s creds.Step) {
		if s.Kind != creds.StepRetry { // the command ends, and its error says what is wrong
			c.printf("%s\n", s)
		}
	}
	a.Open(c.ctx)
	return a, nil
}

// waiting says why a program that was told to end does not do so yet.
func (c *console) waiting(most time.Duration) {
	c.warnf("⏳ Waiting for OpenAI's answer to a refresh, for %s at most: without it the sign-in would be lost\n", most.Round(time.Second))
}

// running is the running program that uses the same sign-in, or else the only one that runs.
func (c *console) running(a *app.App) (control.Program, error) {
	if p, ok := a.Mine(); ok {
		return p, nil
	}
	all := app.Programs()
	switch len(all) {
	case 0:
		return control.Program{}, errors.New("no Codex Proxy is running. Start it with: codex-proxy")
	case 1:
		return all[0], nil
	}
	return control.Program{}, errors.New("several programs run, and none with this sign-in. " + nameOne(all))
}

// nameOne says how to name one of those that run.
func nameOne(all []control.Program) string {
	text := "Name the one that is meant, by --demo or --creds-path:"
	for _, p := range all {
		text += fmt.Sprintf("\n   process %d, %s", p.PID, p.Store)
		if p.Demo {
			text += " (--demo)"
		}
	}
	return text
}

// ask puts a question that is answered with yes or no. Without anybody to answer it is no.
func (c *console) ask(question string) bool {
	c.printf("%s [y/N] ", question)
	line, _ := bufio.NewReader(c.process.In).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

// errRestart ends a command whose program is to start again.
var errRestart = errors.New("restart")

type versionCommand struct{}

func (versionCommand) Run(c *console) error {
	c.printf("codex-proxy %s\n", c.process.Version)
	return nil
}

type helpCommand struct {
	Command []string `arg:"" optional:"" predictor:"command" help:"The command."`
}

func (h *helpCommand) Run(c *console) error {
	shown := false
	c.parser.Exit = func(int) { shown = true } // kong goes on, and misses the command's arguments
	if _, err := c.parser.Parse(append([]string{"--help"}, h.Command...)); err != nil && !shown {
		return errors.New(plainError(commands(), err))
	}
	return nil
}
