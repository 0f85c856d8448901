package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"codex-proxy/internal/app"
	"codex-proxy/internal/connect"
)

type runCommand struct {
	Args []string `arg:"" optional:"" name:"tool" predictor:"program" help:"The tool, such as claude, and what it is to be given."`
}

// Run starts a tool pointed at the proxy, and the proxy with it when none runs. Its exit code is the tool's.
func (r *runCommand) Run(c *console) error {
	can := strings.Join(toolIDs(connect.Tool.CanRun), ", ")
	if len(r.Args) == 0 || r.Args[0] == "--help" || r.Args[0] == "-h" {
		c.printf("Usage: codex-proxy [flags] run TOOL [what the tool is to be given]\n\nTools: %s\n", can)
		return nil
	}
	tool, err := toolNamed(r.Args[0], "These can be run: "+can)
	if err != nil {
		return err
	}
	a, err := c.openDemoToo()
	if err != nil {
		return err
	}
	defer a.Close()
	state, stop, err := c.proxyFor(a)
	if err != nil {
		return err
	}
	defer stop()
	target := state.Target()
	key, forget, err := a.PassingKey(tool.ID, state)
	if err != nil {
		return err
	}
	defer forget()
	target.Key = key
	command, err := a.RunTool(tool.ID, target, r.Args[1:])
	if err != nil {
		return err
	}
	defer command.Close()
	c.warnf("🔌 %s uses %s, by the proxy at %s\n", tool.Name, target.Fill("{MODEL}"), state.Proxy.URL)
	return c.carry(command)
}

// startLimit is how long a proxy may take to start.
const startLimit = 20 * time.Second

// proxyFor is how the proxy is that a run uses: the one that runs, or one that lasts as long as the run.
func (c *console) proxyFor(a *app.App) (state app.State, stop func(), err error) {
	if p, ok := a.Mine(); ok {
		err := p.Call(c.ctx, callPatience, "state", url.Values{}, &state)
		if err == nil && !state.Proxy.Running && !state.Proxy.Ending {
			err = errors.New("the proxy is stopped. Start it with: codex-proxy start")
		}
		if err != nil || !state.Proxy.Ending {
			return state, func() {}, err
		}
		state = app.State{} // it is as good as gone
	}
	program, err := os.Executable()
	if err != nil {
		return state, nil, err
	}
	args := c.process.Args[:max(slices.Index(c.process.Args, "run"), 0)]
	args = append(slices.Clone(args), "serve", "--until-eof")
	if app.PortTaken(int(c.settings.Port)) {
		args = append(args, "--port", "0")
	}
	child := exec.Command(program, args...)
	apart(child) // Ctrl-C is the tool's
	var said tail
	child.Stderr = &said
	tether, err := child.StdinPipe()
	if err == nil {
		err = child.Start()
	}
	if err != nil {
		return state, nil, fmt.Errorf("the proxy could not be started: %w", err)
	}
	ended := make(chan struct{})
	go func() {
		child.Wait() //nolint:errcheck // its words say more
		close(ended)
	}()
	stop = func() {
		tether.Close()
		<-ended
	}
	ctx, cancel := context.WithTimeout(c.ctx, startLimit)
	defer cancel()
	for {
		for _, p := range app.Programs() {
			if p.PID == child.Process.Pid && p.Call(ctx, callPatience, "state", url.Values{}, &state) == nil && state.Proxy.Running {
				return state, stop, nil
			}
		}
		select {
		case <-ended:
			return state, nil, fmt.Errorf("the proxy did not start: %s", strings.TrimSpace(said.String()))
		case <-ctx.Done():
			stop()
			return state, nil, errors.New("the proxy did not start in time")
		case <-time.After(30 * time.Millisecond):
		}
	}
}

// tail keeps the last words that are written to it.
type tail struct{ text []byte }

func (t *tail) Write(b []byte) (int, error) {
	t.text = append(t.text, b...)
	t.text = t.text[max(len(t.text)-2000, 0):]
	return len(b), nil
}

func (t *tail) String() string { return string(t.text) }

// carry runs a command on the streams of this process, hands signals on, and ends with its exit code.
func (c *console) carry(command *connect.Command) error {
	child := exec.Command(command.Path, command.Args...)
	child.Env = append(os.Environ(), command.Env...)
	child.Stdin, child.Stdout, child.Stderr = c.process.In, c.process.Out, c.process.Err
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, handedOn...)
	defer signal.Stop(signals)
	if err := child.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	byTerminal := isTerminal(c.process.In)
	for {
		select {
		case s := <-signals:
			// A terminal sends Ctrl-C to each of its programs: twice would mean something else.
			if s != os.Interrupt || !byTerminal {
				child.Process.Signal(s) //nolint:errcheck // it has ended
			}
		case err := <-ended:
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				if status, ok := exit.Sys().(syscall.WaitStatus); ok && killed(status) > 0 {
					return exitCode(128 + killed(status))
				}
				return exitCode(exit.ExitCode())
			}
			if err != nil && !errors.Is(err, io.ErrClosedPipe) {
				return err
			}
			return nil
		}
	}
}
