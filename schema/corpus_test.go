package schema_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"headway.dev/headway/schema"
)

// TestCorpus compiles real repositories, each directory of one as a tree, and looks that nothing gets lost: every tree yields
// objects or problems, and no parser panics. With -v it prints the score.
func TestCorpus(t *testing.T) {
	const corpus = "../../shared/corpus"
	repositories, err := os.ReadDir(corpus)
	if err != nil {
		t.Skipf("the corpus of real manifests is not at %s: %v", corpus, err)
	}
	total := map[string]int{}
	for _, r := range repositories {
		if !r.IsDir() {
			continue
		}
		result, err := newCompiler(t, nil).Compile(t.Context(), os.DirFS(filepath.Join(corpus, r.Name())))
		if err != nil {
			t.Errorf("%s: %v", r.Name(), err)
			continue
		}
		for _, p := range result.Problems {
			if strings.Contains(p.Message, "headway failed on this file") || strings.Contains(p.Message, "does not fit its type") {
				t.Errorf("%s: %s", r.Name(), p)
			}
		}
		errors, warnings := count(result)
		t.Logf("%-55s %5d objects %5d errors %5d warnings", r.Name(), len(result.Objects), errors, warnings)
		total["objects"] += len(result.Objects)
		total["errors"] += errors
		total["warnings"] += warnings
		if len(result.Objects)+len(result.Problems) == 0 {
			t.Errorf("%s: neither objects nor problems", r.Name())
		}
	}
	t.Log(total)
}

func count(r *schema.Result) (errors, warnings int) {
	for _, p := range r.Problems {
		if p.Warning {
			warnings++
		} else {
			errors++
		}
	}
	return errors, warnings
}
