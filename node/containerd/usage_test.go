package containerd

import "testing"

func TestContainerUsage(t *testing.T) {
	h := newHost(t)
	s := sandbox(t, "pod")
	id := h.run(h.script(s, "web", "dd if=/dev/zero of=/tmp/big bs=1M count=4 2>/dev/null; sync"))
	h.exited(id)
	if used, err := h.ContainerUsage(h.context(), id); err != nil || used < 4<<20 || used > 5<<20 {
		t.Errorf("used are %d bytes, %v", used, err)
	}
	if used, err := h.ContainerUsage(h.context(), "none"); err != nil || used != 0 {
		t.Errorf("of a container that is not there: %d, %v", used, err)
	}
}
