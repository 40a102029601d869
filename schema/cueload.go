package schema

import (
	"context"
	"fmt"
	"regexp"
	"slices"

	"cuelang.org/go/cue/build"
	"cuelang.org/go/cue/load"
	"cuelang.org/go/mod/modfile"
	"cuelang.org/go/mod/module"
)

// load reads the packages of directories with all that they import. It reaches neither the disk nor the network.
func (e *cueEvaluation) load(dirs []string) map[string][]*build.Instance {
	args := make([]string, len(dirs))
	for i, dir := range dirs {
		rest, _ := below(dir, e.module.root)
		if dir == e.module.root {
			rest = "."
		}
		args[i] = "./" + rest + "/." // without it, a directory with a dot in its name would count as a file
	}
	root := e.module.onDisk(e.module.root)
	config := &load.Config{
		Overlay: e.module.overlay, Dir: root, ModuleRoot: root, Package: "*",
		AcceptLegacyModules: true,
		Registry:            noRegistry{},
		Env:                 []string{},
	}
	instances := load.Instances(args, config)
	if tags := e.tags(instances); len(tags) > 0 {
		config.Tags = tags
		instances = load.Instances(args, config)
	}
	loaded := map[string][]*build.Instance{}
	for _, i := range instances {
		dir := e.module.inTree(i.Dir)
		if len(dirs) == 1 {
			dir = dirs[0]
		}
		loaded[dir] = append(loaded[dir], i)
	}
	return loaded
}

// tags are those of the compiler's tags that a file asks for; loading with any other is an error. One without a value
// selects files by @if, or is the short form of a value.
func (e *cueEvaluation) tags(instances []*build.Instance) []string {
	asked := func(format, name string) bool {
		pattern := regexp.MustCompile(fmt.Sprintf(format, regexp.QuoteMeta(name)))
		return slices.ContainsFunc(instances, func(i *build.Instance) bool { return says(i, pattern) })
	}
	var tags []string
	for name, v := range e.compiler.options.Tags {
		switch {
		case v == "" && (e.module.conditions[name] || asked(`@tag\([^)]*short=(?:[^,)]*\|)?%s[|,)]`, name)):
			tags = append(tags, name)
		case asked(`@tag\(%s[,)]`, name):
			tags = append(tags, name+"="+v)
		}
	}
	slices.Sort(tags)
	return tags
}

// says tells whether any file of an instance itself holds a text.
func says(i *build.Instance, pattern *regexp.Regexp) bool {
	return slices.ContainsFunc(i.BuildFiles, func(f *build.File) bool {
		data, ok := f.Source.([]byte)
		return ok && pattern.Match(data)
	})
}

// noRegistry knows every module, and that none of them holds anything: what a tree imports is in the tree or comes with
// the program.
type noRegistry struct{}

func (noRegistry) ModFile(_ context.Context, m module.Version) (*modfile.File, error) {
	return modfile.Parse(fmt.Appendf(nil, "module: %q\nlanguage: version: \"v0.9.0\"\n", m.Path()), "module.cue")
}

func (noRegistry) Fetch(context.Context, module.Version) (module.SourceLoc, error) {
	return module.SourceLoc{}, nil
}

func (noRegistry) ModuleVersions(context.Context, string) ([]string, error) { return nil, nil }
