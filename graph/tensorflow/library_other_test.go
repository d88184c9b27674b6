//go:build !cgo

package tensorflow_test

import (
	"testing"

	"github.com/millrace/millrace/engine"
)

func library(testing.TB) engine.Engine { return nil }
