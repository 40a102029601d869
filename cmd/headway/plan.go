package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/controller"
	"headway.dev/headway/planner"
	"headway.dev/headway/schema"
	"headway.dev/headway/sync/mirror"
)

// planOptions are the flags of plan.
type planOptions struct {
	contextFile string
	repo, path  string
	from, to    string
	tags        tagsFlag
}

func (a app) planCommand() *cobra.Command {
	var (
		o   = planOptions{tags: tagsFlag{}}
		out format
	)
	c := &cobra.Command{
		Use:   "plan",
		Short: "What a commit would change: objects, and pods one by one",
		Long: `Print what would change from one revision to another: each object with its fields, and each pod that would be
created or stopped, in order, with its node and the reason. The controller carries out the same plan by the same code.

Without --from, the plan starts from what the cluster runs now. With --from and no cluster, it is computed from the two
commits alone. The exit code is 0 when there is nothing to do, 2 when there are changes, and 1 for an error.`,
		Example: `  headway plan --to my-branch
  headway plan --from main --to my-branch -o markdown      # for a pull request`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			preview, err := o.preview(c.Context(), a.stderr)
			if err != nil {
				return err
			}
			if err := printPreview(a.stdout, out, preview); err != nil {
				return err
			}
			if !preview.Empty() {
				return exit{code: 2}
			}
			return nil
		},
	}
	fleetFlag(c, &o.contextFile)
	c.Flags().StringVar(&o.repo, "repo", ".", "local repository (or a folder in it)")
	c.Flags().StringVar(&o.path, "path", "", "folder of the repository that holds the manifests (default: the cluster's, or all)")
	c.Flags().StringVar(&o.from, "from", "", "revision to start from (default: what the cluster runs)")
	c.Flags().StringVar(&o.to, "to", "HEAD", "revision to plan")
	c.Flags().VarP(o.tags, "tag", "t", "CUE tag, as name=value, or the name alone of a short form or a condition")
	formatFlag(c, &out, formatText, formatJSON, formatMarkdown)
	return c
}

// preview gathers both revisions and the fleet, and rehearses the step between them.
func (o planOptions) preview(ctx context.Context, stderr io.Writer) (controller.Preview, error) {
	in := controller.PreviewInput{Now: time.Now()}
	err := withFleet(ctx, o.contextFile, func(f fleet, conn *bus.Conn) error {
		state, err := conn.State(ctx)
		if err != nil {
			return err
		}
		in.Fleet = controller.State(state)
		if o.path == "" {
			o.path = f.Path
		}
		if o.from != "" || state.Report == nil {
			return nil
		}
		in.From.Revision, in.From.Complete = state.Report.Deployed, true
		in.From.Objects, err = objectsInForce(ctx, conn, *state.Report)
		return err
	})
	if err != nil && (!errors.Is(err, errNoFleet) || o.from == "") {
		return controller.Preview{}, err
	}
	local, err := mirror.OpenLocal(o.repo, o.path)
	if err != nil {
		return controller.Preview{}, err
	}
	compiler, end, err := newCompiler(compilerOptions{tags: o.tags, cache: userCache()}, nil)
	if err != nil {
		return controller.Preview{}, err
	}
	defer end()
	if o.from != "" {
		if in.From, err = compileRevision(ctx, local, compiler, o.from, stderr); err != nil {
			return controller.Preview{}, err
		}
	}
	if in.To, err = compileRevision(ctx, local, compiler, o.to, stderr); err != nil {
		return controller.Preview{}, err
	}
	later := (&schema.Result{Objects: in.To.Objects, Complete: true}).After(in.From.Objects)
	for _, p := range later.Problems {
		fmt.Fprintln(stderr, p)
	}
	if !later.Complete {
		return controller.Preview{}, fmt.Errorf("%s changes what may not change: mend the problems above; nothing of these objects would change", o.to)
	}
	return controller.NewPreview(in)
}

