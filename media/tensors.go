package media

import (
	"bytes"
	"fmt"

	"github.com/millrace/millrace/tensor"
)

// ParseLimit is how many bytes ParseTensors lets a compressed file grow to.
const ParseLimit = 256 << 20

// ParseTensors reads tensors by name: JSON in the Open Inference Protocol's form, or an .npz. An .npy holds one tensor
// and gives it the name "". NaN is let through here: see [CheckNaN].
func ParseTensors(contentType string, data []byte) (map[string]*tensor.Tensor, error) {
	switch kind := Sniff(contentType, data); {
	case kind == typeJSON, kind == typeRaw && looksJSON(data):
		return parseJSON(data)
	case kind == typeNPZ:
		return ReadNPZ(bytes.NewReader(data), int64(len(data)), ParseLimit)
	case kind == typeNPY:
		t, err := ReadNPY(bytes.NewReader(data), ParseLimit)
		if err != nil {
			return nil, err
		}
		return map[string]*tensor.Tensor{"": t}, nil
	default:
		return nil, fmt.Errorf("%w: %.80q (send JSON, .npy or .npz)", ErrUnsupportedType, kind)
	}
}
