package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/internal/bench"
)

// inferRows are requests of the Open Inference Protocol with 784 numbers as JSON, against nginx that answers a
// constant to the same requests of the same load generator (wrk).
func inferRows(ctx context.Context, o options) ([]Row, error) {
	wrk, err := need("wrk", "wrk")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "millrace-bench-http-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	script := filepath.Join(dir, "post.lua")
	if err := os.WriteFile(script, []byte(lua()), 0o600); err != nil {
		return nil, err
	}
	seconds := 5
	if o.short {
		seconds = 2
	}
	var many, one []pair
	err = bench.OnNode(ctx, bench.Options{Engine: "native"}, "durable", func(ctx context.Context, n *app.Node) error {
		constant, stop, err := startNginx(ctx, dir)
		if err != nil {
			return err
		}
		defer stop()
		own := n.URL() + "v2/models/dense/infer"
		for range o.rounds {
			var rate, latency pair
			if rate.own, _, err = load(ctx, wrk, script, own, 16, seconds); err != nil {
				return err
			}
			if rate.peer, _, err = load(ctx, wrk, script, constant, 16, seconds); err != nil {
				return err
			}
			if _, latency.own, err = load(ctx, wrk, script, own, 1, seconds); err != nil {
				return err
			}
			if _, latency.peer, err = load(ctx, wrk, script, constant, 1, seconds); err != nil {
				return err
			}
			many, one = append(many, rate), append(one, latency)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return []Row{
		row("OIP infer over REST, 784 floats as JSON, 16 connections", "1/s", "nginx, a constant", many, 0.3, false),
		row("the same, p50 of one connection", "us", "nginx, a constant", one, 2, true),
	}, nil
}

// lua is wrk's script: one request with random numbers.
func lua() string {
	random := rand.New(rand.NewPCG(1, 1))
	var b strings.Builder
	b.WriteString(`{"inputs":[{"name":"x","shape":[1,784],"datatype":"FP32","data":[`)
	for i := range 784 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatFloat(float64(random.Float32()), 'g', -1, 32))
	}
	b.WriteString(`]}]}`)
	return fmt.Sprintf("wrk.method = \"POST\"\nwrk.headers[\"Content-Type\"] = \"application/json\"\nwrk.body = [==[%s]==]\n", b.String())
}

var (
	wrkRate   = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	wrkMedian = regexp.MustCompile(`50%\s+([\d.]+)(us|ms|s)`)
	wrkErrors = regexp.MustCompile(`Non-2xx or 3xx responses: (\d+)|Socket errors: .*`)
)

// load runs wrk and returns requests a second and the median latency in microseconds.
func load(ctx context.Context, wrk, script, url string, connections, seconds int) (perSecond, p50 float64, err error) {
	threads := min(2, connections)
	out, err := exec.CommandContext(ctx, wrk, "-t", itoa(threads), "-c", itoa(connections), "-d", fmt.Sprintf("%ds", seconds), "--latency", "-s", script, url).CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("wrk %s: %w: %s", url, err, out)
	}
	if m := wrkErrors.FindString(string(out)); m != "" {
		return 0, 0, fmt.Errorf("wrk %s: %s", url, m)
	}
	r, m := wrkRate.FindStringSubmatch(string(out)), wrkMedian.FindStringSubmatch(string(out))
	if r == nil || m == nil {
		return 0, 0, fmt.Errorf("wrk %s: unreadable: %s", url, out)
	}
	perSecond, err = strconv.ParseFloat(r[1], 64)
	if err != nil {
		return 0, 0, err
	}
	p50, err = strconv.ParseFloat(m[1], 64)
	return perSecond, p50 * map[string]float64{"us": 1, "ms": 1e3, "s": 1e6}[m[2]], err
}

// startNginx answers every request with a body of the size that an answer has.
func startNginx(ctx context.Context, dir string) (url string, stop func(), err error) {
	program, err := need("nginx", "nginx-light")
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	answer := `{"model_name":"dense","model_version":"1","outputs":[{"name":"logits","datatype":"FP32","shape":[1,10],"data":[0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1.0]}]}`
	config := fmt.Sprintf(`daemon off; master_process on; worker_processes auto; pid %[1]s/nginx.pid; error_log %[1]s/error.log;
events { worker_connections 256; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
  server { listen %[2]s; location / { default_type application/json; return 200 '%[3]s'; } } }
`, dir, addr, answer)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return "", nil, err
	}
	cmd := exec.CommandContext(ctx, program, "-p", dir, "-c", file)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() {
		// The master tells its workers; killing it would leave them.
		if err := cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
			fmt.Fprintln(os.Stderr, "stop nginx:", err)
		}
		_ = cmd.Wait() // it was told to end
	}
	url = "http://" + addr + "/v2/models/dense/infer"
	if err := waitFor(ctx, func() error {
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		return resp.Body.Close()
	}); err != nil {
		stop()
		return "", nil, err
	}
	return url, stop, nil
}
