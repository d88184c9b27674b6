package train

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"

	"github.com/millrace/millrace/internal/outfile"
	"github.com/millrace/millrace/tensor"
)

// ErrCheckpoint says that a checkpoint is damaged, of another format version, or of another training run than the one that
// is to go on. The message says which.
var ErrCheckpoint = errors.New("checkpoint does not fit")

// A Checkpoint is everything that training needs to go on to the same bits. Random numbers are drawn from the seed, the epoch
// and the example alone, so the position is their state.
type Checkpoint struct {
	// Settings are the hyper-parameters of the run, and its data set's fingerprint.
	Settings Settings
	// Epoch is the one in progress, from 0, and Batch the first of its batches that is not done.
	Epoch, Batch int
	// Steps are the updates done.
	Steps int
	sums  sums
	// Tensors are the variables, statistics and optimizer state by the names of the training graph's inputs.
	Tensors []NamedTensor
}

// A NamedTensor is a tensor with its name.
type NamedTensor struct {
	Name   string
	Tensor *tensor.Tensor
}

// A checkpoint file is the magic, the header's length (32 bits, little-endian), the header as JSON, the tensors' memory in the header's
// order, and the SHA-256 of all that.
const (
	checkpointMagic   = "MLRCKPT1"
	checkpointVersion = 1
	maxHeader         = 16 << 20
)

type checkpointHeader struct {
	Version  int            `json:"version"`
	Settings Settings       `json:"settings"`
	Epoch    int            `json:"epoch"`
	Batch    int            `json:"batch"`
	Steps    int            `json:"steps"`
	Sums     sums           `json:"sums"` // zero in files of before there were any
	Tensors  []tensorHeader `json:"tensors"`
}

type tensorHeader struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []int  `json:"shape"`
}

// Write writes c.
func (c *Checkpoint) Write(w io.Writer) error {
	h := checkpointHeader{Version: checkpointVersion, Settings: c.Settings, Epoch: c.Epoch, Batch: c.Batch, Steps: c.Steps, Sums: c.sums}
	for _, t := range c.Tensors {
		h.Tensors = append(h.Tensors, tensorHeader{t.Name, t.Tensor.DType().String(), t.Tensor.Shape()})
	}
	text, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	if len(text) > maxHeader {
		return fmt.Errorf("write checkpoint: its header has %d bytes, more than %d", len(text), maxHeader)
	}
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	parts := [][]byte{[]byte(checkpointMagic), binary.LittleEndian.AppendUint32(nil, uint32(len(text))), text}
	for _, t := range c.Tensors {
		parts = append(parts, t.Tensor.Bytes())
	}
	for _, p := range parts {
		if _, err := out.Write(p); err != nil {
			return fmt.Errorf("write checkpoint: %w", err)
		}
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

// ReadCheckpoint reads what Write wrote. It returns ErrCheckpoint for anything else, and allocates in proportion to
// what there is to read.
func ReadCheckpoint(r io.Reader) (*Checkpoint, error) {
	sum := sha256.New()
	in := io.TeeReader(bufio.NewReaderSize(r, 1<<16), sum)
	head := make([]byte, len(checkpointMagic)+4)
	if _, err := io.ReadFull(in, head); err != nil || string(head[:len(checkpointMagic)]) != checkpointMagic {
		return nil, fmt.Errorf("%w: not a checkpoint file", ErrCheckpoint)
	}
	n := binary.LittleEndian.Uint32(head[len(checkpointMagic):])
	if n > maxHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes", ErrCheckpoint, n)
	}
	text, err := readExactly(in, int(n))
	if err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrCheckpoint, err)
	}
	var h checkpointHeader
	dec := json.NewDecoder(bytes.NewReader(text))
	if err := dec.Decode(&h); err != nil {
		return nil, fmt.Errorf("%w: header: %w", ErrCheckpoint, err)
	}
	if h.Version != checkpointVersion {
		return nil, fmt.Errorf("%w: format version %d; this program reads %d", ErrCheckpoint, h.Version, checkpointVersion)
	}
	if h.Epoch < 0 || h.Batch < 0 || h.Steps < 0 {
		return nil, fmt.Errorf("%w: position %d, %d, %d is negative", ErrCheckpoint, h.Epoch, h.Batch, h.Steps)
	}
	c := &Checkpoint{Settings: h.Settings, Epoch: h.Epoch, Batch: h.Batch, Steps: h.Steps, sums: h.Sums}
	for _, th := range h.Tensors {
		t, err := readTensor(in, th)
		if err != nil {
			return nil, fmt.Errorf("%w: tensor %q: %w", ErrCheckpoint, th.Name, err)
		}
		c.Tensors = append(c.Tensors, NamedTensor{th.Name, t})
	}
	return c, checkSum(in, sum)
}

func readTensor(in io.Reader, th tensorHeader) (*tensor.Tensor, error) {
	d, err := tensor.ParseDType(th.DType)
	if err != nil {
		return nil, err
	}
	size, err := tensor.Shape(th.Shape).Check()
	if err != nil {
		return nil, err
	}
	if d.Size() == 0 {
		return nil, fmt.Errorf("elements of type %v have no fixed size", d)
	}
	raw, err := readExactly(in, size*d.Size())
	if err != nil {
		return nil, err
	}
	return tensor.FromBytes(d, raw, th.Shape...)
}

// readExactly reads n bytes, growing with what arrives.
func readExactly(in io.Reader, n int) ([]byte, error) {
	var buf bytes.Buffer
	got, err := io.Copy(&buf, io.LimitReader(in, int64(n)))
	if err == nil && got < int64(n) {
		err = fmt.Errorf("%d of %d bytes are there: %w", got, n, io.ErrUnexpectedEOF)
	}
	return buf.Bytes(), err
}

func checkSum(in io.Reader, sum hash.Hash) error {
	want := sum.Sum(nil)
	got, err := readExactly(in, len(want))
	if err != nil {
		return fmt.Errorf("%w: checksum: %w", ErrCheckpoint, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("%w: its checksum is wrong: the file is damaged", ErrCheckpoint)
	}
	if extra, err := io.Copy(io.Discard, io.LimitReader(in, 1)); err != nil || extra > 0 {
		return fmt.Errorf("%w: bytes after the checksum", ErrCheckpoint)
	}
	return nil
}

// Save writes c to a file, which is the old one or the new one whole at any time.
func (c *Checkpoint) Save(path string) error { return outfile.Write(path, c.Write) }

// LoadCheckpoint reads a file that Save wrote.
func LoadCheckpoint(path string) (*Checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read checkpoint: %w", err)
	}
	defer f.Close()
	c, err := ReadCheckpoint(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
