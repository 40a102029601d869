package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/datadriven"
	"pgregory.net/rapid"
)

// TestImagePlan plays what is written in testdata. go test -rewrite writes the output anew.
func TestImagePlan(t *testing.T) {
	datadriven.Walk(t, "testdata/imagegc", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "plan":
				return planText(t, d)
			case "disk":
				return diskText(t, d)
			}
			t.Fatalf("%s: no such command: %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

func planText(t *testing.T, d *datadriven.TestData) string {
	var want string
	d.ScanArgs(t, "bytes", &want)
	bytes, err := strconv.ParseInt(want, 10, 64)
	if want == "all" {
		bytes, err = math.MaxInt64, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000_000, 0)
	var stock []StoredImage
	for line := range strings.Lines(d.Input) {
		stock = append(stock, parseStored(t, now, strings.TrimSpace(line)))
	}
	plan := planImages(stock, bytes, 2*time.Minute, now)
	var b strings.Builder
	for _, i := range plan.remove {
		fmt.Fprintf(&b, "remove %s\n", i.Digest)
	}
	for _, k := range plan.keep {
		fmt.Fprintf(&b, "keep %s: %s\n", k.Digest, k.reason)
	}
	fmt.Fprintf(&b, "frees %d; %s\n", plan.frees, plan.kept())
	return b.String()
}

// parseStored reads an image: digest, then in-use, keep=REASON, used=AGE, and PART=BYTES.
func parseStored(t *testing.T, now time.Time, line string) StoredImage {
	digest, rest, _ := strings.Cut(line, ":")
	i := StoredImage{Digest: digest, Names: []string{digest}}
	for _, word := range strings.Fields(rest) {
		key, value, _ := strings.Cut(word, "=")
		var err error
		switch key {
		case "in-use":
			i.Used = true
		case "keep":
			i.Keep = value
		case "used":
			var age time.Duration
			age, err = time.ParseDuration(value)
			i.LastUsed = now.Add(-age)
		default:
			p := ImagePart{Name: key}
			p.Bytes, err = strconv.ParseInt(value, 10, 64)
			i.Parts = append(i.Parts, p)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return i
}

func diskText(t *testing.T, d *datadriven.TestData) string {
	g, s := ImageGC{High: 85, Low: 80}, Supply{}
	d.MaybeScanArgs(t, "high", &g.High)
	d.MaybeScanArgs(t, "capacity", &s.Capacity)
	d.MaybeScanArgs(t, "available", &s.Available)
	return fmt.Sprintf("over: %t, to low: %d\n", g.isOver(s), g.toLow(s))
}

// TestImagePlanProperties holds any stock against what is promised of its plan.
func TestImagePlanProperties(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	const minAge = 2 * time.Minute
	gen := rapid.Custom(func(t *rapid.T) StoredImage {
		i := StoredImage{
			Digest: rapid.StringMatching("[a-z]{6}").Draw(t, "digest"),
			Used:   rapid.IntRange(0, 4).Draw(t, "used") == 0, Keep: rapid.SampledFrom([]string{"", "", "", "pinned"}).Draw(t, "keep"),
			LastUsed: now.Add(-time.Duration(rapid.IntRange(-10, 600).Draw(t, "age")) * time.Second),
		}
		for _, name := range rapid.SliceOfDistinct(rapid.IntRange(1, 6), rapid.ID).Draw(t, "parts") {
			i.Parts = append(i.Parts, ImagePart{strconv.Itoa(name), int64(name)}) // a part is as large in each image
		}
		return i
	})
	rapid.Check(t, func(t *rapid.T) {
		stock := rapid.SliceOfNDistinct(gen, 0, 10, func(i StoredImage) string { return i.Digest }).Draw(t, "stock")
		want := rapid.Int64Range(0, 25).Draw(t, "bytes")
		plan := planImages(stock, want, minAge, now)
		if again := planImages(rapid.Permutation(stock).Draw(t, "shuffled"), want, minAge, now); fmt.Sprint(again.remove) != fmt.Sprint(plan.remove) {
			t.Fatalf("in another order of the same: %v and %v", plan.remove, again.remove)
		}
		if len(plan.remove)+len(plan.keep) != len(stock) {
			t.Fatalf("%d go and %d stay of %d", len(plan.remove), len(plan.keep), len(stock))
		}
		for _, i := range plan.remove {
			if i.Used || i.Keep != "" || now.Sub(i.LastUsed) < minAge {
				t.Fatalf("this may not go: %+v", i)
			}
		}
		if frees := takes(stock) - takes(stored(plan.keep)); frees != plan.frees {
			t.Fatalf("it frees %d, and says %d", frees, plan.frees)
		}
		checkEnough(t, plan, want, minAge, now)
	})
}

// checkEnough holds that all went that may, or enough and no more, and what was used for longest.
func checkEnough(t *rapid.T, plan imagePlan, want int64, minAge time.Duration, now time.Time) {
	for _, k := range plan.keep {
		if k.reason == "" {
			t.Fatalf("%+v stays for no reason", k)
		}
		if k.Used || k.Keep != "" || now.Sub(k.LastUsed) < minAge {
			continue
		}
		if plan.frees < want {
			t.Fatalf("%d of %d bytes go, and %+v may go too", plan.frees, want, k)
		}
		if n := len(plan.remove); n > 0 && k.LastUsed.Before(plan.remove[n-1].LastUsed) {
			t.Fatalf("%+v was used later than %+v, and goes first", plan.remove[n-1], k)
		}
	}
	if n := len(plan.remove); n > 0 {
		if fewer := planImages(slices.Concat(plan.remove[:n-1], []StoredImage{{Digest: "last", Used: true, Parts: plan.remove[n-1].Parts}}, used(plan.keep)), math.MaxInt64, minAge, now); fewer.frees >= max(want, 1) {
			t.Fatalf("%d bytes without the last of %v are enough for %d", fewer.frees, plan.remove, want)
		}
	}
}

// takes is the room of images together.
func takes(all []StoredImage) int64 {
	var sum int64
	seen := map[string]bool{}
	for _, i := range all {
		for _, p := range i.Parts {
			if !seen[p.Name] {
				sum, seen[p.Name] = sum+p.Bytes, true
			}
		}
	}
	return sum
}

func stored(all []keptImage) []StoredImage {
	var images []StoredImage
	for _, k := range all {
		images = append(images, k.StoredImage)
	}
	return images
}

// used are images that stay whatever is asked.
func used(all []keptImage) []StoredImage {
	images := stored(all)
	for n := range images {
		images[n].Used = true
	}
	return images
}

func TestImageGCCheck(t *testing.T) {
	for settings, why := range map[ImageGC]string{
		{}:                                    "",
		{High: 85, Low: 80}:                   "",
		{High: 100, Low: 99}:                  "",
		{High: 1}:                             "",
		{High: 101}:                           "ImageGC.High",
		{High: -1}:                            "ImageGC.High",
		{Low: 80}:                             "ImageGC.High",
		{High: 80, Low: 80}:                   "ImageGC.Low",
		{High: 80, Low: -1}:                   "ImageGC.Low",
		{High: 80, Low: 1, MinAge: -1}:        "negative",
		{High: 80, Low: 1, Every: -time.Hour}: "negative",
	} {
		if err := settings.check(); (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
			t.Errorf("%+v: %v, want %q", settings, err, cmp.Or(why, "nothing"))
		}
	}
}

// askedMeanwhile is a store of one image, which somebody asks for while stock is taken.
type askedMeanwhile struct{ removed []StoredImage }

func (s *askedMeanwhile) TakeStock(context.Context, []string) ([]StoredImage, error) {
	<-time.After(time.Millisecond)
	return []StoredImage{{Digest: "asked", Names: []string{"asked"}, LastUsed: time.Now(), Parts: []ImagePart{{Name: "part", Bytes: 1}}}}, nil
}

func (s *askedMeanwhile) Discard(_ context.Context, images []StoredImage) ([]string, error) {
	s.removed = images
	return nil, nil
}

// TestCollectSparesWhatIsAskedFor: a pod that is assigned, and has its image, after it was looked which pods there are, and has no
// container yet when stock is taken.
func TestCollectSparesWhatIsAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &askedMeanwhile{}
		c := &collector{host: &Agent{log: slog.New(slog.DiscardHandler)}, store: store}
		if _, err := c.collect(t.Context(), Supply{Capacity: 1}, 1); err != nil || len(store.removed) > 0 {
			t.Errorf("removed %v, %v", store.removed, err)
		}
	})
}
