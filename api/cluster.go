package api

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// ClusterVersion is the apiVersion of headway's own kinds.
const ClusterVersion = "headway.dev/v1"

// A Cluster holds the settings of the whole fleet, in Git like all else. A repository has at most one.
type Cluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              ClusterSpec `json:"spec"`
}

// ClusterSpec is what the author wants of the fleet as a whole. The compiler fills in the defaults.
type ClusterSpec struct {
	// Unsupported says what becomes of kinds that are not run here.
	Unsupported UnsupportedPolicy `json:"unsupported,omitempty"`
	// Rollback says what follows on a rollout that fails.
	Rollback RollbackPolicy `json:"rollback,omitempty"`
	// Drift says what follows when the fleet differs from Git without a commit.
	Drift DriftPolicy `json:"drift,omitempty"`
	// Atomic makes the objects that a commit changes promote together, or not at all.
	Atomic bool `json:"atomic,omitempty"`
	// Suspend holds every change: what runs goes on running, and no new commit is taken.
	Suspend bool `json:"suspend,omitempty"`
	// Deletion bounds what one commit may delete; nil is no bound but the built-in one.
	Deletion *DeletionBudget `json:"deletion,omitempty"`
	// Freeze are the windows of time in which no new commit is taken.
	Freeze []FreezeWindow `json:"freeze,omitempty"`
}

// UnsupportedPolicy says what becomes of kinds that are not run here.
type UnsupportedPolicy string

// The policies for kinds that are not run here.
const (
	UnsupportedWarn   UnsupportedPolicy = "warn" // the default
	UnsupportedRefuse UnsupportedPolicy = "refuse"
)

// RollbackPolicy says what follows on a rollout that fails.
type RollbackPolicy string

// The policies for a rollout that fails: its last good pods go on serving either way.
const (
	RollbackHold   RollbackPolicy = "hold"   // until a commit mends it; the default
	RollbackRevert RollbackPolicy = "revert" // the commit is reverted in Git
)

// DriftPolicy says what follows when the fleet differs from Git without a commit.
type DriftPolicy string

// The policies for drift.
const (
	DriftHeal   DriftPolicy = "heal" // the default
	DriftReport DriftPolicy = "report"
)

// A DeletionBudget bounds what one commit may delete. Every bound that is set must hold.
type DeletionBudget struct {
	// MaxObjects is how many objects may go at once.
	MaxObjects *int32 `json:"maxObjects,omitempty"`
	// MaxShare is how much of all objects may go at once.
	MaxShare *Percent `json:"maxShare,omitempty"`
}

// A FreezeWindow opens at each time of a cron schedule, and lasts.
type FreezeWindow struct {
	// Schedule is the five fields of cron, which say when the window opens.
	Schedule string          `json:"schedule"`
	Duration metav1.Duration `json:"duration"`
	// TimeZone is a name of the IANA database, such as Europe/Berlin.
	TimeZone string `json:"timeZone,omitempty"`
}

// Percent is a whole share of a hundred, written as 25%.
type Percent int32

// String writes 25%.
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// MarshalJSON writes "25%".
func (p Percent) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// UnmarshalJSON reads "25%".
func (p *Percent) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return fmt.Errorf("a percentage: %w", err)
	}
	digits, ok := strings.CutSuffix(text, "%")
	n, err := strconv.ParseInt(digits, 10, 32)
	if !ok || err != nil || n < 0 || n > 100 {
		return fmt.Errorf("%q is not a percentage from 0%% to 100%%", text)
	}
	*p = Percent(n)
	return nil
}

// DeepCopy copies the cluster.
func (c *Cluster) DeepCopy() *Cluster {
	if c == nil {
		return nil
	}
	out := *c
	out.ObjectMeta = *c.ObjectMeta.DeepCopy()
	if d := c.Spec.Deletion; d != nil {
		out.Spec.Deletion = &DeletionBudget{MaxObjects: copied(d.MaxObjects), MaxShare: copied(d.MaxShare)}
	}
	out.Spec.Freeze = slices.Clone(c.Spec.Freeze)
	return &out
}

// DeepCopyObject copies the cluster, as every kind's type can.
func (c *Cluster) DeepCopyObject() runtime.Object { return c.DeepCopy() }

func copied[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// addCluster makes a scheme know headway's own kinds.
func addCluster(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(schema.GroupVersion{Group: "headway.dev", Version: "v1"}, &Cluster{})
	return nil
}
