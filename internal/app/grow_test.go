package app

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestGrowBody: what is no target is refused before anybody is asked, in the status that any request has for it.
func TestGrowBody(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"large":   {`{"to":["` + strings.Repeat("x", maxGrowBody) + `"]}`, http.StatusRequestEntityTooLarge},
		"follows": {`{"to":["http://127.0.0.1:1"]} {}`, http.StatusBadRequest},
		"twice":   {`{"to":["http://127.0.0.1:1"],"to":["http://127.0.0.1:2"]}`, http.StatusBadRequest},
		"unknown": {`{"to":["http://127.0.0.1:1"],"cluster":"c"}`, http.StatusBadRequest},
		"nobody":  {`{"to":[]}`, http.StatusBadRequest},
		"address": {`{"to":["http://user:told-to-nobody@127.0.0.1:1"]}`, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			answer := httptest.NewRecorder()
			new(growth).ServeHTTP(answer, httptest.NewRequest(http.MethodPost, growPath, strings.NewReader(c.body)))
			if answer.Code != c.status {
				t.Errorf("status %d, not %d: %s", answer.Code, c.status, answer.Body)
			}
			if strings.Contains(answer.Body.String(), "told-to-nobody") {
				t.Errorf("the answer tells a password: %s", answer.Body)
			}
		})
	}
}
