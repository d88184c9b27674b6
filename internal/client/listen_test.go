package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace/millrace/internal/client"
)

func TestReadEvents(t *testing.T) {
	in := ":comment\n\nretry: 5\n\nid: a\nevent: cache-entry-created\ndata: one\ndata: two\n\ndata:x\nnonsense\nid: b\n\ndata: cut"
	var got []string
	err := client.ReadEvents([]byte(in), func(id, event string, data []byte) {
		got = append(got, fmt.Sprintf("%s|%s|%s", id, event, data))
	})
	want := []string{"||", "a|cache-entry-created|one\ntwo", "b||x"}
	if !slices.Equal(got, want) || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%q, %v; want %q and an unexpected end", got, err, want)
	}
}

func FuzzReadEvents(f *testing.F) {
	f.Add([]byte("id: a\nevent: x\ndata: y\n\n"))
	f.Add([]byte("data\n\ndata:\n\n\r\n"))
	f.Add([]byte("retry: 99999999999999999999\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		events := 0
		err := client.ReadEvents(data, func(string, string, []byte) { events++ })
		if err == nil {
			t.Error("a stream that ended is no error")
		}
		if events > strings.Count(string(data), "\n") {
			t.Errorf("%d events in %q", events, data)
		}
	})
}

// A connection that breaks is made again with the last event's id, and the caller sees one stream.
func TestListenResumes(t *testing.T) {
	var from []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.Header.Get("Last-Event-ID")+"|"+r.URL.Query().Get("includeCurrentState"))
		n := len(from)
		fmt.Fprintf(w, "retry: 1\n\nid: %d\nevent: cache-entry-created\ndata: {\"key\":\"k%d\",\"revision\":%d,\"contentType\":\"text/plain\",\"valueBase64\":\"aGk=\"}\n\n", n, n, n)
	}))
	defer srv.Close()
	cl, err := client.New(client.Config{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	var keys []string
	retries := 0
	for e, err := range cl.Listen(t.Context(), "c", client.ListenOptions{Values: true, Current: true, Retry: func(error) { retries++ }}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, fmt.Sprintf("%s %s@%d %s %s", e.Type, e.Entry.Key, e.Entry.Revision, e.Entry.Value, e.ID))
		if len(keys) == 3 {
			break
		}
	}
	want := []string{"created k1@1 hi 1", "created k2@2 hi 2", "created k3@3 hi 3"}
	if !slices.Equal(keys, want) {
		t.Errorf("events %q, want %q", keys, want)
	}
	if wantFrom := []string{"|true", "1|", "2|"}; !slices.Equal(from, wantFrom) {
		t.Errorf("asked from %q, want %q", from, wantFrom)
	}
	if retries != 2 {
		t.Errorf("%d retries were told, want 2", retries)
	}
}

func TestListenEnds(t *testing.T) {
	for _, tc := range []struct {
		name string
		h    http.HandlerFunc
		want string
	}{
		{"refused", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"error":"no such cache: c","code":"no_cache"}`)
		}, "no such cache: c (no_cache, 404)"},
		{"deleted on the way", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, "retry: 1\n\nevent: error\ndata: {\"error\":\"it was deleted\",\"code\":\"no_cache\"}\n\n")
		}, "it was deleted (no_cache, 410)"},
		{"nonsense", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprint(w, "<html>")
		}, "<html> (418)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			srv := httptest.NewServer(tc.h)
			defer srv.Close()
			cl, err := client.New(client.Config{Server: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			for _, err := range cl.Listen(t.Context(), "c", client.ListenOptions{}) {
				if err == nil || err.Error() != tc.want {
					t.Errorf("%v, want %s", err, tc.want)
				}
			}
		})
	}
}

// A connection that breaks before its first event goes on from where it began.
func TestListenResumesWithoutAnEvent(t *testing.T) {
	var from []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.Header.Get("Last-Event-ID"))
		fmt.Fprint(w, "retry: 1\nid: begin\n\n")
		if len(from) == 3 {
			fmt.Fprint(w, "id: first\nevent: cache-entry-created\ndata: k\n\n")
		}
	}))
	defer srv.Close()
	cl, err := client.New(client.Config{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for e, err := range cl.Listen(t.Context(), "c", client.ListenOptions{}) {
		if err != nil || e.ID != "first" {
			t.Errorf("%+v, %v", e, err)
		}
		break
	}
	if want := []string{"", "begin", "begin"}; !slices.Equal(from, want) {
		t.Errorf("asked from %q, want %q", from, want)
	}
}

// A reader that was too slow is told, and comes back: nothing is lost by it.
func TestListenComesBackWhenItWasBehind(t *testing.T) {
	var from []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from = append(from, r.Header.Get("Last-Event-ID"))
		fmt.Fprintf(w, "retry: 1\n\nid: %d\nevent: cache-entry-created\ndata: k\n\n", len(from))
		fmt.Fprintf(w, "event: error\ndata: {\"error\":\"too slow\",\"code\":\"listener_behind\",\"status\":503,\"last_id\":\"%d\"}\n\n", len(from))
	}))
	defer srv.Close()
	cl, err := client.New(client.Config{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	seen, why := 0, ""
	for _, err := range cl.Listen(t.Context(), "c", client.ListenOptions{Retry: func(err error) { why = err.Error() }}) {
		if err != nil {
			t.Fatal(err)
		}
		if seen++; seen == 3 {
			break
		}
	}
	if !slices.Equal(from, []string{"", "1", "2"}) || !strings.Contains(why, "too slow") {
		t.Errorf("connections from %q, because %q", from, why)
	}
}

func TestListenFirstConnectionFails(t *testing.T) {
	srv := httptest.NewServer(nil)
	srv.Close()
	cl, err := client.New(client.Config{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range cl.Listen(t.Context(), "c", client.ListenOptions{}) {
		if err == nil || !strings.Contains(err.Error(), "is a node running there?") {
			t.Errorf("error %v", err)
		}
	}
}

func TestListenStopsWithItsContext(t *testing.T) {
	asked := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		close(asked)
		<-r.Context().Done()
	}))
	defer srv.Close()
	cl, err := client.New(client.Config{Server: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() { <-asked; cancel() }()
	for _, err := range cl.Listen(ctx, "c", client.ListenOptions{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want %v", err, context.Canceled)
		}
	}
}

func TestNewRefusesBadAddresses(t *testing.T) {
	for _, server := range []string{"ftp://x", "http://", "http://a b", "://"} {
		if _, err := client.New(client.Config{Server: server}); !errors.Is(err, client.ErrConfig) {
			t.Errorf("%q: %v, want %v", server, err, client.ErrConfig)
		}
	}
	for server, want := range map[string]string{"": client.DefaultServer, "localhost:1": "http://localhost:1", "https://h/x/": "https://h/x"} {
		cl, err := client.New(client.Config{Server: server})
		if err != nil || cl.Server() != want {
			t.Errorf("%q: %v, %v; want %s", server, cl, err, want)
		}
	}
	if _, err := client.New(client.Config{CA: "/no/such/file"}); !errors.Is(err, client.ErrConfig) {
		t.Errorf("a CA file that is not there: %v", err)
	}
}
