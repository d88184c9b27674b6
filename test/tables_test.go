package test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// readings writes 3,000 readings of five sensors and, in the last column, which of three states the machine was in.
func readings(t *testing.T, path string) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, 12))
	var b strings.Builder
	fmt.Fprintln(&b, "temperature,pressure,vibration,current,humidity,state")
	for range 3000 {
		state := r.IntN(3)
		fmt.Fprintf(&b, "%.2f,%.0f,%.4f,%.2f,%.1f,%d\n", 20+15*float64(state)+2*r.NormFloat64(), 101300+200*r.NormFloat64(),
			0.02+0.01*float64(state)+0.002*r.NormFloat64(), 4+0.2*r.NormFloat64(), 40+5*r.NormFloat64(), state)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestMadeForTables trains on a user's own table, serves the model, feeds it readings by name and looks at what comes of them.
func TestMadeForTables(t *testing.T) {
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	dir, addr := t.TempDir(), address(t)
	readings(t, filepath.Join(dir, "readings.csv"))
	millrace := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), bin, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("millrace %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	said := millrace("train", "--data", "readings.csv", "--out", "state.onnx")
	for _, want := range []string{
		`3000 examples of 5 columns; the first row is a header; fields are separated by commas; the label is in column 6 ("state"), the last one, with 3 classes (0, 1, 2); ` +
			`the columns are temperature, pressure, vibration, current, humidity`,
		"% of 300 examples that training did not see",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("train says\n%s\nwithout %s", said, want)
		}
	}
	var measure struct {
		Examples, Correct int
	}
	if err := json.Unmarshal([]byte(millrace("model", "eval", "state.onnx", "--data", "readings.csv", "--json")), &measure); err == nil {
		t.Errorf("no note came before the JSON")
	}
	eval := exec.CommandContext(t.Context(), bin, "model", "eval", "state.onnx", "--data", "readings.csv", "--json")
	eval.Dir = dir
	if out, err := eval.Output(); err != nil || json.Unmarshal(out, &measure) != nil || measure.Examples != 3000 || measure.Correct < 2900 {
		t.Errorf("eval: %v, %s", err, out)
	}
	config := filepath.Join(dir, "millrace.yaml")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(`node: {data: %s}
http: {listen: %q}
models: {state: {path: %s}}
pipelines: {watch: {from: readings, model: state, to: states, carry: [id, time]}}
`, filepath.Join(dir, "data"), addr, filepath.Join(dir, "state.onnx"))), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, config)
	n.ready("http://" + addr)
	get := func(path string, into any) error {
		resp, err := http.Get("http://" + addr + path)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != http.StatusOK {
			err = fmt.Errorf("status %d: %s", resp.StatusCode, body)
		}
		if err == nil {
			err = json.Unmarshal(body, into)
		}
		return err
	}
	put := func(key, kind, body string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+addr+"/rest/v2/caches/readings/"+key, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", kind)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if resp.Body.Close(); resp.StatusCode/100 != 2 {
			t.Fatalf("put %s: status %d", key, resp.StatusCode)
		}
	}
	var info struct {
		Metadata struct {
			Columns []struct{ Name, Type string }
			Target  string
		}
	}
	if err := get("/rest/v2/models/state", &info); err != nil || len(info.Metadata.Columns) != 5 || info.Metadata.Columns[2].Name != "vibration" || info.Metadata.Target != "state" {
		t.Errorf("the model's columns: %v, %+v", err, info)
	}
	put("1", "application/json", `{"humidity":41,"current":4,"vibration":0.04,"pressure":101300,"temperature":50,"id":17,"time":"2026-01-02"}`)
	put("2", "application/json", `[20, 101250, 0.02, 4.1, 39]`)
	put("3", "text/csv", "id;humidity;current;vibration;pressure;temperature\n18;41,5;4;0,03;101300;35\n")
	put("4", "application/json", `{"humidity":41,"amps":4,"vibration":0.04,"pressure":101300,"temperature":50,"id":19}`)
	for key, want := range map[string]string{"1": "2", "2": "0", "3": "1", "4": ""} {
		cache := "states"
		if key == "4" {
			cache = "watch-errors"
		}
		var got struct {
			Label, Error, Code string
			Carry              map[string]any
		}
		n.wait("result of "+key, 10*time.Second, func() error { return get("/rest/v2/caches/"+cache+"/"+key, &got) })
		if got.Label != want {
			t.Errorf("reading %s: %+v, want the label %q", key, got, want)
		}
		switch key {
		case "1":
			if got.Carry["id"] != 17.0 || got.Carry["time"] != "2026-01-02" {
				t.Errorf("carried: %v", got.Carry)
			}
		case "4":
			if got.Code != "bad_input" || !strings.Contains(got.Error, "missing: current; unknown: amps; the columns are temperature, pressure") || got.Carry["id"] != 19.0 {
				t.Errorf("the error entry: %+v", got)
			}
		}
	}
}
