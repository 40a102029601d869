// Command catalog is the back of the shop: it lists what its configuration offers.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
	"strings"

	"headway.dev/headway/examples/shop/serve"
)

// An answer says which pod of which version had what to sell.
type answer struct {
	Pod   string   `json:"pod"`
	Offer string   `json:"offer"`
	Items []string `json:"items"`
}

func main() {
	items, err := os.ReadFile(os.Getenv("ITEMS_FILE"))
	if err != nil {
		log.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	reply := answer{Pod: host, Offer: os.Getenv("OFFER"), Items: strings.Fields(string(items))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /items", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(reply); err != nil {
			log.Print(err)
		}
	})
	if err := serve.Until(":8080", mux); err != nil {
		log.Fatal(err)
	}
}
