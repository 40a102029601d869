package evaluator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"headway.dev/headway/schema"
)

// maxStack ends endless recursion before it has taken much memory, in bytes.
const maxStack = 256 << 20

// Serve is the child: it does the jobs that come in, until no more come. The error is that the parent spoke no sense, or
// could not be answered.
//
// When in ends while a job is done, the parent is gone: lost is called then, and should end the process, for nothing else
// ends an evaluation.
func Serve(ctx context.Context, in io.Reader, out io.Writer, lost func()) error {
	debug.SetMaxStack(maxStack)
	type received struct {
		frame   frame
		payload []byte
		err     error
	}
	p := newPipe(in, out)
	frames := make(chan received) // closed after the last, which has an error
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		defer close(frames)
		for {
			f, payload, err := p.receive()
			if err != nil {
				lost()
			}
			select {
			case frames <- received{f, payload, err}:
			case <-ctx.Done():
				return
			}
			if err != nil {
				return
			}
		}
	}()
	receive := func() (frame, []byte, error) {
		select {
		case r, ok := <-frames:
			if !ok {
				return 0, nil, io.EOF
			}
			return r.frame, r.payload, r.err
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
	c := &child{pipe: p, receive: receive, worker: schema.NewWorker(schema.Options{})}
	for {
		f, payload, err := receive()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("evaluator: %w", err)
		case f != frameJob:
			return fmt.Errorf("evaluator: %w", errGarbage)
		}
		if err := c.do(ctx, payload); err != nil {
			return fmt.Errorf("evaluator: %w", err)
		}
	}
}

type child struct {
	pipe     *pipe
	receive  func() (frame, []byte, error)
	worker   *schema.Worker
	contents contents
}

// do does one job.
func (c *child) do(ctx context.Context, payload []byte) error {
	w := work{Job: &schema.Job{}}
	if err := json.Unmarshal(payload, &w); err != nil {
		return err
	}
	if w.Job == nil {
		return errGarbage
	}
	var failed error
	tell := func(f frame, payload []byte) {
		if failed == nil {
			failed = c.pipe.send(f, payload)
		}
	}
	tree := newRemoteTree(c.pipe, c.receive, &c.contents, w)
	err := c.worker.Evaluate(ctx, tree, w.Job,
		func(dir string) { tell(frameBegin, []byte(dir)) },
		func(dir string, e *schema.Evaluation) {
			data, err := e.MarshalBinary()
			if err == nil && len(data) > maxFrame {
				err = fmt.Errorf("what it yields takes %d bytes", len(data))
			}
			if err != nil {
				data, err = schema.Failed(w.Job, dir, "cannot be evaluated: "+err.Error(), nil).MarshalBinary()
			}
			if err == nil {
				tell(frameYield, data)
			}
		})
	text := ""
	if err != nil {
		text = err.Error()
	}
	tell(frameDone, []byte(text))
	return failed
}
