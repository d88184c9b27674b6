package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/millrace/millrace/web"
)

func ExampleHandler() {
	h, err := web.Handler(web.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/samples/write/7.png?seed=1", nil))
	fmt.Println(w.Code, w.Header().Get("Content-Type"))
	// Output: 200 image/png
}
