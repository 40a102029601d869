package fakehost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"headway.dev/headway/node"
)

// A program is a script in a small part of the shell's language: statements between semicolons, of echo, cat, sleep,
// exit, trap, dd, id, pwd, hostname and readlink.
type program []string

// parse takes a command apart: sh -c with a script, or one statement. No command at all runs until it is told to end.
func parse(command []string) (program, error) {
	switch {
	case len(command) == 0:
		return program{"trap 'exit 0' TERM", "sleep 1000000"}, nil
	case len(command) == 3 && command[0] == "/bin/sh" && command[1] == "-c":
		return split(command[2]), nil
	case strings.HasPrefix(command[0], "/"):
		return nil, fmt.Errorf("%s: no such file", command[0])
	}
	return program{strings.Join(command, " ")}, nil
}

// split cuts a script at the semicolons that are not quoted.
func split(script string) program {
	var p program
	quoted := false
	start := 0
	for i, c := range script {
		switch {
		case c == '\'':
			quoted = !quoted
		case c == ';' && !quoted:
			p = append(p, strings.TrimSpace(script[start:i]))
			start = i + 1
		}
	}
	return append(p, strings.TrimSpace(script[start:]))
}

// A process runs a program in the surroundings of a container.
type process struct {
	program  program
	seen     node.ContainerConfig
	next     int
	traps    map[syscall.Signal]program // what signals run
	waits    time.Duration
	timer    *time.Timer
	ended    bool
	exitCode int
	oom      bool
}

// run goes on to the next wait or to the end, and gives the output.
func (p *process) run() []byte {
	var out bytes.Buffer
	p.waits = 0
	for p.waits == 0 && !p.ended {
		if p.next == len(p.program) {
			p.ended = true
			break
		}
		statement := p.program[p.next]
		p.next++
		p.do(statement, node.Streams{Stdout: &out, Stderr: &out})
	}
	return out.Bytes()
}

// signalled says what a signal does: end the process with a code, or nothing. The first process of a container ignores
// what it has no trap for.
func (p *process) signalled(s syscall.Signal) (code int, ends bool, out []byte) {
	trap, found := p.traps[s]
	if !found {
		return 0, false, nil
	}
	handler := process{program: trap, seen: p.seen}
	out = handler.run()
	return handler.exitCode, len(trap) > 0, out
}

// exec runs the program to its end, or to the end of ctx.
func (p *process) exec(ctx context.Context, streams node.Streams) (int, error) {
	for ; p.next < len(p.program) && !p.ended; p.next++ {
		p.do(p.program[p.next], streams)
		if err := sleep(ctx, p.waits); err != nil {
			return 0, err
		}
		p.waits = 0
	}
	return p.exitCode, nil
}

func (p *process) do(statement string, streams node.Streams) {
	name, rest, _ := strings.Cut(statement, " ")
	var err error
	switch name {
	case "", "true", "wait", "exec":
	case "echo":
		err = p.echo(rest, streams)
	case "exit":
		p.exitCode, err = strconv.Atoi(rest)
		p.ended = true
	case "sleep":
		err = p.sleep(rest)
	case "trap":
		err = p.setTrap(rest)
	case "cat":
		err = p.cat(rest, streams)
	case "dd":
		p.allocate(rest)
	case "id", "pwd", "hostname", "readlink":
		err = write(streams.Stdout, p.tell(name, rest)+"\n")
	default:
		err = fmt.Errorf("%s: not found", name)
	}
	if err != nil {
		p.ended, p.exitCode = true, 127
	}
}

// echo writes its arguments to the output, to the errors, or to a file that is mounted.
func (p *process) echo(arguments string, streams node.Streams) error {
	if text, errors := strings.CutSuffix(arguments, ">&2"); errors {
		return write(streams.Stderr, p.expand(strings.TrimSpace(text))+"\n")
	}
	text, path, toFile := strings.Cut(arguments, ">")
	text = p.expand(strings.TrimSpace(text)) + "\n"
	if !toFile {
		return write(streams.Stdout, text)
	}
	source, err := p.mounted(strings.TrimSpace(path))
	if err != nil {
		return err
	}
	return appendTo(source, []byte(text))
}

// mounted is the machine's path of a file in a mount.
func (p *process) mounted(path string) (string, error) {
	for _, m := range p.seen.Mounts {
		if rest, err := filepath.Rel(m.Target, path); err == nil && filepath.IsLocal(rest) {
			return filepath.Join(m.Source, rest), nil
		}
	}
	return "", fmt.Errorf("%s: not found", path)
}

func write(w io.Writer, text string) error {
	if w == nil {
		return nil
	}
	_, err := io.WriteString(w, text)
	return err
}

func (p *process) sleep(arguments string) error {
	seconds, _, _ := strings.Cut(arguments, " ")
	f, err := strconv.ParseFloat(seconds, 64)
	p.waits = time.Duration(f * float64(time.Second))
	return err
}

func (p *process) setTrap(arguments string) error {
	script, name, quoted := strings.Cut(strings.TrimPrefix(arguments, "'"), "' ")
	s, known := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "USR1": syscall.SIGUSR1}[name]
	if !quoted || !known || !strings.HasPrefix(arguments, "'") {
		return errors.New("trap: only 'script' TERM or USR1")
	}
	if p.traps == nil {
		p.traps = map[syscall.Signal]program{}
	}
	p.traps[s] = nil
	if script != "" {
		p.traps[s] = split(script)
	}
	return nil
}

// cat copies a mounted file, or its input.
func (p *process) cat(path string, streams node.Streams) error {
	if path == "" {
		if streams.Stdin == nil || streams.Stdout == nil {
			return nil
		}
		_, err := io.Copy(streams.Stdout, streams.Stdin)
		return err
	}
	source, err := p.mounted(path)
	if err != nil {
		return err
	}
	data, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	return write(streams.Stdout, string(data))
}

// allocate is what dd does with a buffer of bs mebibytes.
func (p *process) allocate(arguments string) {
	for argument := range strings.FieldsSeq(arguments) {
		mebibytes, found := strings.CutSuffix(strings.TrimPrefix(argument, "bs="), "M")
		n, err := strconv.ParseInt(mebibytes, 10, 64)
		limit := p.seen.Container.Resources.Limits.Memory()
		if found && err == nil && !limit.IsZero() && n<<20 > limit.Value() {
			p.ended, p.oom, p.exitCode = true, true, exitKilled
		}
	}
}

// tell answers the commands that show a process its surroundings.
func (p *process) tell(name, arguments string) string {
	switch name {
	case "id":
		if sc := p.seen.Container.SecurityContext; sc != nil && sc.RunAsUser != nil {
			return strconv.FormatInt(*sc.RunAsUser, 10)
		}
		return "0"
	case "pwd":
		return p.seen.Container.WorkingDir
	case "hostname":
		return p.seen.Sandbox.UID
	}
	return filepath.Base(arguments) + ":[" + p.seen.Sandbox.UID + "]"
}

// expand puts values for $NAME.
func (p *process) expand(text string) string {
	return os.Expand(text, func(name string) string {
		for _, env := range p.seen.Env {
			if value, found := strings.CutPrefix(env, name+"="); found {
				return value
			}
		}
		return ""
	})
}
