package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
)

func (a app) cpCommand() *cobra.Command {
	var t target
	c := &cobra.Command{
		Use:   "cp POD:PATH LOCAL | LOCAL POD:PATH",
		Short: "Copy files from or to a running container",
		Long: `Copy a file, or a directory with all below it, from or to a running container. If the target is a directory the copy goes
into it, else it becomes the target. The container needs no program for it.

Modes are kept, owners are not: a copy belongs to who runs this command, or to the container's user. Links below what is
copied are copied as links; from a container, only those that stay within. POD is a pod's name, NAMESPACE/POD, or with
-n KIND/NAME of a workload; write ./a:b for a local file with a colon.`,
		Example: `  headway cp front-6d4cf56db6-x7k2p:/etc/nginx ./nginx
  headway cp ./page.html shop/front-6d4cf56db6-x7k2p:/srv/page.html`,
		Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			from, to := parseEnd(args[0]), parseEnd(args[1])
			switch {
			case from.pod == "" && to.pod == "":
				return errors.New("neither side names a pod: one of them is POD:PATH")
			case from.pod != "" && to.pod != "":
				return errors.New("both sides name a pod: copy to this machine first")
			}
			remote := from
			if to.pod != "" {
				remote = to
			}
			if remote.path == "" {
				return fmt.Errorf("the path is missing: write %s:/the/path", remote.pod)
			}
			if remote.namespace != "" && t.namespace != "" && remote.namespace != t.namespace {
				return fmt.Errorf("-n %s and %s/%s name two namespaces", t.namespace, remote.namespace, remote.pod)
			}
			if remote.namespace != "" {
				t.namespace = remote.namespace
			}
			return withFleet(c.Context(), t.contextFile, func(_ fleet, conn *bus.Conn) error {
				pod, err := t.onePod(c.Context(), conn, remote.pod)
				if err != nil {
					return err
				}
				if to.pod != "" {
					return a.copyTo(c.Context(), conn, pod.Placement, t.container, from.path, to.path)
				}
				return a.copyFrom(c.Context(), conn, pod.Placement, t.container, from.path, to.path)
			})
		},
	}
	t.flags(c)
	return c
}

// A copyEnd is one side of a copy; pod is empty for a local one.
type copyEnd struct{ namespace, pod, path string }

// parseEnd reads [NAMESPACE/]POD:PATH, KIND/NAME:PATH or a local path.
func parseEnd(s string) copyEnd {
	pod, path, ok := strings.Cut(s, ":")
	if !ok || pod == "" || strings.HasPrefix(pod, ".") || strings.HasPrefix(pod, "/") || strings.Count(pod, "/") > 1 || filepath.VolumeName(s) != "" {
		return copyEnd{path: s}
	}
	if namespace, name, ok := strings.Cut(pod, "/"); ok && !isKind(namespace) {
		return copyEnd{namespace, name, path}
	}
	return copyEnd{"", pod, path}
}

// isKind reports whether a word is one for the pods' owners, rather than a namespace.
func isKind(s string) bool {
	kind, _, err := parseObject(s + "/x")
	return err == nil && kind != s
}

// copyFrom copies out of a container.
func (a app) copyFrom(ctx context.Context, conn *bus.Conn, pod api.Placement, container, remote, local string) error {
	s, err := openStream(ctx, conn, pod, api.StreamRequest{Container: container, Files: &api.FileOptions{Path: remote}})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	archive, input := io.Pipe()
	received := make(chan error, 1)
	go func() {
		err := receive(ctx, s, input, a.stderr)
		input.CloseWithError(err) // or the end of the archive
		received <- err
	}()
	if err = unpack(local, archive, a.stderr); err == nil {
		// What fills up the archive's last block, and the stream's end.
		_, err = io.Copy(io.Discard, archive)
	}
	archive.CloseWithError(err)
	if err != nil {
		cancel()
	}
	if failed := <-received; err == nil {
		return failed
	}
	return err
}

// copyTo copies into a container.
func (a app) copyTo(ctx context.Context, conn *bus.Conn, pod api.Placement, container, local, remote string) error {
	if path.Clean(remote) == "/" && !strings.HasSuffix(remote, "/") {
		return fmt.Errorf("%q is not a path", remote)
	}
	if err := packable(local); err != nil {
		return err
	}
	s, err := openStream(ctx, conn, pod, api.StreamRequest{Container: container, Files: &api.FileOptions{Path: remote, Write: true}})
	if err != nil {
		return err
	}
	defer s.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	packed := make(chan error, 1)
	go func() {
		err := pack(local, &stdinWriter{ctx, s})
		if err == nil {
			err = s.Send(ctx, api.StreamFrame{StdinEOF: true})
		}
		if err != nil && !errors.Is(err, bus.ErrStreamClosed) {
			cancel()
		}
		packed <- err
	}()
	err = receive(ctx, s, io.Discard, a.stderr)
	cancel()
	if failed := <-packed; err == nil && !errors.Is(failed, bus.ErrStreamClosed) {
		return failed
	}
	return err
}

// A stdinWriter sends what is written to it.
type stdinWriter struct {
	ctx context.Context
	s   *bus.Stream
}

func (w *stdinWriter) Write(p []byte) (int, error) {
	if err := w.s.Send(w.ctx, api.StreamFrame{Stdin: p}); err != nil {
		return 0, err
	}
	return len(p), nil
}
