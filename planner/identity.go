package planner

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strconv"
	"strings"

	"headway.dev/headway/api"
)

const (
	// suffixAlphabet has no vowels and nothing that looks like another letter: no suffix reads as a word.
	suffixAlphabet = "bcdfghjklmnpqrstvwxz2456789"
	suffixLength   = 5
	// suffixes is how many there are: len(suffixAlphabet) to the power of suffixLength.
	suffixes = 27 * 27 * 27 * 27 * 27
	// suffixStride is prime to suffixes, so that multiplying by it loses nothing; it sends neighbouring slots far apart.
	suffixStride = 8_867_833
	// suffixSlots is how many slots an incarnation has before the suffixes of the next begin.
	suffixSlots = 100_003

	maxLabel = 63
)

// identify names a pod of a workload. Name and UID derive from owner, template, slot and incarnation and nothing else:
// planning twice, or from two controllers, names the same pod.
func identify(owner api.Ref, template api.Digest, slot, incarnation int) api.PodIdentity {
	return api.PodIdentity{
		Pod:         api.PodRef(owner.Namespace, podName(owner, template, slot, incarnation)),
		UID:         podUID(owner, template, slot, incarnation),
		Owner:       owner,
		Slot:        slot,
		Incarnation: incarnation,
		Template:    template,
	}
}

// identifyOn names the pod of a DaemonSet on a node: the node stands for the slot.
func identifyOn(owner api.Ref, template api.Digest, node string, incarnation int) api.PodIdentity {
	id := identify(owner, template, 0, incarnation)
	id.UID = podUID(api.Ref{Kind: owner.Kind, Namespace: owner.Namespace, Name: owner.Name + "\x00" + node}, template, 0, incarnation)
	tail := "-" + template.Short() + "-" + nodeLabel(node)
	if incarnation > 0 {
		tail += "-" + strconv.Itoa(incarnation)
	}
	id.Pod.Name = shorten(owner.Name, maxLabel-len(tail)) + tail
	return id
}

// nodeLabel gives a node's name as a part of a label, at most 20 characters. One that had to be changed for it gets a hash, so
// that two never come to be the same.
func nodeLabel(node string) string {
	const most = 20
	label := strings.ReplaceAll(node, ".", "-")
	if label == node && len(label) <= most {
		return label
	}
	sum := sha256.Sum256([]byte(node))
	hash := hex.EncodeToString(sum[:4])
	return strings.TrimRight(label[:min(len(label), most-len(hash)-1)], "-") + "-" + hash
}

// podName gives OWNER-TEMPLATE-SUFFIX, at most 63 characters. The suffix looks like a hash, but two slots of one template
// never share it, as two of some thousand hashes of that length would.
func podName(owner api.Ref, template api.Digest, slot, incarnation int) string {
	start := sha256.Sum256([]byte(owner.String() + "\x00" + string(template)))
	n := binary.BigEndian.Uint64(start[:]) % suffixes
	n = (n + uint64(slot%suffixSlots+incarnation*suffixSlots)%suffixes*suffixStride) % suffixes
	suffix := make([]byte, suffixLength)
	for i := range suffix {
		suffix[i] = suffixAlphabet[n%uint64(len(suffixAlphabet))]
		n /= uint64(len(suffixAlphabet))
	}
	tail := "-" + template.Short() + "-" + string(suffix)
	return shorten(owner.Name, maxLabel-len(tail)) + tail
}

// shorten cuts a name down to a length; what is cut off lives on in a hash, so that long names stay apart.
func shorten(name string, length int) string {
	if len(name) <= length {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:4])
	return strings.TrimRight(name[:length-len(hash)-1], "-.") + "-" + hash
}

// podUID gives a UUID of version 8 (RFC 9562: made by a rule of one's own).
func podUID(owner api.Ref, template api.Digest, slot, incarnation int) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{
		owner.Kind, owner.Namespace, owner.Name, string(template), strconv.Itoa(slot), strconv.Itoa(incarnation),
	}, "\x00")))
	sum[6] = sum[6]&0x0f | 0x80
	sum[8] = sum[8]&0x3f | 0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
