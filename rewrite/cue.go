package rewrite

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"unicode"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/format"
	"cuelang.org/go/cue/literal"
	"cuelang.org/go/cue/token"
	"gopkg.in/yaml.v3"
	sigsyaml "sigs.k8s.io/yaml"

	"headway.dev/headway/api"
)

const (
	// maxDepth bounds the nesting of a document.
	maxDepth = 100
	// maxAliased bounds how many values the aliases of a file may add.
	maxAliased = 50_000
)

// errNoObjects is the error of a file that holds something other than objects, and so is not a manifest.
var errNoObjects = errors.New("holds a document that is not an object")

// A converter turns the YAML files of one directory into CUE.
type converter struct {
	file    string
	labels  map[string]bool // taken in the package: kind and label
	aliased int
	inAlias int
}

// convert gives the CUE file, in a package, that stands for a YAML file. It is nil for a file without a document.
func (c *converter) convert(pkg string, data []byte) ([]byte, error) {
	docs, err := parseYAML(c.file, data)
	if err != nil {
		return nil, err
	}
	file := &ast.File{Decls: []ast.Decl{&ast.Package{Name: ast.NewIdent(pkg)}}}
	for _, d := range docs {
		if len(d.Content) == 0 || d.Content[0].Tag == "!!null" {
			continue
		}
		fields, err := c.document(d)
		if err != nil {
			return nil, err
		}
		for _, f := range fields {
			file.Decls = append(file.Decls, f)
		}
	}
	if len(file.Decls) == 1 {
		return nil, nil
	}
	out, err := format.Node(file, format.Simplify())
	if err != nil {
		return nil, fmt.Errorf("%s: write as CUE: %w", c.file, err)
	}
	return out, nil
}

// document turns an object, or the items of a List, into fields.
func (c *converter) document(d *yaml.Node) ([]*ast.Field, error) {
	root := d.Content[0]
	kind, version := text(root, "kind"), text(root, "apiVersion")
	if kind == "" || version == "" {
		return nil, errNoObjects
	}
	if items := member(root, "items"); items != nil && items.Kind == yaml.SequenceNode && kind == "List" {
		var fields []*ast.Field
		for _, item := range items.Content {
			f, err := c.object(item)
			if err != nil {
				return nil, err
			}
			fields = append(fields, f)
		}
		return fields, nil
	}
	// What stands before the first key is about the object.
	first := root.Content[0]
	about := first.HeadComment
	first.HeadComment = ""
	f, err := c.object(root)
	if err != nil {
		return nil, err
	}
	for _, doc := range []string{d.HeadComment, root.HeadComment, about} {
		comment(f, doc, false)
	}
	return []*ast.Field{f}, nil
}

// object is deployment: web: {…}.
func (c *converter) object(n *yaml.Node) (*ast.Field, error) {
	kind := text(n, "kind")
	if kind == "" || text(n, "apiVersion") == "" {
		return nil, errNoObjects
	}
	value, err := c.value(n, 0)
	if err != nil {
		return nil, err
	}
	metadata := member(n, "metadata")
	label := c.label(fieldOf(kind), text(metadata, "name"), text(metadata, "namespace"))
	inner := &ast.Field{Label: ast.NewStringLabel(label), Value: value}
	return &ast.Field{Label: ast.NewStringLabel(fieldOf(kind)), Value: &ast.StructLit{Elts: []ast.Decl{inner}}}, nil
}

// label is the object's name; with its namespace, or a number, where another of the package has that already.
func (c *converter) label(kind, name, namespace string) string {
	label := name
	if c.labels[kind+"\x00"+label] && namespace != "" {
		label = namespace + "/" + name
	}
	for i := 2; c.labels[kind+"\x00"+label]; i++ {
		label = fmt.Sprintf("%s#%d", name, i)
	}
	c.labels[kind+"\x00"+label] = true
	return label
}

// fieldOf writes a kind as a field is written: configMap, csiDriver.
func fieldOf(kind string) string {
	r := []rune(kind)
	for i := range r {
		if i > 0 && (!unicode.IsUpper(r[i]) || i+1 < len(r) && !unicode.IsUpper(r[i+1])) {
			break
		}
		r[i] = unicode.ToLower(r[i])
	}
	return string(r)
}

func (c *converter) errorf(n *yaml.Node, format string, args ...any) error {
	return &FileError{api.Position{File: c.file, Line: n.Line, Column: n.Column}, fmt.Sprintf(format, args...)}
}

// value turns a node into an expression.
func (c *converter) value(n *yaml.Node, depth int) (ast.Expr, error) {
	if depth > maxDepth {
		return nil, c.errorf(n, "nested more than %d deep", maxDepth)
	}
	if c.inAlias > 0 {
		if c.aliased++; c.aliased > maxAliased {
			return nil, c.errorf(n, "aliases add more than %d values: write them out", maxAliased)
		}
	}
	switch n.Kind {
	case yaml.AliasNode:
		c.inAlias++
		defer func() { c.inAlias-- }()
		return c.value(n.Alias, depth+1)
	case yaml.MappingNode:
		s := &ast.StructLit{}
		return s, c.mapping(s, n, depth, map[string]bool{})
	case yaml.SequenceNode:
		list := &ast.ListLit{}
		for _, item := range n.Content {
			v, err := c.value(item, depth+1)
			if err != nil {
				return nil, err
			}
			comment(v, item.HeadComment, false)
			comment(v, item.LineComment, true)
			list.Elts = append(list.Elts, v)
		}
		return list, nil
	}
	return c.scalar(n, depth)
}

