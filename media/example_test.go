package media_test

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// A model of grey pictures of 2 by 2 pixels takes a PNG of any size and colour.
func ExampleDecoder() {
	d, err := media.NewDecoder(media.Spec{DType: tensor.Float32, Shape: tensor.Shape{1, 2, 2}})
	if err != nil {
		fmt.Println(err)
		return
	}
	m := image.NewRGBA(image.Rect(0, 0, 4, 4))
	for i := range 16 {
		m.Set(i%4, i/4, color.Gray{Y: uint8(i / 8 * 255)}) // the lower half is white
	}
	var file bytes.Buffer
	if err := png.Encode(&file, m); err != nil {
		fmt.Println(err)
		return
	}
	batch := tensor.Must(tensor.New(tensor.Float32, 8, 1, 2, 2))
	if err := d.DecodeInto(batch, 0, "image/png", file.Bytes()); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tensor.Data[float32](batch)[:4])
	err = d.DecodeInto(batch, 1, "", []byte("three bytes"))
	fmt.Println(err)
	// Output:
	// [0 0 1 1]
	// content does not fit the input: these 11 bytes are of no known form; this model takes a picture: PNG, JPEG, GIF, WebP, TIFF, JSON or .npy of float32[1,2,2], or 4 or 16 raw bytes
}

func ExampleParseTensors() {
	all, err := media.ParseTensors("application/json", []byte(`{"inputs":[{"name":"x","shape":[2,2],"datatype":"FP32","data":[1,2,3,4]}]}`))
	fmt.Println(all["x"], err)
	// Output: float32[2,2]{1 2 3 4} <nil>
}
