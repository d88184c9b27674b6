package train

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	_ "image/jpeg" // pictures' headers
	_ "image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/tensor"
)

// maxSide limits the pictures of a folder where no size is given.
const maxSide = 256

// maxPictureBytes limits one picture's file.
const maxPictureBytes = 32 << 20

// Open reads a data set: a CSV file, a directory with the two IDX files of a set (images and labels, gzipped or not; a training set's before a test set's),
// or a directory that has a directory of PNG and JPEG files for each label. A folder's pictures are scaled to the first
// one's size, grey where that is grey.
func Open(path string) (*Set, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	if !info.IsDir() {
		if strings.EqualFold(filepath.Ext(path), ".csv") {
			return openCSV(path)
		}
		return nil, fmt.Errorf("%w: %s: a data set is a .csv file or a directory", ErrData, path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	var files, dirs []string
	for _, e := range entries {
		switch {
		case strings.HasPrefix(e.Name(), "."):
		case e.IsDir():
			dirs = append(dirs, e.Name())
		default:
			files = append(files, e.Name())
		}
	}
	if images, labels := findIDX(files); images != "" && labels != "" {
		return openIDX(path, images, labels)
	}
	if i := slices.IndexFunc(files, func(f string) bool { return strings.EqualFold(filepath.Ext(f), ".csv") }); i >= 0 && len(dirs) == 0 {
		return openCSV(filepath.Join(path, files[i]))
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%w: %s holds neither IDX files (train-images-idx3-ubyte and train-labels-idx1-ubyte, .gz or not), nor a .csv file, nor a directory of pictures for each label", ErrData, path)
	}
	return openFolder(path, sortLabels(dirs))
}

// openFolder reads the pictures in dir/LABEL/.
func openFolder(dir string, labels []string) (*Set, error) {
	var decoder *media.Decoder
	return Collect(func(yield func(Example, error) bool) {
		for number, label := range labels {
			files, err := pictures(filepath.Join(dir, label))
			if err != nil {
				yield(Example{}, err)
				return
			}
			for _, name := range files {
				data, err := readPicture(name)
				if err == nil && decoder == nil {
					decoder, err = pictureDecoder(data)
				}
				var t *tensor.Tensor
				if err == nil {
					kind := media.Sniff("", data)
					if t, err = nil, fmt.Errorf("neither PNG nor JPEG"); strings.HasPrefix(kind, "image/") {
						t, err = decoder.Decode(kind, data)
					}
				}
				if err != nil {
					err = fmt.Errorf("%w: %s: %w", ErrData, name, err)
				}
				if !yield(Example{t, number}, err) || err != nil {
					return
				}
			}
		}
	}, labels)
}

// pictures lists the PNG and JPEG files of a directory in order.
func pictures(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open data set: %w", err)
	}
	var files []string
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".png", ".jpg", ".jpeg":
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

func readPicture(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxPictureBytes {
		return nil, fmt.Errorf("%d bytes are more than the %d that a picture may have", info.Size(), maxPictureBytes)
	}
	return os.ReadFile(name)
}

// pictureDecoder decodes pictures to bytes of the size and colours of this one.
func pictureDecoder(data []byte) (*media.Decoder, error) {
	cfg, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	channels := 3
	switch cfg.ColorModel {
	case color.GrayModel, color.Gray16Model:
		channels = 1
	}
	return media.NewDecoder(media.Spec{DType: tensor.Uint8, Shape: tensor.Shape{channels, min(cfg.Height, maxSide), min(cfg.Width, maxSide)}, Layout: media.NCHW})
}
