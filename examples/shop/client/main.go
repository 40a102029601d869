// Command client is a customer of the shop: it asks for page after page, each over a new connection, and says which pods
// answered and how long they took. Each request that fails is told at once, on standard error.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"
)

// A Summary is what the client prints when it ends, as JSON.
type Summary struct {
	Requests int            `json:"requests"`
	Failed   int            `json:"failed"`
	Errors   []string       `json:"errors,omitempty"` // the first few
	Fronts   map[string]int `json:"fronts"`           // answers by pod
	Catalogs map[string]int `json:"catalogs"`
	Offers   map[string]int `json:"offers"`
	P50      time.Duration  `json:"p50"` // nanoseconds
	P99      time.Duration  `json:"p99"`
	Max      time.Duration  `json:"max"`
}

// errorsKept is how many failures the summary spells out.
const errorsKept = 5

func main() {
	url := flag.String("url", "http://10.96.0.80/", "the page to ask for")
	count := flag.Int("n", 0, "how many requests to make; 0: until interrupted")
	least := flag.Int("least", 0, "make at least so many, even when interrupted earlier")
	parallel := flag.Int("parallel", 4, "how many customers there are")
	every := flag.Duration("every", 0, "begin a request so often and no sooner; 0: as soon as a customer has been answered")
	flag.Parse()
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	summary := run(ctx, *url, *count, *least, *parallel, *every)
	stop()
	if err := json.NewEncoder(os.Stdout).Encode(summary); err != nil {
		log.Fatal(err)
	}
}

// run makes the requests: count of them, or until ctx ends, but at least so many. One that has begun is finished.
func run(ctx context.Context, url string, count, least, parallel int, every time.Duration) Summary {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tickets := make(chan struct{})
	go func() {
		defer close(tickets)
		begin := time.Now()
		for i := 0; count == 0 || i < count; i++ {
			done := ctx.Done()
			if i < least {
				done = nil
			}
			select {
			case <-done:
				return
			case <-time.After(time.Until(begin.Add(time.Duration(i) * every))):
			}
			select {
			case <-done:
				return
			case tickets <- struct{}{}:
			}
		}
	}()
	var (
		mu    sync.Mutex
		took  []time.Duration
		total = Summary{Fronts: map[string]int{}, Catalogs: map[string]int{}, Offers: map[string]int{}}
		wg    sync.WaitGroup
	)
	for range parallel {
		wg.Go(func() {
			for range tickets {
				start := time.Now()
				p, err := get(client, url)
				if err != nil {
					log.Printf("begun %v ago: %v", time.Since(start).Round(time.Microsecond), err)
				}
				mu.Lock()
				took = append(took, time.Since(start))
				total.count(p, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	slices.SortFunc(took, cmp.Compare)
	if n := len(took); n > 0 {
		total.P50, total.P99, total.Max = took[n/2], took[n*99/100], took[n-1]
	}
	return total
}

func (s *Summary) count(p page, err error) {
	s.Requests++
	if err != nil {
		s.Failed++
		if len(s.Errors) < errorsKept {
			s.Errors = append(s.Errors, err.Error())
		}
		return
	}
	if p.Catalog.Pod == "" { // it was the catalog that was asked
		s.Catalogs[p.Pod]++
		s.Offers[p.Offer]++
		return
	}
	s.Fronts[p.Pod]++
	s.Catalogs[p.Catalog.Pod]++
	s.Offers[p.Catalog.Offer]++
}

// page is what the front answers, or the catalog itself.
type page struct {
	Pod, Offer string
	Catalog    struct{ Pod, Offer string }
}

func get(client *http.Client, url string) (page, error) {
	response, err := client.Get(url)
	if err != nil {
		return page{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return page{}, err
	}
	if response.StatusCode != http.StatusOK {
		return page{}, fmt.Errorf("%s: %s", response.Status, body)
	}
	var p page
	return p, json.Unmarshal(body, &p)
}
