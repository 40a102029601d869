package containerd

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"headway.dev/headway/node"
)

// A worded error has what people are to read of another.
type worded struct {
	text string
	err  error
}

func (e *worded) Error() string { return e.text }
func (e *worded) Unwrap() error { return e.err }

// machinery is what containerd and the OCI runtime say of where they keep things, with what people are to read instead: they know
// a file by its path in the image or the container. Most of it is another with every attempt.
var machinery = []struct {
	found *regexp.Regexp
	words string
}{
	// A file of a snapshot or of a container's root.
	{regexp.MustCompile(`/[^\s"':]*/io\.containerd\.snapshotter\.v1\.[^/\s"':]+/snapshots/\d+/(?:fs|work)`), ""},
	{regexp.MustCompile(`/[^\s"':]*/io\.containerd\.runtime\.v2\.task/[^/\s"':]+/[^/\s"':]+/rootfs`), ""},
	// A file of the bundle, or of the runtime's state.
	{regexp.MustCompile(`/[^\s"':]*/(?:io\.containerd\.runtime\.v2\.task|runc)/[^/\s"':]+/[^/\s"':]+/`), ""},
	// The names of the moment.
	{regexp.MustCompile(` to \w+ as "extract-[^"]*"`), ""},
	{regexp.MustCompile(` \(via /proc/(?:thread-)?self/fd/\d+\)`), ""},
	// The code of an error that has none.
	{regexp.MustCompile(`: unknown$`), ""},
}

// inWords gives an error as people are to read it, with the replacements, in pairs, made first. It is still the same to
// errors.Is and errors.As.
func inWords(err error, replacements ...string) error {
	if err == nil {
		return nil
	}
	text := strings.NewReplacer(replacements...).Replace(err.Error())
	for _, m := range machinery {
		text = m.found.ReplaceAllString(text, m.words)
	}
	if text == err.Error() {
		return err
	}
	return &worded{text, err}
}

// mountWords are the replacements for what a container has mounted: a volume by its name, unless it is a path of the machine that
// the author has named.
func mountWords(config node.ContainerConfig) []string {
	chosen := map[string]bool{}
	if config.Spec != nil {
		for _, v := range config.Spec.Volumes {
			chosen[v.Name] = v.HostPath != nil
		}
	}
	names := map[string]string{} // by where they are mounted
	for _, m := range config.Container.VolumeMounts {
		names[filepath.Clean(m.MountPath)] = m.Name
	}
	mounts := slices.Clone(config.Mounts)
	slices.SortFunc(mounts, func(a, b node.Mount) int { return len(b.Source) - len(a.Source) }) // the first that fits is replaced
	var words []string
	for _, m := range mounts {
		name, ok := names[filepath.Clean(m.Target)]
		switch {
		case m.Source == "" || chosen[name]:
		case ok:
			words = append(words, m.Source, "volume "+name)
		default:
			words = append(words, m.Source, "the node's "+filepath.Base(m.Target))
		}
	}
	return words
}
