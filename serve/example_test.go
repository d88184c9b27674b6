package serve_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/serve"
)

// A handler answers what failed with the error itself: the table has the code and the status.
func ExampleWriteError() {
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		serve.WriteError(w, r, fmt.Errorf("get digits/7: %w", grid.ErrNotFound))
	})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/rest/v2/caches/digits/7", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output: 404 {"error":"get digits/7: entry not found","code":"entry_not_found"}
}

func ExampleCheckListen() {
	err := serve.CheckListen("0.0.0.0:8080", false, false)
	fmt.Println(errors.Is(err, serve.ErrExposed))
	fmt.Println(serve.CheckListen("127.0.0.1:8080", false, false))
	// Output:
	// true
	// <nil>
}
