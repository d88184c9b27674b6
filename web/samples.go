package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/millrace/millrace/media/stroke"
)

const (
	// wall is how many samples the page shows.
	wall = 60
	// sampleSide is the side of a written sample in pixels, enough for sharp screens.
	sampleSide = 84
	// wallSeed makes the wall the same after every start.
	wallSeed = 7
)

// sample is one digit of the wall.
type sample struct {
	image *image.Gray
	label int
}

// loadSamples takes digits from MNIST's files where a folder is named, and writes them otherwise. The note says which.
func loadSamples(mnist string) (all []sample, note string, err error) {
	if mnist != "" {
		return readMNIST(mnist, wall)
	}
	hand := stroke.NewHand(wallSeed)
	for i := range wall {
		p := hand.Digit(i%10, sampleSide)
		m, err := stroke.Draw(p)
		if err != nil {
			return nil, "", err
		}
		all = append(all, sample{m, i % 10})
	}
	rand.New(rand.NewPCG(wallSeed, 0)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all, "Each was written for this page. The network has never seen them.", nil
}

// addSamples encodes the samples and their list.
func (h *handler) addSamples(samples []sample, note string) error {
	type item struct {
		Src   string `json:"src"`
		Label string `json:"label"`
	}
	list := make([]item, 0, len(samples))
	for i, s := range samples {
		body, err := encode(s.image)
		if err != nil {
			return err
		}
		name := "/samples/" + strconv.Itoa(i) + ".png"
		h.files[name] = newFile(name, body)
		list = append(list, item{name, strconv.Itoa(s.label)})
	}
	body, err := json.Marshal(map[string]any{"note": note, "samples": list})
	if err != nil {
		return err
	}
	h.files["/samples"] = newFile("samples.json", body)
	return nil
}

// written writes the digit of a name such as "7.png" by a seed.
func written(name, seed string) (file, bool) {
	digit, ok := strings.CutSuffix(name, ".png")
	n, err := strconv.ParseUint(seed, 10, 32)
	if seed == "" {
		n, err = 0, nil
	}
	if !ok || err != nil || len(digit) != 1 || digit[0] < '0' || digit[0] > '9' {
		return file{}, false
	}
	m, err := stroke.Draw(stroke.NewHand(n).Digit(int(digit[0]-'0'), sampleSide))
	if err != nil {
		return file{}, false
	}
	body, err := encode(m)
	if err != nil {
		return file{}, false
	}
	return newFile(name, body), true
}

func encode(m *image.Gray) ([]byte, error) {
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		return nil, fmt.Errorf("encode a sample: %w", err)
	}
	return b.Bytes(), nil
}
