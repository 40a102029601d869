package rewrite

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestYAML(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"levels", "a:\n    b:\n        - x\n        -   c: 1\n            d: 2\n", "a:\n  b:\n    - x\n    - c: 1\n      d: 2\n"},
		{"compact lists", "a:\n    b:\n    - x\n    - y: 1\n      z:\n        - 1\n    c:\n    - d\n", "a:\n  b:\n  - x\n  - y: 1\n    z:\n    - 1\n  c:\n  - d\n"},
		{"comments", "# top\na:   # beside\n      # within\n      b: 1\n# end\n", "# top\na:   # beside\n  # within\n  b: 1\n# end\n"},
		{"literal", "a:\n    b: |\n          one\n            # two\n\n          three   \n    c: 1\n", "a:\n  b: |\n    one\n      # two\n\n    three   \n  c: 1\n"},
		{"documents and line ends", "a: 1  \r\n\r\n\r\n\r\n---\r\nb: 2", "a: 1\n\n---\nb: 2\n"},
		{"flow", "a:\n    b: {c: 1,\n        d: [2,\n          3]}\n", "a:\n  b: {c: 1,\n      d: [2,\n        3]}\n"},
		{"text over lines", "a:\n    b: one\n      two\n\n      three\n", "a:\n  b: one\n    two\n\n    three\n"},
		{"kept quotes", "a: 'yes'\nb: \"0644\"\nc: no\n", "a: 'yes'\nb: \"0644\"\nc: no\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := YAML("a.yaml", []byte(c.in))
			if err != nil || string(got) != c.want {
				t.Fatalf("got %v\n%s\nwant\n%s", err, got, c.want)
			}
			again, err := YAML("a.yaml", got)
			if err != nil || !bytes.Equal(again, got) {
				t.Errorf("formatted again: %v\n%s", err, again)
			}
		})
	}
}

func TestYAMLErrors(t *testing.T) {
	_, err := YAML("web.yaml", []byte("a: 1\nb: {{ .Values.b }}\nc: [\n"))
	var file *FileError
	if !errors.As(err, &file) || file.Position.File != "web.yaml" || file.Position.Line == 0 {
		t.Errorf("got %v", err)
	}
}

// TestYAMLCorpus formats real manifests: what can be read can be formatted, and a second time changes nothing.
func TestYAMLCorpus(t *testing.T) {
	root := "../../shared/corpus"
	if _, err := os.Stat(root); err != nil {
		t.Skip("the corpus is not here")
	}
	files, formatted := 0, 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".yaml") && !strings.HasSuffix(path, ".yml") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if _, err := parseYAML(path, data); err != nil {
			return nil
		}
		files++
		once, err := YAML(path, data)
		if err != nil {
			t.Log(err)
			return nil
		}
		formatted++
		if twice, err := YAML(path, once); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("%s: formatting it again gives something else (%v)", path, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d of %d files", formatted, files)
	if formatted*100 < files*99 {
		t.Errorf("only %d of %d files can be formatted", formatted, files)
	}
}
