package train_test

import (
	"errors"
	"fmt"
	"image/color"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace/millrace/train"
)

// TestUnreadablePictures: all pictures that cannot be read are named, whatever is wrong with them; SkipBad leaves them out and says which.
func TestUnreadablePictures(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	jpeg := photograph(t, r, 0, 200, 150)
	bad := map[string][]byte{
		"a/cut.jpg": jpeg[:len(jpeg)/2], "a/empty.png": nil, "a/short.jpg": jpeg[:40], "b/text.jpg": []byte("no picture"), "c/only.png": []byte("\x89PNG\r\n\x1a\nxx"),
	}
	dir := t.TempDir()
	for name, data := range bad {
		write(t, dir, name, data)
	}
	for i := range 6 {
		write(t, dir, fmt.Sprintf("%s/%d.png", []string{"a", "b"}[i%2], i), picture(t, color.Gray{uint8(9 * i)}, 20, 10))
	}
	_, err := train.Open(dir, train.Options{})
	if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), "5 pictures cannot be read (--skip-bad leaves them out)") {
		t.Errorf("%v", err)
	}
	for name := range bad {
		if strings.Count(fmt.Sprint(err), "/"+name+": ") != 1 {
			t.Errorf("%s is not named in %v", name, err)
		}
	}
	s, err := train.Open(dir, train.Options{SkipBad: true})
	if err != nil {
		t.Fatal(err)
	}
	if s.Len() != 6 || !slices.Equal(s.Labels(), []string{"a", "b"}) || s.Shape()[2] != 20 || s.Shape()[0] != 1 {
		t.Errorf("%d of %v, %v", s.Len(), s.Shape(), s.Labels())
	}
	for i := range 6 {
		if s.Label(i) != i/3 {
			t.Errorf("example %d has the label %d", i, s.Label(i))
		}
	}
	notes := fmt.Sprint(s.Notes())
	for _, says := range []string{"6 pictures of 20 x 10, grey", "a/cut.jpg", "a/empty.png", "a/short.jpg", "b/text.jpg", "c/only.png", "no picture in them that can be read: c"} {
		if !strings.Contains(notes, says) {
			t.Errorf("%q is not in %s", says, notes)
		}
	}
	for i := range 20 {
		write(t, dir, fmt.Sprintf("b/bad%02d.png", i), nil)
	}
	if _, err = train.Open(dir, train.Options{}); err == nil || !strings.Contains(err.Error(), "25 pictures cannot be read") || !strings.Contains(err.Error(), "and 15 more") {
		t.Errorf("of 25: %v", err)
	}
}

// TestUnreadableParts: of a divided set, the pictures of all parts are named. Where none can be read, that is said.
func TestUnreadableParts(t *testing.T) {
	dir := t.TempDir()
	for _, part := range []string{"train", "val"} {
		write(t, dir, part+"/a/1.png", picture(t, color.Gray{1}, 4, 4))
		write(t, dir, part+"/a/bad.png", nil)
	}
	_, err := train.Open(dir, train.Options{})
	if err == nil || !strings.Contains(err.Error(), "train/a/bad.png: the file is empty") || !strings.Contains(err.Error(), "val/a/bad.png") {
		t.Errorf("%v", err)
	}
	s, err := train.Open(dir, train.Options{SkipBad: true})
	if err != nil {
		t.Fatal(err)
	}
	if validation, _ := s.Parts(); s.Len() != 1 || validation.Len() != 1 {
		t.Errorf("%d", s.Len())
	}
	write(t, dir, "val/a/1.png", []byte("x"))
	if _, err := train.Open(dir, train.Options{SkipBad: true}); err == nil || !strings.Contains(err.Error(), "none of the pictures can be read") {
		t.Errorf("no picture of a part: %v", err)
	}
}
