package train

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// What is packed by LZ4 in a file of Parquet is unpacked here: the library gives wrong values for some such files, has no end at damaged ones, and does
// not know the older framing.

// unpackedFile is a file whose pages of LZ4 are unpacked: the file as it is, then the unpacked chunks, and a footer that points to them.
type unpackedFile struct {
	file io.ReaderAt
	size int64 // of file
	more []byte
}

func (u *unpackedFile) ReadAt(p []byte, at int64) (n int, err error) {
	if at < u.size {
		n, err = u.file.ReadAt(p[:min(int64(len(p)), u.size-at)], at)
		if n == len(p) || err != nil && !errors.Is(err, io.EOF) || at+int64(n) < u.size {
			return n, err
		}
		at += int64(n)
	}
	if at-u.size < int64(len(u.more)) {
		n += copy(p[n:], u.more[at-u.size:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// unpackLZ4 returns the file with the chunks unpacked that are read and packed by LZ4; the file itself where there are none. meta is the file's footer,
// of which it changes a copy.
func unpackLZ4(r io.ReaderAt, size int64, meta *format.FileMetaData, read func(column int) bool) (io.ReaderAt, int64, error) {
	u := &unpackedFile{file: r, size: size}
	changed := *meta
	changed.RowGroups = slices.Clone(meta.RowGroups)
	for i := range changed.RowGroups {
		g := &changed.RowGroups[i]
		g.Columns = slices.Clone(g.Columns)
		for j := range g.Columns {
			c := &g.Columns[j].MetaData
			if !read(j) || c.Codec != format.Lz4 && c.Codec != format.Lz4Raw {
				continue
			}
			if err := u.unpackChunk(c); err != nil {
				return nil, 0, fmt.Errorf("group %d, %v: %w", i+1, c.PathInSchema, err)
			}
		}
	}
	if len(u.more) == 0 {
		return r, size, nil
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &changed)
	if err != nil {
		return nil, 0, fmt.Errorf("write the footer anew: %w", err)
	}
	u.more = append(u.more, footer...)
	u.more = binary.LittleEndian.AppendUint32(u.more, uint32(len(footer)))
	u.more = append(u.more, "PAR1"...)
	return u, size + int64(len(u.more)), nil
}

// unpackChunk appends a chunk's pages, unpacked, and changes what the footer says of it.
func (u *unpackedFile) unpackChunk(c *format.ColumnMetaData) error {
	start := c.DataPageOffset
	if c.DictionaryPageOffset > 0 {
		start = min(start, c.DictionaryPageOffset)
	}
	if start < 0 || c.TotalCompressedSize < 0 || c.TotalCompressedSize > u.size-start {
		return fmt.Errorf("the file is damaged: a chunk has %d bytes from %d, and the file %d", c.TotalCompressedSize, start, u.size)
	}
	packed := make([]byte, c.TotalCompressedSize)
	if _, err := u.file.ReadAt(packed, start); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	begin := len(u.more)
	data, dictionary := int64(0), int64(0)
	for len(packed) > 0 {
		var h format.PageHeader
		in := new(thrift.CompactProtocol).NewReaderFromBytes(packed)
		if err := thrift.NewDecoder(in).Decode(&h); err != nil {
			return fmt.Errorf("the file is damaged: the header of a page: %w", err)
		}
		packed = packed[in.BytesRead():]
		if h.CompressedPageSize < 0 || int64(h.CompressedPageSize) > int64(len(packed)) {
			return fmt.Errorf("the file is damaged: a page has %d bytes, and its chunk %d", h.CompressedPageSize, len(packed))
		}
		page := packed[:h.CompressedPageSize]
		packed = packed[h.CompressedPageSize:]
		if h.CRC != 0 && crc32.ChecksumIEEE(page) != uint32(h.CRC) {
			return errors.New("the file is damaged: the checksum of a page is wrong")
		}
		whole, err := unpackPage(c.Codec, h, page)
		if err != nil {
			return err
		}
		at := u.size + int64(len(u.more))
		switch {
		case h.Type == format.DictionaryPage && dictionary == 0:
			dictionary = at
		case h.Type != format.DictionaryPage && data == 0:
			data = at
		}
		h.CRC, h.CompressedPageSize, h.UncompressedPageSize = 0, int32(len(whole)), int32(len(whole))
		header, err := thrift.Marshal(new(thrift.CompactProtocol), &h)
		if err != nil {
			return fmt.Errorf("write the header of a page anew: %w", err)
		}
		u.more = append(append(u.more, header...), whole...)
	}
	c.Codec, c.TotalCompressedSize, c.TotalUncompressedSize = format.Uncompressed, int64(len(u.more)-begin), int64(len(u.more)-begin)
	c.DataPageOffset, c.DictionaryPageOffset, c.IndexPageOffset = data, dictionary, 0
	return nil
}

// unpackPage unpacks what is packed of a page: all, or of the newer data pages what comes after the levels.
func unpackPage(codec format.CompressionCodec, h format.PageHeader, page []byte) ([]byte, error) {
	levels := 0
	if h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid {
		v2 := h.DataPageHeaderV2.V
		if v2.DefinitionLevelsByteLength < 0 || v2.RepetitionLevelsByteLength < 0 ||
			int64(v2.DefinitionLevelsByteLength)+int64(v2.RepetitionLevelsByteLength) > int64(min(len(page), int(h.UncompressedPageSize))) {
			return nil, fmt.Errorf("the file is damaged: levels of %d and %d bytes in a page of %d", v2.DefinitionLevelsByteLength, v2.RepetitionLevelsByteLength, len(page))
		}
		levels = int(v2.DefinitionLevelsByteLength + v2.RepetitionLevelsByteLength)
		if v2.IsCompressed.Valid && !v2.IsCompressed.V {
			return page, nil
		}
	}
	n := int(h.UncompressedPageSize) - levels
	const most = 255 // times as much, at most, can come out of LZ4
	if n < 0 || n > most*(len(page)-levels)+most {
		return nil, fmt.Errorf("the file is damaged: %d bytes are said to be packed in %d", n, len(page)-levels)
	}
	whole := slices.Grow(slices.Clone(page[:levels]), n)[:levels+n]
	if err := unpackBytes(codec, whole[levels:], page[levels:]); err != nil {
		return nil, fmt.Errorf("the file is damaged: %w", err)
	}
	return whole, nil
}

// unpackBytes fills out. The older codec is LZ4 as Hadoop frames it, as the tool lz4 does, or bare: writers did not agree.
func unpackBytes(codec format.CompressionCodec, out, in []byte) error {
	if codec == format.Lz4Raw {
		return unpackBlock(out, in)
	}
	if unpackHadoop(out, in) == nil {
		return nil
	}
	if bytes.HasPrefix(in, []byte{0x04, 0x22, 0x4d, 0x18}) {
		if _, err := io.ReadFull(lz4.NewReader(bytes.NewReader(in)), out); err != nil {
			return fmt.Errorf("a frame of LZ4: %w", err)
		}
		return nil
	}
	return unpackBlock(out, in)
}

func unpackBlock(out, in []byte) error {
	if len(out) == 0 {
		return nil
	}
	n, err := lz4.UncompressBlock(in, out)
	if err == nil && n != len(out) {
		err = fmt.Errorf("%d bytes came out of LZ4 in place of %d", n, len(out))
	}
	return err
}

// unpackHadoop unpacks blocks that each have before them, in 4 bytes with the high one first, how many bytes come out of them and how many they are.
func unpackHadoop(out, in []byte) error {
	for len(out) > 0 {
		if len(in) < 8 {
			return io.ErrUnexpectedEOF
		}
		n, packed := int64(binary.BigEndian.Uint32(in)), int64(binary.BigEndian.Uint32(in[4:]))
		in = in[8:]
		if n > int64(len(out)) || n == 0 || packed > int64(len(in)) {
			return fmt.Errorf("a block of %d bytes for %d", packed, n)
		}
		if err := unpackBlock(out[:n], in[:packed]); err != nil {
			return err
		}
		out, in = out[n:], in[packed:]
	}
	return nil
}
