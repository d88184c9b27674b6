package media_test

import (
	"bytes"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// TestFaultsSayWhatIsTaken: whoever sends a model what it cannot take is told what is wrong, and what it takes, by its kind.
func TestFaultsSayWhatIsTaken(t *testing.T) {
	var photo bytes.Buffer
	if err := jpeg.Encode(&photo, colours(), nil); err != nil {
		t.Fatal(err)
	}
	whole := photo.Bytes()
	picture, numbers, text := spec(tensor.Float32, 1, 28, 28), spec(tensor.Float32, 5), spec(tensor.String, 1)
	table := spec(tensor.Float32, 2)
	table.Columns = []media.Column{{Name: "temp", Type: media.NumberColumn}, {Name: "load", Type: media.NumberColumn}}
	forms := "this model takes a picture: PNG, JPEG, GIF, WebP, TIFF, JSON or .npy of float32[1,28,28], or 784 or 3136 raw bytes"
	for _, c := range []struct {
		name, kind string
		spec       media.Spec
		data       string
		want       []string
	}{
		{"an unknown form", "", picture, "hello", []string{forms}},
		{"an unknown type", "audio/ogg", picture, "hello", []string{"audio/ogg", forms}},
		{"an empty entry", "", picture, "", []string{"the entry is empty", forms}},
		{"an empty picture", "image/png", picture, "", []string{"the entry is empty"}},
		{"an empty row", "application/json", table, "", []string{"the entry is empty", "a row of a table: JSON"}},
		{"CSV for pictures", "text/csv", picture, "a,b\n1,2\n", []string{"CSV", forms}},
		{"JSON for pictures", "application/json", picture, "{\"temp\":1}", []string{forms}},
		{"a list of JSON for pictures", "", picture, "[1,2]", []string{forms}},
		{"broken JSON for pictures", "application/json", picture, "[1,", []string{forms}},
		{"a picture for a table", "image/jpeg", table, string(whole), []string{"this model takes a row of a table: JSON", "CSV"}},
		{"a word for a table", "", table, "hello", []string{"this model takes a row of a table: JSON", "CSV"}},
		{"a picture for numbers", "image/jpeg", numbers, string(whole), []string{"this model takes numbers: JSON or .npy of float32[5], or 5 or 20 raw bytes"}},
		{"a picture for text", "image/jpeg", text, string(whole), []string{"this model takes text"}},
		{"a JPEG that is cut off in its data", "", picture, string(whole[:len(whole)-60]), []string{"the JPEG is cut off or damaged ("}},
		{"a JPEG that is cut off in its head", "", picture, string(whole[:30]), []string{"the JPEG is cut off or damaged ("}},
		{"a JPEG that is cut off at once", "image/jpeg", picture, string(whole[:1]), []string{"the JPEG is cut off or damaged ("}},
		{"a PNG that is cut off", "", picture, string(encodePNG(t, colours()))[:40], []string{"the PNG is cut off or damaged ("}},
		{"a TIFF that is cut off", "", picture, string(encodeTIFF(t, colours(), nil))[:40], []string{"the TIFF is cut off or damaged ("}},
		{"a JPEG that is said to be a PNG", "image/png", picture, string(whole), []string{"said to be a PNG, and is a JPEG"}},
		{"text that is said to be a JPEG", "image/jpeg", picture, "this is no picture", []string{"said to be a JPEG, and is none"}},
		{"a word that is said to be a PNG", "image/png", picture, "no picture", []string{"said to be a PNG, and is none"}},
		{"null", "", table, `{"temp":null,"load":1}`, []string{`column "temp"`, "train with --missing mean"}},
		{"no value", "", table, `{"load":1}`, []string{"missing: temp", "train with --missing mean"}},
		{"no value in CSV", "text/csv", table, "temp,load\n,1\n", []string{`column "temp"`, "train with --missing mean"}},
		{"a whole file", "", table, "temp,load\n1,2\n3,4\n", []string{"`millrace cache import` takes a file of many rows"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := decoder(t, c.spec).Decode(c.kind, []byte(c.data))
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %v", want, err)
				}
			}
		})
	}
}
