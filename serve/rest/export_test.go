package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/millrace/millrace/grid"
)

// DecodeKey and UnpackModel are tested alone, without a grid behind them.
var DecodeKey = decodeKey

// UnpackModel is without a converter for TensorFlow's models.
func UnpackModel(body []byte, limit int64) ([]byte, error) {
	return unpackModel(context.Background(), body, limit, nil)
}

// ParseHeaders reads every header of a put, and holds its conditions against an entry of a revision.
func ParseHeaders(h http.Header, revision grid.Revision) error {
	cond, err := parseConditions(h)
	if err != nil {
		return err
	}
	if _, err := putOptions(h); err != nil {
		return err
	}
	return cond.check(revision, entryTime)
}

var entryTime = time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
