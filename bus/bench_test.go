package bus_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"headway.dev/headway/api"
	"headway.dev/headway/bus"
	"headway.dev/headway/bus/embedded"
)

func benchServer(b *testing.B) *embedded.Server {
	b.Helper()
	s, err := embedded.Start(embedded.Options{Dir: b.TempDir(), Listen: "127.0.0.1:0"})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Shutdown)
	return s
}

func benchConnect(b *testing.B, o bus.Options) *bus.Conn {
	b.Helper()
	c, err := bus.Connect(context.Background(), o)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	if err := c.Keep(context.Background()); err != nil {
		b.Fatal(err)
	}
	return c
}

// BenchmarkThousandPuts stores 1,000 assignments of a node that 10 watch, until all have the last.
func BenchmarkThousandPuts(b *testing.B) {
	const puts, watchers = 1000, 10
	s := benchServer(b)
	c := benchConnect(b, s.Options(bus.Options{}))
	ctx, cancel := context.WithCancel(context.Background())
	last := make(chan struct{}, watchers)
	var watches sync.WaitGroup
	for range watchers {
		watcher := benchConnect(b, s.Options(bus.Options{}))
		watches.Go(func() {
			_ = watcher.WatchAssignment(ctx, "n1", func(a api.Assignment) {
				if a.Sequence%puts == 0 {
					last <- struct{}{}
				}
			})
		})
	}
	defer watches.Wait()
	defer cancel()
	sequence := uint64(0)
	if err := c.PutAssignment(ctx, assignment("n1", sequence)); err != nil {
		b.Fatal(err)
	}
	for range watchers {
		<-last
	}
	b.ResetTimer()
	for b.Loop() {
		for range puts {
			sequence++
			if err := c.PutAssignment(ctx, assignment("n1", sequence)); err != nil {
				b.Fatal(err)
			}
		}
		for range watchers {
			<-last
		}
	}
}

// BenchmarkPutToWatch is the time from the beginning of a put to the watcher's call, over TCP.
func BenchmarkPutToWatch(b *testing.B) {
	s := benchServer(b)
	o := s.Options(bus.Options{})
	o.InProcess, o.Credentials.URL = nil, s.ClientURL()
	c, watcher := benchConnect(b, o), benchConnect(b, o)
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan time.Time, 1)
	var watch sync.WaitGroup
	watch.Go(func() {
		_ = watcher.WatchAssignment(ctx, "n1", func(api.Assignment) { seen <- time.Now() })
	})
	defer watch.Wait()
	defer cancel()
	put := func(n uint64) time.Duration {
		began := time.Now()
		if err := c.PutAssignment(ctx, assignment("n1", n)); err != nil {
			b.Fatal(err)
		}
		return (<-seen).Sub(began)
	}
	put(0)
	b.ResetTimer()
	var total time.Duration
	n := uint64(0)
	for b.Loop() {
		n++
		total += put(n)
	}
	b.ReportMetric(float64(total.Microseconds())/float64(n), "µs/put-to-call")
}

// BenchmarkRoutes stores one changed route of 10,000, until a watcher has the table.
func BenchmarkRoutes(b *testing.B) {
	s := benchServer(b)
	c := benchConnect(b, s.Options(bus.Options{}))
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan uint64, 16)
	var routes []api.Route
	for i := range 10_000 {
		r := route(fmt.Sprintf("s%d", i), "10.0.0.1")
		routes = append(routes, r)
	}
	if _, err := c.PutRoutes(ctx, 1, routes, nil); err != nil {
		b.Fatal(err)
	}
	if err := c.CompleteRoutes(ctx, 1); err != nil {
		b.Fatal(err)
	}
	var watch sync.WaitGroup
	watch.Go(func() {
		_ = c.WatchRoutes(ctx, func(t api.RouteTable) { seen <- t.Revision })
	})
	defer watch.Wait()
	defer cancel()
	<-seen
	b.ResetTimer()
	for b.Loop() {
		revision, err := c.PutRoutes(ctx, 1, routes[:1], nil)
		if err != nil {
			b.Fatal(err)
		}
		for <-seen < revision {
		}
	}
}
