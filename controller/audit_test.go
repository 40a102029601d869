package controller

import (
	"testing"
	"time"

	"headway.dev/headway/api"
)

// TestReportOfEarlierLeader: a leader that was followed writes its report late, when its follower has nothing more to say. That
// one finds out, and says it again.
func TestReportOfEarlierLeader(t *testing.T) {
	inCluster(t, 2, func(c *cluster) {
		c.start()
		c.settle()
		c.commit("c1", webV1)
		late := c.report()
		c.bus.depose()
		c.wait(time.Second)
		c.commit("c2", webV2)
		c.bus.mu.Lock()
		c.bus.report = &late
		c.bus.mu.Unlock()
		c.wait(2 * auditPeriod)
		c.expect("deployed", c.report().Deployed.Commit, "c2")
		c.expect("term", c.report().Term > api.Term(1), true)
		c.expect("images", c.images(), "v2")
	})
}
