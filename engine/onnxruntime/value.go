//go:build cgo

package onnxruntime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/tensor"
)

// A binding is a value of the library over a tensor's memory.
type binding struct {
	value ort.Value
	data  unsafe.Pointer // where the elements are
	dtype tensor.DType
	shape tensor.Shape
	uses  int
	kept  bool
}

// bound keeps the library's values over memory that is used again and again, as a pipeline's batches are: making a
// value costs about a tenth of a small run. It holds on to as many tensors as there is room for.
type bound struct {
	mu   sync.Mutex
	kept []*binding // the one that was used last is at the end
	room int
}

// get returns the value over t's memory; put gives it back.
func (b *bound) get(t *tensor.Tensor, p port) (*binding, error) {
	if p.dtype != t.DType() && p.value.DType != tensor.Invalid {
		// A 16-bit scalar or the like: a value of its own.
		return nil, fmt.Errorf("%w: %v where the library takes %v", engine.ErrInput, t.DType(), p.dtype)
	}
	data := pointer(t)
	b.mu.Lock()
	k := b.find(data, t)
	b.mu.Unlock()
	if k != nil {
		return k, nil
	}
	v, err := toValue(t)
	if err != nil {
		return nil, err
	}
	k = &binding{value: v, data: data, dtype: t.DType(), shape: t.Shape().Clone(), uses: 1}
	if data == nil {
		return k, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.kept) >= b.room {
		i := slices.IndexFunc(b.kept, func(o *binding) bool { return o.uses == 0 })
		if i < 0 {
			return k, nil
		}
		_ = b.kept[i].value.Destroy() // never fails for a value that exists
		b.kept = slices.Delete(b.kept, i, i+1)
	}
	k.kept = true
	b.kept = append(b.kept, k)
	return k, nil
}

// find returns the value over t's memory, or nil. The caller holds the lock.
func (b *bound) find(data unsafe.Pointer, t *tensor.Tensor) *binding {
	if data == nil {
		return nil
	}
	for i := len(b.kept) - 1; i >= 0; i-- {
		if k := b.kept[i]; k.data == data && k.dtype == t.DType() && k.shape.Equal(t.Shape()) {
			k.uses++
			return k
		}
	}
	return nil
}

// findAll fills f with the values that are there for a run's tensors, all in one turn of the lock.
func (b *bound) findAll(f *frame, ins []port, in []*tensor.Tensor, outs []port, out []*tensor.Tensor) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, p := range ins {
		if p.dtype != in[i].DType() {
			continue
		}
		if k := b.find(pointer(in[i]), in[i]); k != nil {
			f.in[i], f.used = k.value, append(f.used, k)
		}
	}
	for i, p := range outs {
		if out[i] == nil || p.dtype != out[i].DType() || p.shape != "" {
			continue
		}
		if k := b.find(pointer(out[i]), out[i]); k != nil {
			f.out[i], f.used = k.value, append(f.used, k)
		}
	}
}

// put gives values back.
func (b *bound) put(used []*binding) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, k := range used {
		if k.uses--; k.uses == 0 && !k.kept {
			_ = k.value.Destroy() // never fails for a value that exists
		}
	}
}

// clear destroys what is kept. No run is in progress.
func (b *bound) clear() error {
	var faults []error
	for _, k := range b.kept {
		faults = append(faults, k.value.Destroy())
	}
	b.kept = nil
	return errors.Join(faults...)
}

// pointer identifies a tensor's memory; nil for one without elements, for strings, which the library copies, and for packed types, of
// which the library gets a copy of another form.
func pointer(t *tensor.Tensor) unsafe.Pointer {
	b := t.Bytes()
	if len(b) == 0 || t.DType().Bits() < 8 {
		return nil
	}
	return unsafe.Pointer(unsafe.SliceData(b))
}

// elementTypes are the types that the wrapper has no Go type for. What is missing here and in toValue cannot be an input.
var elementTypes = map[tensor.DType]ort.TensorElementDataType{
	tensor.Float16: ort.TensorElementDataTypeFloat16, tensor.BFloat16: ort.TensorElementDataTypeBFloat16,
	tensor.Complex64: ort.TensorElementDataTypeComplex64, tensor.Complex128: ort.TensorElementDataTypeComplex128,
	tensor.Float8E4M3FN: ort.TensorElementDataTypeFloat8E4M3FN, tensor.Float8E4M3FNUZ: ort.TensorElementDataTypeFloat8E4M3FNUZ,
	tensor.Float8E5M2: ort.TensorElementDataTypeFloat8E5M2, tensor.Float8E5M2FNUZ: ort.TensorElementDataTypeFloat8E5M2FNUZ,
	tensor.Uint4: ort.TensorElementDataTypeUint4, tensor.Int4: ort.TensorElementDataTypeInt4,
}

