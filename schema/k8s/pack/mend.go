package main

import (
	"path"
	"strconv"
	"strings"

	"cuelang.org/go/cue/ast"
	"cuelang.org/go/cue/ast/astutil"
	"cuelang.org/go/cue/token"
)

// mend makes generated definitions accept what Kubernetes accepts, and drops what only generators read.
//
//   - A field named after the Go type that it embeds is that type's fields: the JSON names of Kubernetes are lower-case.
//   - []byte is base64 text in a manifest; CUE's own bytes stay allowed.
//   - What people leave empty may be null.
//   - Types with a JSON form of their own, which the generator takes for anything, are said more closely.
func mend(name string, file *ast.File) {
	dir := path.Dir(name)
	astutil.Apply(file, func(c astutil.Cursor) bool {
		switch n := c.Node().(type) {
		case *ast.Field:
			n.Attrs = nil
			name := labelOf(n)
			if strings.HasPrefix(name, "#values_") {
				return false // constants by name, not the fields of a type
			}
			if v, ok := ownForms()[dir+"."+name]; ok {
				n.Value = v
				return false
			}
			if name != "" && referred(n.Value) == "#"+name {
				c.Replace(&ast.EmbedDecl{Expr: n.Value})
				return false
			}
			if n.Constraint == token.OPTION && writtenEmpty(name) {
				n.Value = ast.NewBinExpr(token.OR, ast.NewNull(), n.Value)
			}
		case *ast.Ident:
			if n.Name == "bytes" {
				c.Replace(ast.NewBinExpr(token.OR, ast.NewIdent("string"), ast.NewIdent("bytes")))
				return false
			}
		case *ast.ImportDecl, *ast.Package:
			return false
		}
		return true
	}, nil)
}

// writtenEmpty tells the fields that people leave without a value, which is null and means that they are not there. Null
// in other places is as good to Kubernetes, but an alternative in every field would cost more than it is worth.
func writtenEmpty(field string) bool {
	switch field {
	case "annotations", "binaryData", "data", "emptyDir", "labels", "stringData", "volumes":
		return true
	}
	return false
}

// ownForms are the types whose Go code says how they look in JSON.
func ownForms() map[string]ast.Expr {
	or := func(kinds ...string) ast.Expr {
		var e []ast.Expr
		for _, k := range kinds {
			if k == "null" {
				e = append(e, ast.NewNull())
				continue
			}
			e = append(e, ast.NewIdent(k))
		}
		return ast.NewBinExpr(token.OR, e...)
	}
	anything := ast.NewStruct(&ast.Ellipsis{})
	return map[string]ast.Expr{
		"k8s.io/apimachinery/pkg/api/resource.#Quantity":   or("string", "number"),
		"k8s.io/apimachinery/pkg/util/intstr.#IntOrString": or("int", "string"),
		"k8s.io/apimachinery/pkg/apis/meta/v1.#Time":       or("string", "null"),
		"k8s.io/apimachinery/pkg/apis/meta/v1.#MicroTime":  or("string", "null"),
		"k8s.io/apimachinery/pkg/apis/meta/v1.#FieldsV1":   anything,
		"k8s.io/apimachinery/pkg/runtime.#RawExtension":    anything,
		"k8s.io/apimachinery/pkg/apis/meta/v1.#Duration":   ast.NewIdent("string"),
	}
}

// referred is the definition that an expression names, without its package.
func referred(x ast.Expr) string {
	switch x := x.(type) {
	case *ast.Ident:
		return x.Name
	case *ast.SelectorExpr:
		name, _, _ := ast.LabelName(x.Sel)
		return name
	}
	return ""
}

// curated is the path below which cue.dev keeps the definitions of k8s.io, with each kind's apiVersion and kind filled in.
const curated = "cue.dev/x"

// groupNames are the API groups by package, as the constant GroupName says them.
func groupNames(files []source) map[string]string {
	groups := map[string]string{}
	for _, s := range files {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.Field)
			if !ok || labelOf(f) != "#GroupName" {
				continue
			}
			if lit, ok := f.Value.(*ast.BasicLit); ok {
				groups[s.dir()], _ = strconv.Unquote(lit.Value)
			}
		}
	}
	return groups
}

func labelOf(f *ast.Field) string {
	name, _, _ := ast.LabelName(f.Label)
	return name
}

// curate turns a mended file into one of the curated module: imports stay within it, a kind has its apiVersion and
// kind, and what Kubernetes requires is a required field, not one that is there but open.
func curate(s source, groups map[string]string) {
	for spec := range s.file.ImportSpecs() {
		p, _ := strconv.Unquote(spec.Path.Value)
		if strings.HasPrefix(p, "k8s.io/") {
			spec.Path.Value = strconv.Quote(path.Join(curated, p))
		}
	}
	group, isAPI := groups[s.dir()]
	version := path.Base(s.dir())
	if group != "" {
		version = group + "/" + version
	}
	for _, d := range s.file.Decls {
		f, ok := d.(*ast.Field)
		if !ok {
			continue
		}
		kind, isDefinition := strings.CutPrefix(labelOf(f), "#")
		lit, isStruct := f.Value.(*ast.StructLit)
		if !isDefinition || !isStruct || strings.HasPrefix(kind, "values_") {
			continue
		}
		var fields []ast.Decl
		for _, d := range lit.Elts {
			switch d := d.(type) {
			case *ast.EmbedDecl:
				if isAPI && referred(d.Expr) == "#TypeMeta" {
					fields = append(fields,
						&ast.Field{Label: ast.NewIdent("apiVersion"), Value: ast.NewString(version)},
						&ast.Field{Label: ast.NewIdent("kind"), Value: ast.NewString(kind)})
					continue
				}
			case *ast.Field:
				if _, named := d.Label.(*ast.ListLit); !named && d.Constraint == token.ILLEGAL {
					d.Constraint = token.NOT
				}
			}
			fields = append(fields, d)
		}
		lit.Elts = fields
	}
}
