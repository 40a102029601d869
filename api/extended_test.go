package api

import "testing"

func TestIsExtended(t *testing.T) {
	for name, want := range map[string]bool{
		"nvidia.com/gpu": true, "aliyun.com/gpu-mem": true, "vendor/thing": true,
		"cpu": false, "hugepages-2Mi": false, "kubernetes.io/batteries": false, "x.kubernetes.io/a": false,
		"requests.nvidia.com/gpu": false, "nvidia.com/gpu/0": false, "nvidia.com/": false, "/gpu": false, "Nvidia.com/gpu": false,
	} {
		if got := IsExtended(name); got != want {
			t.Errorf("%s: got %t", name, got)
		}
	}
}