// toValue makes a value over t's memory; strings are copied. A scalar becomes one dimension of 1.
func toValue(t *tensor.Tensor) (ort.Value, error) {
	shape := ort.Shape{1}
	if t.Rank() > 0 {
		shape = make(ort.Shape, t.Rank())
		for i, d := range t.Shape() {
			shape[i] = int64(d)
		}
	}
	switch d := t.Raw().(type) {
	case []float32:
		return ort.NewTensor(shape, d)
	case []float64:
		return ort.NewTensor(shape, d)
	case []int8:
		return ort.NewTensor(shape, d)
	case []int16:
		return ort.NewTensor(shape, d)
	case []int32:
		return ort.NewTensor(shape, d)
	case []int64:
		return ort.NewTensor(shape, d)
	case []uint8:
		return ort.NewTensor(shape, d)
	case []uint16:
		return ort.NewTensor(shape, d)
	case []uint32:
		return ort.NewTensor(shape, d)
	case []uint64:
		return ort.NewTensor(shape, d)
	case []bool:
		return ort.NewTensor(shape, d)
	case []string:
		for i, text := range d {
			if strings.IndexByte(text, 0) >= 0 {
				return nil, fmt.Errorf("%w: string %d has a zero byte, where the library's strings end", engine.ErrInput, i)
			}
		}
		v, err := ort.NewStringTensor(shape)
		if err != nil {
			return nil, err
		}
		if err := v.SetContents(d); err != nil {
			return nil, errors.Join(err, v.Destroy())
		}
		return v, nil
	}
	kind, ok := elementTypes[t.DType()]
	if !ok {
		return nil, fmt.Errorf("%w: the library takes no %v", engine.ErrInput, t.DType())
	}
	raw := tensor.Pack(t)
	if len(raw) == 0 {
		raw = make([]byte, t.DType().Size()) // the wrapper wants some memory even for no elements
	}
	return ort.NewCustomDataTensor(shape, raw, kind)
}

// fromValue makes a tensor of a value that the library allocated, narrowed to dtype. The wrapper has copied the
// elements into Go's memory already: the tensor keeps those.
func fromValue(v ort.Value, shape tensor.Shape, dtype tensor.DType) (*tensor.Tensor, error) {
	switch v := v.(type) {
	case *ort.Tensor[float32]:
		switch dtype {
		case tensor.Float16:
			return narrow(v.GetData(), shape, tensor.HalfOf)
		case tensor.BFloat16:
			return narrow(v.GetData(), shape, tensor.BHalfOf)
		}
		if dtype.Small() {
			return narrowSmall(v.GetData(), shape, dtype)
		}
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[float64]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[int8]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[int16]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[int32]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[int64]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[uint8]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[uint16]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[uint32]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[uint64]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.Tensor[bool]:
		return tensor.Of(v.GetData(), shape...)
	case *ort.StringTensor:
		text, err := v.GetContents()
		if err != nil {
			return nil, err
		}
		if text == nil {
			text = []string{}
		}
		return tensor.Of(text, shape...)
	}
	return nil, fmt.Errorf("a result of type %T cannot be read", v)
}

func narrow[T tensor.Element](wide []float32, shape tensor.Shape, round func(float32) T) (*tensor.Tensor, error) {
	d := make([]T, len(wide))
	for i, v := range wide {
		d[i] = round(v)
	}
	return tensor.Of(d, shape...)
}

// narrowSmall takes back to a small type what was widened from it, so that nothing is rounded.
func narrowSmall(wide []float32, shape tensor.Shape, dtype tensor.DType) (*tensor.Tensor, error) {
	t, err := tensor.New(dtype, shape...)
	if err != nil {
		return nil, err
	}
	for i, v := range wide[:t.Size()] {
		t.Bytes()[i] = tensor.SmallOf(dtype, float64(v), tensor.Rounding{})
	}
	return t, nil
}

// copyInto writes src into the caller's tensor, whose type and shape must be those of the result.
func copyInto(dst, src *tensor.Tensor) error {
	if dst.DType() != src.DType() || !dst.Shape().Equal(src.Shape()) {
		return fmt.Errorf("%w: the result is %v%v, the tensor for it %v%v", engine.ErrInput, src.DType(), src.Shape(), dst.DType(), dst.Shape())
	}
	if s, ok := src.Raw().([]string); ok {
		copy(dst.Raw().([]string), s)
		return nil
	}
	copy(dst.Bytes(), src.Bytes())
	return nil
}
