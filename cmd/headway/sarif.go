package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"

	"github.com/owenrumney/go-sarif/v3/pkg/report"
	"github.com/owenrumney/go-sarif/v3/pkg/report/v210/sarif"

	"headway.dev/headway/api"
)

// The rules of a SARIF report: what kind of thing a problem is of.
const (
	ruleFile     = "manifest/file"
	ruleObject   = "manifest/object"
	ruleField    = "manifest/field"
	ruleNoEffect = "manifest/without-effect"
)

// printSARIF writes problems in the form that code review tools read (SARIF 2.1.0).
func printSARIF(w io.Writer, problems []api.Problem) error {
	run := sarif.NewRunWithInformationURI("headway", "https://headway.dev/headway")
	run.Tool.Driver.WithVersion(version())
	for _, r := range []struct{ id, level, description string }{
		{ruleFile, sarif.LevelError, "A file cannot be read as manifests."},
		{ruleObject, sarif.LevelError, "An object is not one that headway can run."},
		{ruleField, sarif.LevelError, "A field is unknown, missing, refused, or has a value that is not allowed."},
		{ruleNoEffect, sarif.LevelWarning, "Something is accepted without effect, or deserves a second look."},
	} {
		run.AddRule(r.id).WithDescription(r.description).
			WithDefaultConfiguration(sarif.NewReportingConfiguration().WithLevel(r.level))
	}
	for _, p := range problems {
		level := sarif.LevelError
		if p.Warning {
			level = sarif.LevelWarning
		}
		result := run.CreateResultForRule(ruleOf(p)).WithLevel(level).
			WithMessage(sarif.NewTextMessage(withoutPlace(p).String())).
			WithPartialFingerprints(map[string]string{"problem/v1": fingerprint(p)})
		if p.Source.File == "" {
			continue
		}
		uri := filepath.ToSlash(p.Source.File)
		place := sarif.NewPhysicalLocation().WithArtifactLocation(sarif.NewSimpleArtifactLocation(uri))
		if p.Source.Line > 0 {
			place.WithRegion(sarif.NewRegion().WithStartLine(p.Source.Line).WithStartColumn(cmp.Or(p.Source.Column, 1)))
		}
		result.AddLocation(sarif.NewLocationWithPhysicalLocation(place))
	}
	r := report.NewV210Report()
	r.AddRun(run)
	if err := r.PrettyWrite(w); err != nil {
		return fmt.Errorf("write the SARIF report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func ruleOf(p api.Problem) string {
	switch {
	case p.Warning:
		return ruleNoEffect
	case p.Field != "":
		return ruleField
	case !p.Ref.IsZero():
		return ruleObject
	}
	return ruleFile
}

func withoutPlace(p api.Problem) api.Problem {
	p.Source = api.Position{}
	return p
}

// fingerprint stays the same when lines move, so that a review tool knows a problem again.
func fingerprint(p api.Problem) string {
	sum := sha256.Sum256([]byte(p.Source.File + "\x00" + withoutPlace(p).String()))
	return hex.EncodeToString(sum[:16])
}
