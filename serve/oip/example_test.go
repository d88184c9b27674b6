package oip_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/engine/native"
	"github.com/millrace/millrace/grid"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/registry"
	"github.com/millrace/millrace/serve/oip"
)

// A model of the registry answers requests by its name.
func Example() {
	if err := double(); err != nil {
		fmt.Println(err)
	}
	// Output: {"model_name":"double","model_version":"1","outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[2,4,6,8]}]}
}

func double() error {
	ctx := context.Background()
	g, err := grid.Open(ctx, grid.Config{InMemory: true})
	if err != nil {
		return err
	}
	defer g.Close(ctx)
	e := native.New(native.Config{})
	models, err := registry.Open(ctx, g, registry.Config{
		Open: func(ctx context.Context, m *model.Model, _ registry.Settings, _ bool) (engine.Session, string, error) {
			s, err := e.Open(ctx, m.Graph, engine.Options{})
			return s, e.Name(), err
		},
	})
	if err != nil {
		return err
	}
	defer models.Close()
	m, err := model.New(scale(2)) // y = 2 x, of four numbers
	if err != nil {
		return err
	}
	if m, err = m.With("double", 1, nil); err != nil {
		return err
	}
	if err := models.Add(m, "example"); err != nil {
		return err
	}
	h, err := oip.New(oip.Config{Models: models})
	if err != nil {
		return err
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/v2/models/double/infer",
		strings.NewReader(`{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}`)))
	fmt.Println(w.Body)
	return nil
}