// mapping adds a map's members; a merged one loses to those that are there already.
func (c *converter) mapping(s *ast.StructLit, n *yaml.Node, depth int, have map[string]bool) error {
	var merges []*yaml.Node
	own := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if k.Tag == "!!merge" {
			merges = append(merges, v)
			continue
		}
		name, err := c.key(k)
		if err != nil {
			return err
		}
		if own[name] {
			return c.errorf(k, "the key %s is there twice: remove one", name)
		}
		own[name] = true
		if have[name] {
			continue
		}
		have[name] = true
		value, err := c.value(v, depth+1)
		if err != nil {
			return err
		}
		f := &ast.Field{Label: ast.NewStringLabel(name), Value: value}
		comment(f, k.HeadComment, false)
		comment(f, v.HeadComment, false)
		comment(f, k.LineComment, v.Kind == yaml.ScalarNode)
		comment(f, v.LineComment, v.Kind == yaml.ScalarNode)
		s.Elts = append(s.Elts, f)
		if foot := group(k.FootComment); foot != nil {
			s.Elts = append(s.Elts, foot)
		}
	}
	for _, m := range merges {
		if err := c.merge(s, m, depth+1, have); err != nil {
			return err
		}
	}
	return nil
}

func (c *converter) merge(s *ast.StructLit, n *yaml.Node, depth int, have map[string]bool) error {
	if n.Kind == yaml.AliasNode {
		c.inAlias++
		defer func() { c.inAlias-- }()
		n = n.Alias
	}
	switch {
	case depth > maxDepth:
		return c.errorf(n, "nested more than %d deep", maxDepth)
	case n.Kind == yaml.MappingNode:
		return c.mapping(s, n, depth, have)
	case n.Kind == yaml.SequenceNode:
		for _, item := range n.Content {
			if err := c.merge(s, item, depth+1, have); err != nil {
				return err
			}
		}
		return nil
	}
	return c.errorf(n, "<< needs a map, or a list of maps")
}

func (c *converter) key(k *yaml.Node) (string, error) {
	if k.Kind == yaml.AliasNode {
		k = k.Alias
	}
	if k.Kind != yaml.ScalarNode {
		return "", c.errorf(k, "a key must be a string")
	}
	v, err := c.scalar(k, 0)
	if err != nil {
		return "", err
	}
	if lit, ok := v.(*ast.BasicLit); ok && lit.Kind != token.STRING {
		return lit.Value, nil // as the JSON form has it
	}
	return k.Value, nil
}

// scalar reads a scalar as Kubernetes' tools do, by YAML 1.1: they are asked.
func (c *converter) scalar(n *yaml.Node, depth int) (ast.Expr, error) {
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	tagged := n.Style&yaml.TaggedStyle != 0
	if !tagged && n.Style&quoted != 0 || tagged && n.ShortTag() == "!!str" {
		return stringOf(n.Value, depth), nil
	}
	source := n.Value
	if tagged {
		source = n.ShortTag() + " " + source
	}
	var v any
	if err := sigsyaml.Unmarshal([]byte(source), &v); err != nil {
		return nil, c.errorf(n, "is not a value that JSON can hold: %v", err)
	}
	switch v := v.(type) {
	case nil:
		return ast.NewNull(), nil
	case bool:
		return ast.NewBool(v), nil
	case string:
		return stringOf(v, depth), nil
	}
	data, err := sigsyaml.YAMLToJSON([]byte(source))
	if err != nil {
		return nil, c.errorf(n, "is not a value that JSON can hold: %v", err)
	}
	number := strings.TrimSpace(string(data))
	kind := token.INT
	if strings.ContainsAny(number, ".eE") {
		kind = token.FLOAT
	}
	if !strings.HasPrefix(number, "-") {
		return ast.NewLit(kind, number), nil
	}
	return &ast.UnaryExpr{Op: token.SUB, X: ast.NewLit(kind, number[1:])}, nil
}

// stringOf writes text of several lines as such.
func stringOf(s string, depth int) ast.Expr {
	form := literal.String
	if strings.Contains(strings.TrimRight(s, "\n"), "\n") {
		form = form.WithTabIndent(depth + 1).WithOptionalTabIndent(depth + 1)
	}
	return ast.NewLit(token.STRING, form.Quote(s))
}

func member(n *yaml.Node, name string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == name {
			return n.Content[i+1]
		}
	}
	return nil
}

func text(n *yaml.Node, name string) string {
	if m := member(n, name); m != nil && m.Kind == yaml.ScalarNode && m.Tag == "!!str" {
		return m.Value
	}
	return ""
}

// comment puts a YAML comment before a node, or beside it.
func comment(n ast.Node, text string, beside bool) {
	g := group(text)
	if g == nil {
		return
	}
	if beside {
		g.Doc, g.Line, g.Position = false, true, 10 // after all of the node's tokens
	}
	ast.AddComment(n, g)
}

// group turns the lines of a YAML comment into CUE's.
func group(text string) *ast.CommentGroup {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	g := &ast.CommentGroup{Doc: true}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(strings.TrimPrefix(strings.TrimSpace(line), "#"), " \t")
		g.List = append(g.List, &ast.Comment{Text: "//" + line})
	}
	return g
}

// packageName makes a CUE identifier of a directory's name.
func packageName(dir, root string) string {
	base := path.Base(dir)
	if dir == "." {
		base = root
	}
	name := strings.Map(func(r rune) rune {
		if r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r)) {
			return unicode.ToLower(r)
		}
		return '_'
	}, base)
	name = strings.Trim(name, "_")
	if name == "" || unicode.IsDigit(rune(name[0])) {
		name = "manifests" + name
	}
	return name
}
