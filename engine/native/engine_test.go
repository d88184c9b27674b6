package native_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/enginetest"
	"github.com/millrace/millrace/engine/native"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEngine(t *testing.T) {
	enginetest.Run(t, func(*testing.T) engine.Engine { return native.New(native.Config{MaxThreads: 4}) })
}

func TestEnginePortable(t *testing.T) {
	enginetest.Run(t, func(*testing.T) engine.Engine { return native.New(native.Config{Portable: true}) })
}
