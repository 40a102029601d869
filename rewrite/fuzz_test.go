package rewrite

import "testing"

// FuzzYAML feeds the formatter anything: it must not panic, and what it gives back must be YAML
// that can be formatted again.
func FuzzYAML(f *testing.F) {
	f.Add([]byte(web))
	f.Add([]byte("a:\n    - - b: |+2\n           c\n\n  # d\n---\n- ? e\n"))
	f.Add([]byte("- &a\n  b: *a\n-\n  c\n- !!str d: 'e\n\n  f'\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		once, err := YAML("a.yaml", data)
		if err != nil {
			return
		}
		if _, err := YAML("a.yaml", once); err != nil {
			t.Errorf("%q became %q, which cannot be formatted: %v", data, once, err)
		}
	})
}
