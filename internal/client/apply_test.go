package client_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/internal/client"
)

// TestSetCache: every key of a cache's configuration is sent, also one that has no value: a key that is left out would stay as it is.
func TestSetCache(t *testing.T) {
	var body map[string]any
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body = nil
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
	}))
	defer srv.Close()
	cl, err := client.New(client.Config{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	set := func(c grid.CacheConfig) map[string]any {
		if _, err := cl.SetCache(t.Context(), c, true, false); err != nil {
			t.Fatal(err)
		}
		return body
	}
	full := grid.CacheConfig{Name: "c"}
	fill(reflect.ValueOf(&full).Elem())
	all, none := set(full), set(grid.CacheConfig{Name: "c"})
	near, _ := all["near"].(map[string]any) // nil has none of the keys
	check := func(kind reflect.Type, sent map[string]any) {
		for field := range kind.Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if v := sent[key]; key != "name" && (v == nil || reflect.ValueOf(v).IsZero() || v == "0s") {
				t.Errorf("%s of a %s is sent as %v", field.Name, kind.Name(), v)
			}
		}
	}
	check(reflect.TypeFor[grid.CacheConfig](), all)
	check(reflect.TypeFor[grid.NearConfig](), near)
	for key := range all {
		if _, sent := none[key]; !sent {
			t.Errorf("%s without a value is not sent", key)
		}
	}
}

// fill gives each field a value.
func fill(v reflect.Value) {
	for _, f := range v.Fields() {
		switch f.Kind() {
		case reflect.String:
			f.SetString("a")
		case reflect.Int64:
			f.SetInt(1)
		default:
			fill(f)
		}
	}
}
