package evaluator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A process is a child.
type process struct {
	pipe   *pipe
	stdin  io.Closer
	os     *os.Process
	stderr *tail
	gone   chan struct{} // closed once it has ended
	state  error         // how it ended, once gone is closed
	retire *time.Timer   // ends it when idle
}

// start runs a child. It is counted in ended until it has been waited for.
func start(o Options, ended *sync.WaitGroup) (*process, error) {
	cmd := exec.Command(o.Path, o.Command[1:]...)
	cmd.Args[0] = o.Command[0]
	// No PATH: a library that wants to run a program, such as git, finds none.
	cmd.Env = append([]string{fmt.Sprintf("GOMEMLIMIT=%d", o.Memory)}, o.Env...)
	cmd.Dir = os.TempDir()
	cmd.SysProcAttr = attributes()
	p := &process{stderr: &tail{}, gone: make(chan struct{})}
	cmd.Stderr = p.stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, output, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdout = output
	p.pipe, p.stdin = newPipe(stdout, stdin), stdin
	err = cmd.Start()
	if err = errors.Join(err, output.Close()); err != nil {
		return nil, errors.Join(err, stdout.Close())
	}
	p.os = cmd.Process
	ended.Add(1)
	go func() {
		defer ended.Done()
		p.state = cmd.Wait()
		close(p.gone)
		// What it has still sent is of no use: who reads it knows by now, or is to know by the end of the pipe.
		_ = stdout.Close()
	}()
	return p, nil
}

// alive tells whether the child has not ended, as far as that is known.
func (p *process) alive() bool {
	select {
	case <-p.gone:
		return false
	default:
		return true
	}
}

// end lets the child end by itself.
func (p *process) end() { _ = p.stdin.Close() }

// signalKill ends the child now. That it has ended already is no error.
func (p *process) signalKill() { _ = p.os.Kill() }

// kill ends the child, waits for it, and says why an evaluation has failed with err.
func (p *process) kill(err error) string {
	p.signalKill()
	p.end()
	<-p.gone
	var limit *limitError
	switch {
	case errors.As(err, &limit):
		return limit.reason
	case p.stderr.reason() != "":
		return "cannot be evaluated, it breaks the program: " + p.stderr.reason()
	case errors.Is(err, errGarbage):
		return "cannot be evaluated: the process that did has sent what makes no sense"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, os.ErrClosed):
		return fmt.Sprintf("cannot be evaluated: the process that did has ended (%v)", p.state)
	}
	return "cannot be evaluated: " + err.Error()
}

// A tail keeps the start of what is written to it, where a Go program says why it ends.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	const most = 16 << 10
	if room := most - len(t.text); room > 0 {
		t.text = append(t.text, b[:min(room, len(b))]...)
	}
	return len(b), nil
}

// reason finds the line that says what broke the program.
func (t *tail) reason() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for line := range strings.Lines(string(t.text)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") || strings.HasPrefix(line, "runtime: goroutine stack exceeds") {
			return line[:min(len(line), 200)]
		}
	}
	return ""
}
