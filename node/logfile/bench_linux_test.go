package logfile_test

import (
	"io"
	"testing"

	"headway.dev/headway/api"
	"headway.dev/headway/node/logfile"
)

// BenchmarkDate is what it costs to look at a log: at one that has grown, and at one that has not.
func BenchmarkDate(b *testing.B) {
	for name, grows := range map[string]bool{"grown": true, "quiet": false} {
		b.Run(name, func(b *testing.B) {
			w := newWriter(b)
			w.lines(1)
			known := int64(-1)
			for b.Loop() {
				if grows {
					w.lines(1)
				}
				var err error
				if known, err = logfile.New().Date(w.path(), known); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("written only", func(b *testing.B) {
		w := newWriter(b)
		for b.Loop() {
			w.lines(1)
		}
	})
}

// BenchmarkRead reads a log of a hundred bytes a line, with and without times.
func BenchmarkRead(b *testing.B) {
	const lines = 100_000
	w := newWriter(b)
	known := int64(-1)
	for range lines / 100 {
		w.lines(100)
		var err error
		if known, err = logfile.New().Date(w.path(), known); err != nil {
			b.Fatal(err)
		}
	}
	for name, timestamps := range map[string]bool{"plain": false, "timestamps": true} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := logfile.New().Read(b.Context(), w.path(), api.LogOptions{Timestamps: timestamps}, ended(), io.Discard); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/lines, "ns/line")
		})
	}
}
