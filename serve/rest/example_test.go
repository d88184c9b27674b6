package rest_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve/rest"
)

// An entry is put and read under the address of its cache and key.
func Example() {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{InMemory: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close(ctx)
	h, err := rest.New(rest.Config{Grid: g})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask := func(method, path, body string) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
		fmt.Printf("%s: %d %q\n", method, w.Code, w.Body)
	}
	ask("POST", "/rest/v2/caches/greetings", `{"class":"volatile"}`)
	ask("PUT", "/rest/v2/caches/greetings/en", "hello")
	ask("GET", "/rest/v2/caches/greetings/en", "")
	// Output:
	// POST: 200 ""
	// PUT: 204 ""
	// GET: 200 "hello"
}
