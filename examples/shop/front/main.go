// Command front is the shop's front: each page it serves asks the catalog through its service.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"time"

	"headway.dev/headway/examples/shop/serve"
)

// A page says which pod of the front served it, and what the catalog answered.
type page struct {
	Pod      string          `json:"pod"`
	Greeting string          `json:"greeting"`
	Catalog  json.RawMessage `json:"catalog"`
}

func main() {
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	// A connection for each request, so that each may reach another pod of the catalog.
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		reply := page{Pod: host, Greeting: os.Getenv("GREETING")}
		if err := ask(r, client, os.Getenv("CATALOG_URL"), &reply.Catalog); err != nil {
			log.Printf("catalog: %v", err)
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(reply); err != nil {
			log.Print(err)
		}
	})
	if err := serve.Until(":8080", mux); err != nil {
		log.Fatal(err)
	}
}

func ask(r *http.Request, client *http.Client, url string, into any) error {
	request, err := http.NewRequestWithContext(r.Context(), http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	return json.NewDecoder(response.Body).Decode(into)
}
