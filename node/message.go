package node

import (
	"cmp"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"headway.dev/headway/api"
)

// Kubernetes' bounds for what a container says of its end: for one, for all of a pod, and for what is taken from its log.
const (
	maxMessage     = 4096
	maxPodMessages = 12 << 10
	maxLogMessage  = 2048
	maxLogLines    = 80
)

// makeMessage makes the file that a run writes of its end, and mounts it, unless the container has something else there.
func (p *pod) makeMessage(c *container, attempt int, mounts []Mount) ([]Mount, error) {
	target := filepath.Clean(cmp.Or(c.spec.TerminationMessagePath, corev1.TerminationMessagePathDefault))
	if !filepath.IsAbs(target) {
		return nil, errors.New("terminationMessagePath " + c.spec.TerminationMessagePath + " is not an absolute path")
	}
	if slices.ContainsFunc(mounts, func(m Mount) bool { return m.Target == target }) {
		return mounts, nil
	}
	path := p.host.disk.messagePath(p.uid, c.spec.Name, attempt)
	if err := touch(path); err != nil {
		return nil, err
	}
	// Whoever the container runs as writes it.
	if err := os.Chmod(path, 0o666); err != nil {
		return nil, err
	}
	return append(mounts, Mount{Source: path, Target: target}), nil
}

// terminationMessage is what the current run wrote of its end; for one that failed, and asks for it, the end of its log.
func (p *pod) terminationMessage(c *container, exitCode int) string {
	most := min(maxMessage, maxPodMessages/max(1, len(p.containers)))
	message, err := readTail(p.host.disk.messagePath(p.uid, c.spec.Name, c.attempt), most)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		message = "the termination message cannot be read: " + err.Error()
	}
	if message != "" || exitCode == 0 || c.spec.TerminationMessagePolicy != corev1.TerminationMessageFallbackToLogsOnError {
		return message
	}
	var b strings.Builder
	log := p.host.disk.logPath(p.uid, c.spec.Name, c.attempt)
	if err := p.host.config.Logs.Read(context.Background(), log, api.LogOptions{Tail: new(maxLogLines)}, closed(), &b); err != nil {
		return ""
	}
	text := b.String()
	if extra := len(text) - min(most, maxLogMessage); extra > 0 {
		text = text[extra:]
	}
	return strings.ToValidUTF8(text, "?")
}

// readTail reads at most the last bytes of a file.
func readTail(path string, most int) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	from := max(0, info.Size()-int64(most))
	data, err := io.ReadAll(io.NewSectionReader(f, from, int64(most)))
	return strings.ToValidUTF8(string(data), "?"), err
}