// compileRevision compiles one revision; its problems go to stderr, and errors among them fail the plan.
func compileRevision(ctx context.Context, local *mirror.Local, compiler *schema.Compiler, rev string, stderr io.Writer) (controller.PreviewRevision, error) {
	snapshot, err := local.At(ctx, rev)
	if err != nil {
		return controller.PreviewRevision{}, err
	}
	result, err := compiler.Compile(ctx, snapshot.FS())
	if err != nil {
		return controller.PreviewRevision{}, fmt.Errorf("compile %s: %w", rev, err)
	}
	for _, p := range result.Problems {
		fmt.Fprintln(stderr, p)
	}
	if !result.Complete {
		return controller.PreviewRevision{}, fmt.Errorf("%s does not evaluate: mend the problems above (\"headway validate\" shows them too)", rev)
	}
	return controller.PreviewRevision{Revision: snapshot.Revision, Objects: result.Objects, Complete: true}, nil
}

func printPreview(w io.Writer, out format, p controller.Preview) error {
	switch out {
	case formatJSON:
		return printData(w, out, p)
	case formatMarkdown:
		return printMarkdown(w, p)
	}
	return printText(w, p)
}

// signs mark what happens to objects and pods.
var signs = map[string]string{
	string(planner.ObjectAdded): "+", string(planner.ObjectRemoved): "-", string(planner.ObjectChanged): "~",
	string(planner.CreatePod): "+", string(planner.StopPod): "-",
}

