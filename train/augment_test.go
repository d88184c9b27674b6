package train_test

import (
	"image"
	"image/color"
	"testing"

	"github.com/millrace/millrace/tensor"
	"github.com/millrace/millrace/train"
)

// disc is a light disc of radius 6 in the middle of a black picture.
func disc() *image.Gray {
	m := image.NewGray(image.Rect(0, 0, 28, 28))
	for y := range 28 {
		for x := range 28 {
			if dx, dy := float64(x)-13.5, float64(y)-13.5; dx*dx+dy*dy < 36 {
				m.SetGray(x, y, color.Gray{Y: 200})
			}
		}
	}
	return m
}

func set(t testing.TB, m *image.Gray) *train.Set {
	t.Helper()
	s, err := train.Collect(func(yield func(train.Example, error) bool) {
		yield(train.Example{Input: tensor.Must(tensor.Of(m.Pix, 1, 28, 28))}, nil)
	}, []string{"disc"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// measure returns the light's sum and its centre.
func measure(p []float32) (sum, x, y float64) {
	for i, v := range p {
		sum += float64(v)
		x += float64(v) * float64(i%28)
		y += float64(v) * float64(i/28)
	}
	return sum, x / sum, y / sum
}

func TestAugment(t *testing.T) {
	s := set(t, disc())
	plain, px, py := measure(train.Augmented(s, train.Augment{}, 1, 0))
	grown, shrunk := 0, 0
	for seed := range uint64(50) {
		moved := train.Augmented(s, train.Augment{Shift: 0.1}, seed, 0)
		sum, x, y := measure(moved)
		if dx, dy := x-px, y-py; sum < 0.99*plain || sum > 1.01*plain || dx > 2.81 || dx < -2.81 || dy > 2.81 || dy < -2.81 {
			t.Errorf("seed %d: shifted by %v, %v, light %v of %v", seed, dx, dy, sum, plain)
		}
		turned, x, y := measure(train.Augmented(s, train.Augment{Rotate: 90, Shear: 0.1}, seed, 0))
		if d := turned / plain; d < 0.95 || d > 1.05 || x-px > 0.2 || px-x > 0.2 || y-py > 0.2 || py-y > 0.2 {
			t.Errorf("seed %d: a turned disc has light %v of %v at %v, %v", seed, turned, plain, x, y)
		}
		scaled, _, _ := measure(train.Augmented(s, train.Augment{Scale: 0.2}, seed, 0))
		if d := scaled / plain; d < 0.6 || d > 1.6 {
			t.Errorf("seed %d: scaled light is %v of what it was", seed, d)
		}
		thick, _, _ := measure(train.Augmented(s, train.Augment{Thickness: 1}, seed, 0))
		switch d := thick / plain; {
		case d < 0.6 || d > 1.5:
			t.Errorf("seed %d: thickened light is %v of what it was", seed, d)
		case d > 1.02:
			grown++
		case d < 0.98:
			shrunk++
		}
		again := train.Augmented(s, train.Augment{Shift: 0.1}, seed, 0)
		for i := range again {
			if again[i] != moved[i] {
				t.Fatalf("seed %d gives two pictures", seed)
			}
		}
	}
	if grown < 10 || shrunk < 10 {
		t.Errorf("strokes grew %d times and shrank %d times of 50", grown, shrunk)
	}
}

func BenchmarkAugment(b *testing.B) {
	s := set(b, disc())
	change := train.Augmenter(s, train.Digits)
	for b.Loop() {
		change(uint64(b.N), 0)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "pictures/s")
}
