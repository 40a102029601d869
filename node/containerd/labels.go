package containerd

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/node"
)

// The labels of a container: all that a new daemon needs to take it over.
const (
	labelUID       = "headway.dev/pod-uid"
	labelPod       = "headway.dev/pod"
	labelContainer = "headway.dev/container"
	labelAttempt   = "headway.dev/attempt"
	labelTemplate  = "headway.dev/template"
	labelCommit    = "headway.dev/commit"
	labelLog       = "headway.dev/log"
	labelGroup     = "headway.dev/shim-group"
	// labelDevice, with a number after it, is one of the devices that it has. A label for each, for a label's length is bounded.
	labelDevice = "headway.dev/device-"
	// labelStarted is when the container was started; one that has none never was.
	labelStarted = "headway.dev/started"
	// labelLeftover is on a record that is there only for its task to be deleted.
	labelLeftover = "headway.dev/leftover"
)

// labelRoot keeps what it is on from containerd's garbage collection. It costs nothing, where a lease for every container
// would be two more transactions on disk.
const labelRoot = "containerd.io/gc.root"

// newContainerID names a container. It is short, and valid whatever the pod and the container are called.
//
// No two have the same, not even two tries at the same run: when a daemon is killed while it makes a container,
// containerd may still be clearing that away, by its ID, when the next daemon makes it again. What finds a container again
// is its labels.
func newContainerID(uid, name string, attempt int) string {
	sum := sha256.Sum256([]byte(uid + "\x00" + name))
	return hex.EncodeToString(sum[:8]) + "-" + strconv.Itoa(attempt) + "-" + strings.ToLower(rand.Text()[:8])
}

// isRun reports whether the labels are those of a run of a pod's container.
func isRun(labels map[string]string, name string, attempt int) bool {
	return labels[labelContainer] == name && labels[labelAttempt] == strconv.Itoa(attempt)
}

func labelsFor(config node.ContainerConfig, group string) map[string]string {
	labels := map[string]string{
		labelUID:       config.Pod.UID,
		labelPod:       config.Pod.Pod.String(),
		labelContainer: config.Container.Name,
		labelAttempt:   strconv.Itoa(config.Attempt),
		labelTemplate:  string(config.Pod.Template),
		labelCommit:    config.Pod.Commit,
		labelLog:       config.LogPath,
		labelGroup:     group,
	}
	for i, name := range config.Devices {
		labels[labelDevice+strconv.Itoa(i)] = name
	}
	return labels
}

// describe reads what the labels say.
func describe(id string, labels map[string]string) (node.Container, error) {
	c := node.Container{
		ID: id, PodUID: labels[labelUID], Name: labels[labelContainer], Template: api.Digest(labels[labelTemplate]),
		State: node.ContainerCreated,
	}
	var err error
	if c.Pod, err = api.ParseRef(labels[labelPod]); err != nil {
		return c, fmt.Errorf("container %s: label %s: %w", id, labelPod, err)
	}
	for i := 0; labels[labelDevice+strconv.Itoa(i)] != ""; i++ {
		c.Devices = append(c.Devices, labels[labelDevice+strconv.Itoa(i)])
	}
	if c.Attempt, err = strconv.Atoi(labels[labelAttempt]); err != nil {
		return c, fmt.Errorf("container %s: label %s: %w", id, labelAttempt, err)
	}
	if started := labels[labelStarted]; started != "" {
		if c.Started, err = time.Parse(time.RFC3339Nano, started); err != nil {
			return c, fmt.Errorf("container %s: label %s: %w", id, labelStarted, err)
		}
	}
	return c, nil
}
