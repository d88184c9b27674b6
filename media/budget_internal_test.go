package media

import (
	"bytes"
	"image"
	"image/png"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace/millrace/tensor"
)

// Pictures of which each is small as a file are not all unpacked at the same time, and one that is larger than all may be goes alone.
func TestDecodingIsBounded(t *testing.T) {
	spec := Spec{DType: tensor.Float32, Shape: tensor.Shape{3, 8, 8}}
	d, err := NewDecoder(spec)
	if err != nil {
		t.Fatal(err)
	}
	file := func(w, h int) []byte {
		var b bytes.Buffer
		if err := (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, image.NewGray16(image.Rect(0, 0, w, h))); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	large, over := file(2500, 2500), file(4800, 4700)
	each := unpacked(typePNG, large, 3, MaxPixels)
	if each < 2500*2500*2 || unpacked(typePNG, over, 3, MaxPixels) <= decodedAtOnce {
		t.Fatalf("a picture of 2500 by 2500 pixels counts as %d bytes", each)
	}
	real := codecs[typePNG]
	defer func() { codecs[typePNG] = real }()
	var running, most, alone atomic.Int64
	counted := real
	counted.decode = func(r io.Reader) (image.Image, error) {
		n := running.Add(1)
		defer running.Add(-1)
		for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		time.Sleep(50 * time.Millisecond)
		img, err := real.decode(r)
		if err == nil && img.Bounds().Dx() == 4800 {
			alone.Store(max(n, running.Load()))
		}
		return img, err
	}
	codecs[typePNG] = counted
	var wg sync.WaitGroup
	decode := func(data []byte) {
		wg.Go(func() {
			if _, err := d.Decode("image/png", data); err != nil {
				t.Error(err)
			}
		})
	}
	for range 6 {
		decode(large)
	}
	decode(over)
	wg.Wait()
	if n := most.Load(); n < 2 || n*each > decodedAtOnce {
		t.Errorf("%d pictures of %d bytes were unpacked at a time, of %d", n, each, decodedAtOnce)
	}
	if n := alone.Load(); n != 1 {
		t.Errorf("%d were unpacked while one was that takes all room", n)
	}
	if !decoding.TryAcquire(decodedAtOnce) {
		t.Fatal("room was not given back")
	}
	decoding.Release(decodedAtOnce)
}

// What decoding refuses, and what is small, waits for nobody.
func TestSmallPicturesDoNotWait(t *testing.T) {
	if !decoding.TryAcquire(decodedAtOnce) {
		t.Fatal("something decodes")
	}
	defer decoding.Release(decodedAtOnce)
	d, err := NewDecoder(Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 8, 8}})
	if err != nil {
		t.Fatal(err)
	}
	var small, huge bytes.Buffer
	if err := png.Encode(&small, image.NewGray(image.Rect(0, 0, 100, 100))); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Decode("image/png", small.Bytes()); err != nil {
		t.Error(err)
	}
	huge.Write(small.Bytes()[:16])
	huge.WriteString("\x7f\xff\xff\xff\x7f\xff\xff\xff")
	huge.Write(small.Bytes()[24:])
	if _, err := d.Decode("image/png", huge.Bytes()); err == nil {
		t.Error("a picture of 2^62 pixels was taken")
	}
}