func printText(w io.Writer, p controller.Preview) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Plan: %s -> %s\n", planned(p.From), planned(p.To))
	if p.Empty() {
		b.WriteString("Nothing to do.\n")
	}
	if len(p.Objects) > 0 {
		b.WriteString("\nObjects\n")
	}
	// What would be deleted is the first thing to see.
	for _, removed := range []bool{true, false} {
		for _, o := range p.Objects {
			if (o.Kind == planner.ObjectRemoved) != removed {
				continue
			}
			fmt.Fprintf(&b, "  %s %s  (%s)\n", signOf(p, o), o.Ref, o.Source)
			for _, f := range o.Fields {
				fmt.Fprintf(&b, "      %s\n", f)
			}
		}
	}
	if len(p.Steps) > 0 {
		b.WriteString("\nPods\n")
	}
	for i, step := range p.Steps {
		fmt.Fprintf(&b, "  step %d%s\n", i+1, after(step))
		for _, a := range step.Actions {
			fmt.Fprintf(&b, "  %s %s%s: %s\n", signs[string(a.Kind)], a.Pod.Pod, where(a), a.Reason)
		}
		for _, line := range inPlace(step.Updates) {
			fmt.Fprintf(&b, "  ~ %s\n", line)
		}
	}
	for _, s := range p.Scales {
		fmt.Fprintf(&b, "\n* %s\n", scaledBy(s))
	}
	for _, g := range p.Together {
		fmt.Fprintf(&b, "\n%s\n", together(g))
	}
	for _, problem := range p.Problems {
		fmt.Fprintf(&b, "\n! %s\n", problem)
	}
	if !p.Empty() {
		fmt.Fprintf(&b, "\n%s\n", summary(p))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printMarkdown(w io.Writer, p controller.Preview) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### Plan: %s → %s\n\n%s\n", planned(p.From), planned(p.To), summary(p))
	if len(p.Objects) > 0 {
		b.WriteString("\n| | object | where | change |\n|---|---|---|---|\n")
	}
	for _, o := range p.Objects {
		var fields []string
		for _, f := range o.Fields {
			fields = append(fields, "`"+strings.NewReplacer("|", "\\|", "`", "'").Replace(f.String())+"`")
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", signOf(p, o), o.Ref, o.Source, strings.Join(fields, "<br>"))
	}
	for i, s := range p.Scales {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s\n", scaledBy(s))
	}
	for i, step := range p.Steps {
		if i == 0 {
			b.WriteString("\n```diff\n")
		}
		fmt.Fprintf(&b, "@@ step %d%s @@\n", i+1, after(step))
		for _, a := range step.Actions {
			fmt.Fprintf(&b, "%s %s%s: %s\n", signs[string(a.Kind)], a.Pod.Pod, where(a), a.Reason)
		}
		for _, line := range inPlace(step.Updates) {
			fmt.Fprintf(&b, "! %s\n", line)
		}
		if i == len(p.Steps)-1 {
			b.WriteString("```\n")
		}
	}
	for _, g := range p.Together {
		fmt.Fprintf(&b, "\n%s\n", together(g))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// signOf is the sign before an object. One that Git has dropped and that stays has its reason among the problems.
func signOf(p controller.Preview, o planner.ObjectChange) string {
	if slices.ContainsFunc(p.Held, func(d planner.Deletion) bool { return d.Ref == o.Ref }) {
		return "="
	}
	return signs[string(o.Kind)]
}

// together says what a group promotes.
func together(g planner.Group) string {
	name := "All or nothing"
	if g.Name != "" {
		name += " (" + g.Name + ")"
	}
	members := make([]string, len(g.Members))
	for i, ref := range g.Members {
		members[i] = ref.String()
	}
	return name + ": if one of these fails, all go back: " + strings.Join(members, ", ") + "."
}

func planned(r api.Revision) string {
	if r.Commit == "" {
		return "nothing"
	}
	return fmt.Sprintf("%s (%s)", r.Short(), subject(r.Message))
}

func after(s controller.PreviewStep) string {
	if s.After == 0 {
		return ""
	}
	return fmt.Sprintf(", after %s at the earliest", s.After)
}

func where(a controller.PreviewAction) string {
	switch {
	case a.Node != "":
		return " on " + a.Node
	case a.Kind == planner.CreatePod && a.NodeReason != "":
		return " (unschedulable: " + a.NodeReason + ")"
	}
	return ""
}

// summary counts what a plan does.
func summary(p controller.Preview) string {
	objects, pods := map[planner.ChangeKind]int{}, map[planner.ActionKind]int{}
	for _, o := range p.Objects {
		objects[o.Kind]++
	}
	for _, step := range p.Steps {
		for _, a := range step.Actions {
			pods[a.Kind]++
		}
	}
	updated := ""
	if n := countUpdates(p.Steps); n > 0 {
		updated = fmt.Sprintf(", %d updated in place", n)
	}
	return fmt.Sprintf("Objects: %d removed, %d changed, %d added. Pods: %d created, %d stopped%s, in %d steps.",
		objects[planner.ObjectRemoved], objects[planner.ObjectChanged], objects[planner.ObjectAdded],
		pods[planner.CreatePod], pods[planner.StopPod], updated, len(p.Steps))
}

// countUpdates counts the pods that are updated in place, each once.
func countUpdates(steps []controller.PreviewStep) int {
	pods := map[string]bool{}
	for _, step := range steps {
		for _, u := range step.Updates {
			pods[u.Pod.UID] = true
		}
	}
	return len(pods)
}

// inPlace says what is updated in place, a line for each workload.
func inPlace(updates []planner.Update) []string {
	type group struct {
		owner  api.Ref
		reason string
	}
	counts := map[group]int{}
	var order []group
	for _, u := range updates {
		g := group{u.Pod.Owner, u.Reason}
		if counts[g]++; counts[g] == 1 {
			order = append(order, g)
		}
	}
	lines := make([]string, len(order))
	for i, g := range order {
		pods := "1 pod"
		if counts[g] > 1 {
			pods = fmt.Sprintf("%d pods", counts[g])
		}
		lines[i] = fmt.Sprintf("%s: %s: updated in place in %s", g.owner, g.reason, pods)
	}
	return lines
}
