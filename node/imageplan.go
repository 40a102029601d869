package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// An ImageStore is Images that can give back the room that images take. All of it but what is under way survives the daemon.
type ImageStore interface {
	// TakeStock lists the images on the machine, one for each digest, ordered by it. It notes the use of those that
	// containers are made from, and of those that are named, as pods name them.
	TakeStock(ctx context.Context, named []string) ([]StoredImage, error)
	// Discard removes images of which stock was taken, and returns the digests of those that went, once their room is
	// free. One that has been asked for since then stays, and one that is asked for meanwhile is brought anew.
	Discard(ctx context.Context, images []StoredImage) (gone []string, err error)
}

// A StoredImage is an image on the machine.
type StoredImage struct {
	Digest string
	Names  []string // all that stand for the digest, ordered
	Parts  []ImagePart
	// Used says that containers, whether they run or not, or what was named need it, or that it is on its way.
	Used bool
	// LastUsed is when it came, or was last asked for or noted as used. What lies before the daemon's start is inexact
	// by up to an hour.
	LastUsed time.Time
	// Keep is why it has to stay although nobody uses it; empty: it need not.
	Keep string
}

// name is what a person calls the image.
func (i StoredImage) name() string {
	if len(i.Names) == 0 {
		return i.Digest
	}
	return i.Names[0]
}

// An ImagePart is what images may share: a layer, packed or unpacked, or a configuration. Its name tells it from all others.
type ImagePart struct {
	Name  string
	Bytes int64 // on disk
}

// An ImageGC says when images that nobody uses are removed for their room. The zero value removes none.
type ImageGC struct {
	// High is how many per cent of the images' disk may be in use before images are removed, and Low how many are to be in
	// use after that. With a High of 100 they are removed only before pods would be evicted for the disk.
	High, Low int
	// MinAge is how long an image stays at least since it came or was last used.
	MinAge time.Duration
	// Every is how often the disk is looked at; default 5 min, as in Kubernetes.
	Every time.Duration
}

const defaultImageGCEvery = 5 * time.Minute

func (g ImageGC) every() time.Duration { return cmp.Or(g.Every, defaultImageGCEvery) }

// isOff reports whether images are never removed.
func (g ImageGC) isOff() bool { return g.High == 0 }

// check says what is wrong with the settings.
func (g ImageGC) check() error {
	switch {
	case g == ImageGC{}:
		return nil
	case g.High < 1 || g.High > 100:
		return fmt.Errorf("node: ImageGC.High is %d: it takes a share from 1 to 100 per cent", g.High)
	case g.Low < 0 || g.Low >= g.High:
		return fmt.Errorf("node: ImageGC.Low is %d: it takes a share from 0 per cent, and less than ImageGC.High, which is %d", g.Low, g.High)
	case g.MinAge < 0 || g.Every < 0:
		return errors.New("node: ImageGC has a negative time")
	}
	return nil
}

// isOver reports whether so much of a disk is in use that images have to go. It counts as the kubelet does.
func (g ImageGC) isOver(s Supply) bool {
	return g.High > 0 && g.High < 100 && s.Capacity > 0 && usedPercent(s) >= g.High
}

// toLow is how many bytes of a disk have to become free until no more than Low is in use; 0 where that is so.
func (g ImageGC) toLow(s Supply) int64 {
	if g.High >= 100 {
		return 0
	}
	return max(0, int64(math.Ceil(float64(s.Capacity)*float64(100-g.Low)/100))-s.Available)
}

// usedPercent is how much of a disk is in use. What is begun of a per cent counts.
func usedPercent(s Supply) int { return 100 - int(float64(s.Available)*100/float64(s.Capacity)) }

// An imagePlan is what is to be done about the images on a machine.
type imagePlan struct {
	remove []StoredImage // in this order
	frees  int64         // bytes, when all of remove has gone
	keep   []keptImage   // in the order of the stock
}

type keptImage struct {
	StoredImage
	reason string
}

// planImages finds the images to remove for so many bytes: those that have not been used for longest go first, and no more
// than it takes. A part goes with the last image that has it.
func planImages(stock []StoredImage, bytes int64, minAge time.Duration, now time.Time) imagePlan {
	var plan imagePlan
	var free []StoredImage
	holders := map[string]int{} // of each part
	reasons := make([]string, len(stock))
	for n, i := range stock {
		for _, p := range i.Parts {
			holders[p.Name]++
		}
		if reasons[n] = staysFor(i, minAge, now); reasons[n] == "" {
			free = append(free, i)
		}
	}
	slices.SortStableFunc(free, func(a, b StoredImage) int {
		return cmp.Or(a.LastUsed.Compare(b.LastUsed), cmp.Compare(a.Digest, b.Digest))
	})
	goes := map[string]bool{}
	for _, i := range free {
		if plan.frees >= bytes {
			break
		}
		for _, p := range i.Parts {
			if holders[p.Name]--; holders[p.Name] == 0 {
				plan.frees += p.Bytes
			}
		}
		plan.remove = append(plan.remove, i)
		goes[i.Digest] = true
	}
	for n, i := range stock {
		if !goes[i.Digest] {
			plan.keep = append(plan.keep, keptImage{i, cmp.Or(reasons[n], "enough goes without it")})
		}
	}
	return plan
}

// staysFor is why an image may not be removed: the first row that holds; empty if it may.
func staysFor(i StoredImage, minAge time.Duration, now time.Time) string {
	switch {
	case i.Used:
		return "a pod or container uses it"
	case i.Keep != "":
		return i.Keep
	case now.Sub(i.LastUsed) < minAge:
		return fmt.Sprintf("it came or was used less than %v ago", minAge)
	}
	return ""
}

// kept counts the images that stay, by reason, in the order of the reasons.
func (p imagePlan) kept() string {
	counts := map[string]int{}
	var reasons []string
	for _, k := range p.keep {
		if counts[k.reason]++; counts[k.reason] == 1 {
			reasons = append(reasons, k.reason)
		}
	}
	if len(reasons) == 0 {
		return "no image stays"
	}
	slices.Sort(reasons)
	for n, reason := range reasons {
		reasons[n] = fmt.Sprintf("%s: %d", reason, counts[reason])
	}
	return "images that stay: " + strings.Join(reasons, ", ")
}
