package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/millrace/millrace/graph"
	"github.com/millrace/millrace/graph/infer"
	"github.com/millrace/millrace/graph/onnx"
	"github.com/millrace/millrace/internal/client"
	"github.com/millrace/millrace/internal/natstest"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// The scripts in testdata/script run this program itself, as its users do: `go test ./cmd/millrace -run Script/serve`.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"millrace": main, "millrace-peak": peak})
}

func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"address":  address,
			"ready":    ready,
			"mkmodel":  makeModel,
			"mkpng":    makePNG,
			"mkphotos": makePhotos,
			"mknpz":    makeNPZ,
			"mkdigits": makeDigits,
			"mkcase":   makeCase,
		},
	})
}

// address sets ADDRESS to a free one on loopback, and MILLRACE_SERVER to it.
func address(ts *testscript.TestScript, _ bool, _ []string) {
	addr, err := natstest.Address()
	ts.Check(err)
	ts.Setenv("ADDRESS", addr)
	ts.Setenv("MILLRACE_SERVER", "http://"+addr)
}

// ready waits for the node at MILLRACE_SERVER.
func ready(ts *testscript.TestScript, _ bool, _ []string) {
	cl, err := client.New(client.Config{Server: ts.Getenv("MILLRACE_SERVER"), Token: ts.Getenv("MILLRACE_TOKEN")})
	ts.Check(err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	ts.Check(cl.WaitReady(ctx))
}

// file returns the only argument as a path in the script's folder.
func file(ts *testscript.TestScript, args []string) string {
	if len(args) != 1 {
		ts.Fatalf("want one file, got %q", args)
	}
	return ts.MkAbs(args[0])
}

// makeModel is `mkmodel FILE`: a network of four inputs whose largest is the answer.
func makeModel(ts *testscript.TestScript, _ bool, args []string) {
	b := graph.NewBuilder("largest")
	x := b.Input("x", tensor.Float32, graph.Shape{{Size: -1, Symbol: "N"}, {Size: 4}})
	weights := make([]float32, 16)
	for i := range 4 {
		weights[5*i] = 1
	}
	y := b.Op("MatMul", nil, x, b.Init("weight", tensor.Must(tensor.Of(weights, 4, 4))))
	b.Output(b.Name(y, "logits"))
	g, err := infer.Build(b)
	ts.Check(err)
	g.Metadata = map[string]string{"millrace.labels": `["a","b","c","d"]`, "millrace.scale": "1"}
	data, err := onnx.Encode(g)
	ts.Check(err)
	ts.Check(os.WriteFile(file(ts, args), data, 0o644))
}

// makePNG is `mkpng FILE`: a picture of a seven, dark on white.
func makePNG(ts *testscript.TestScript, _ bool, args []string) {
	img := image.NewGray(image.Rect(0, 0, 56, 56))
	for y := range 56 {
		for x := range 56 {
			v := uint8(255)
			top := y >= 10 && y < 15 && x >= 14 && x < 42
			stem := y >= 10 && y < 48 && x >= 40-(y-10)/2-3 && x < 40-(y-10)/2+3
			if top || stem {
				v = 20
			}
			img.SetGray(x, y, color.Gray{Y: v})
		}
	}
	f, err := os.Create(file(ts, args))
	ts.Check(err)
	ts.Check(png.Encode(f, img))
	ts.Check(f.Close())
}

// makeNPZ is `mknpz FILE`: a batch of two for the model of mkmodel, whose answers are b and d, with targets for training
// in train.npz, and what it gives in right.npz and wrong.npz; a FILE.npy is one item of it, in bytes.
func makeNPZ(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Create(file(ts, args))
	ts.Check(err)
	if strings.HasSuffix(args[0], ".npy") {
		ts.Check(media.WriteNPY(f, tensor.Vector[uint8](0, 3, 1, 0)))
		ts.Check(f.Close())
		return
	}
	tensors := map[string]*tensor.Tensor{"x": tensor.Must(tensor.Of([]float32{0, 3, 1, 0, 1, 0, 0, 2}, 2, 4))}
	switch args[0] {
	case "train.npz":
		tensors["target"] = tensor.Must(tensor.Of([]int64{1, 3}, 2))
	case "right.npz":
		tensors["logits"] = tensor.Must(tensor.Of([]float32{0, 3, 1, 0, 1, 0, 0, 2}, 2, 4))
	case "wrong.npz":
		tensors["logits"] = tensor.Must(tensor.Of([]float32{0, 3, 1, 0, 1, 0, 0.01, 2}, 2, 4))
	}
	ts.Check(media.WriteNPZ(f, tensors))
	ts.Check(f.Close())
}

// makeCase is `mkcase NAME`: a folder of that name with a model that TensorFlow wrote, and what it computed.
func makeCase(ts *testscript.TestScript, _ bool, args []string) {
	const tensorflow = "../../graph/tensorflow/"
	dir := file(ts, args)
	if args[0] == "nn2h-v1" { // the talk's network
		ts.Check(os.CopyFS(dir, os.DirFS(tensorflow+"checkpoint/testdata/nn2h-v1")))
		return
	}
	z, err := zip.OpenReader(tensorflow + "testdata/cases.zip")
	ts.Check(err)
	defer z.Close()
	sub, err := fs.Sub(z, args[0])
	ts.Check(err)
	ts.Check(os.CopyFS(dir, sub))
}

// makeDigits is `mkdigits DIR`: a small training set in MNIST's files, of bars whose place is their label.
func makeDigits(ts *testscript.TestScript, _ bool, args []string) {
	const n, side = 600, 28
	dir := file(ts, args)
	ts.Check(os.MkdirAll(dir, 0o755))
	random := rand.New(rand.NewPCG(1, 1))
	head := func(magic uint32, dims ...uint32) []byte {
		b := binary.BigEndian.AppendUint32(nil, magic)
		for _, d := range dims {
			b = binary.BigEndian.AppendUint32(b, d)
		}
		return b
	}
	images, labels := head(0x803, n, side, side), head(0x801, n)
	for i := range n {
		label := i % 10
		labels = append(labels, byte(label))
		for y := range side {
			for range side {
				v := random.IntN(40)
				if y/2 == label+2 {
					v += 200
				}
				images = append(images, byte(v))
			}
		}
	}
	ts.Check(os.WriteFile(filepath.Join(dir, "train-images-idx3-ubyte"), images, 0o644))
	ts.Check(os.WriteFile(filepath.Join(dir, "train-labels-idx1-ubyte"), labels, 0o644))
}

// makePhotos is `mkphotos DIR...`: in each a folder for each of three kinds, with 14 photographs of differing sizes.
func makePhotos(ts *testscript.TestScript, _ bool, args []string) {
	r := rand.New(rand.NewPCG(1, uint64(len(args))))
	for _, dir := range args {
		for kind, name := range []string{"across", "down", "both"} {
			folder := ts.MkAbs(filepath.Join(dir, name))
			ts.Check(os.MkdirAll(folder, 0o755))
			for i := range 14 {
				w, h := 110+r.IntN(60), 80+r.IntN(40)
				m := image.NewRGBA(image.Rect(0, 0, w, h))
				for y := range h {
					for x := range w {
						on := [3]bool{x/8%2 == 0, y/8%2 == 0, (x/8+y/8)%2 == 0}[kind]
						v := uint8(60 + r.IntN(40))
						if on {
							v += 120
						}
						m.SetRGBA(x, y, color.RGBA{v, v / 2, 80, 255})
					}
				}
				var out bytes.Buffer
				ts.Check(jpeg.Encode(&out, m, nil))
				ts.Check(os.WriteFile(filepath.Join(folder, fmt.Sprintf("%d.jpg", i)), out.Bytes(), 0o600))
			}
		}
	}
}
