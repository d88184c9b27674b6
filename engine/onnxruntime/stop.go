//go:build cgo

package onnxruntime

import (
	"context"
	"errors"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// A stopper ends runs in progress when their context does. It stays with a context from one run to the next, because
// setting it up takes a twentieth of a small run; it lets go of the context as soon as that ends.
type stopper struct {
	mu      sync.Mutex
	options *ort.RunOptions // made for the first context that can end
	done    <-chan struct{} // of the context that is watched
	forget  func() bool     // ends watching it
	running bool
	stopped bool  // the run in progress was told to stop
	fault   error // that telling it met
}

// begin returns the options for a run with ctx, nil where ctx never ends.
func (s *stopper) begin(ctx context.Context) (*ort.RunOptions, error) {
	done := ctx.Done()
	if done == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options == nil {
		o, err := ort.NewRunOptions()
		if err != nil {
			return nil, err
		}
		s.options = o
	}
	if done != s.done {
		if s.forget != nil {
			s.forget()
		}
		s.done, s.forget = done, context.AfterFunc(ctx, func() { s.ended(done) })
	}
	s.running = true
	return s.options, nil
}

// ended notes that a context is over.
func (s *stopper) ended(done <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done != done {
		return // watched another one meanwhile
	}
	s.done, s.forget = nil, nil
	if s.running {
		s.stopped, s.fault = true, s.options.Terminate()
	}
}

// end closes a run that began with options.
func (s *stopper) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	if !s.stopped {
		return nil
	}
	err := errors.Join(s.fault, s.options.UnsetTerminate())
	s.stopped, s.fault = false, nil
	return err
}

// close frees what the stopper holds. No run is in progress.
func (s *stopper) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forget != nil {
		s.forget()
	}
	s.done, s.forget = nil, nil
	if s.options == nil {
		return nil
	}
	err := s.options.Destroy()
	s.options = nil
	return err
}
