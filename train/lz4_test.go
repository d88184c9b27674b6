package train_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"

	"github.com/millrace/millrace/train"
)

// pack writes a file that is not packed anew, with its pages packed in some way.
func pack(tb testing.TB, data []byte, codec format.CompressionCodec, do func(testing.TB, []byte) []byte) []byte {
	tb.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		tb.Fatal(err)
	}
	meta := f.Metadata()
	out := []byte("PAR1")
	for i := range meta.RowGroups {
		for j := range meta.RowGroups[i].Columns {
			c := &meta.RowGroups[i].Columns[j]
			m := &c.MetaData
			start := m.DataPageOffset
			if m.DictionaryPageOffset > 0 {
				start, m.DictionaryPageOffset = m.DictionaryPageOffset, int64(len(out))
			}
			pages, begin := data[start:start+m.TotalCompressedSize], len(out)
			seen := false
			for len(pages) > 0 {
				var h format.PageHeader
				in := new(thrift.CompactProtocol).NewReaderFromBytes(pages)
				if err := thrift.NewDecoder(in).Decode(&h); err != nil {
					tb.Fatal(err)
				}
				page := pages[in.BytesRead():][:h.CompressedPageSize]
				pages = pages[in.BytesRead()+len(page):]
				if h.Type != format.DictionaryPage && !seen {
					seen, m.DataPageOffset = true, int64(len(out))
				}
				levels := 0
				if h.DataPageHeaderV2.Valid {
					levels = int(h.DataPageHeaderV2.V.DefinitionLevelsByteLength + h.DataPageHeaderV2.V.RepetitionLevelsByteLength)
					h.DataPageHeaderV2.V.IsCompressed = thrift.New(true)
				}
				packed := append(bytes.Clone(page[:levels]), do(tb, page[levels:])...)
				h.CompressedPageSize, h.CRC = int32(len(packed)), int32(crc32.ChecksumIEEE(packed))
				header, err := thrift.Marshal(new(thrift.CompactProtocol), &h)
				if err != nil {
					tb.Fatal(err)
				}
				out = append(append(out, header...), packed...)
			}
			m.Codec, m.TotalCompressedSize = codec, int64(len(out)-begin)
			c.OffsetIndexOffset, c.ColumnIndexOffset, m.BloomFilterOffset = 0, 0, 0
		}
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), meta)
	if err != nil {
		tb.Fatal(err)
	}
	return append(binary.LittleEndian.AppendUint32(append(out, footer...), uint32(len(footer))), "PAR1"...)
}

func block(tb testing.TB, b []byte) []byte {
	out := make([]byte, lz4.CompressBlockBound(len(b)))
	n, err := new(lz4.Compressor).CompressBlock(b, out)
	if err != nil || n == 0 && len(b) > 0 {
		tb.Fatalf("%d bytes: %d, %v", len(b), n, err)
	}
	return out[:n]
}

// hadoop packs blocks of at most 100 bytes with both sizes before them.
func hadoop(tb testing.TB, b []byte) (out []byte) {
	for len(b) > 0 {
		n := min(100, len(b))
		packed := block(tb, b[:n])
		out = binary.BigEndian.AppendUint32(out, uint32(n))
		out = binary.BigEndian.AppendUint32(out, uint32(len(packed)))
		out, b = append(out, packed...), b[n:]
	}
	return out
}

func frame(tb testing.TB, b []byte) []byte {
	var out bytes.Buffer
	w := lz4.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		tb.Fatal(err)
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return out.Bytes()
}

type vibration struct {
	ID    int64    `parquet:"id"`
	Noise float64  `parquet:"noise"`
	Same  float64  `parquet:"same"`
	Load  *float32 `parquet:"load,optional"`
	State string   `parquet:"state,dict"`
	Kind  string   `parquet:"kind"`
	Tags  []string `parquet:"tags,list"`
}

func vibrations() []vibration {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([]vibration, 2000)
	for i := range rows {
		load := random.Float32()
		rows[i] = vibration{int64(i), random.Float64(), 7, &load, []string{"open", "shut"}[i%2], []string{"a", "b", "c"}[i%3], []string{"x"}}
		if i%11 == 5 {
			rows[i].Load = nil
		}
	}
	return rows
}

// LZ4 is read in all ways in which it is written: the newer codec of bare blocks, and the older one in three framings, in pages of both versions.
func TestParquetLZ4(t *testing.T) {
	o := train.Options{Ignore: []string{"id", "tags"}, Label: "kind", Missing: "mean"}
	rows := vibrations()
	want, err := readParquet(parquetOf(t, rows), o)
	if err != nil {
		t.Fatal(err)
	}
	same := func(name string, data []byte) {
		t.Helper()
		got, err := readParquet(data, o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(rowsOf(t, want), rowsOf(t, got)); diff != "" {
			t.Errorf("%s: %.2000s", name, diff)
		}
	}
	for version, options := range map[string][]parquet.WriterOption{
		" 1":              {parquet.DataPageVersion(1), parquet.PageBufferSize(512), parquet.MaxRowsPerRowGroup(700)},
		" 2":              {parquet.DataPageVersion(2), parquet.PageBufferSize(512), parquet.MaxRowsPerRowGroup(700)},
		" 2, large pages": {parquet.DataPageVersion(2)},
	} {
		plain := parquetOf(t, rows, options...)
		same("raw, version"+version, pack(t, plain, format.Lz4Raw, block))
		same("Hadoop, version"+version, pack(t, plain, format.Lz4, hadoop))
		same("frames, version"+version, pack(t, plain, format.Lz4, frame))
		same("bare, version"+version, pack(t, plain, format.Lz4, block))
		same("the library's own, version"+version, parquetOf(t, rows, append(options, parquet.Compression(&parquet.Lz4Raw))...))
	}
}

// A codec that is not read is named, with what to do; and damaged pages end in an error.
func TestParquetCodecs(t *testing.T) {
	o := train.Options{Ignore: []string{"id", "tags"}, Label: "kind", Missing: "mean"}
	plain := parquetOf(t, vibrations())
	_, err := readParquet(pack(t, plain, format.LZO, block), o)
	if !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), `column "noise" is packed by LZO, which is not read: write the file with zstd, snappy or gzip`) {
		t.Errorf("LZO: %v", err)
	}
	bad := func(name string, data []byte, want string) {
		t.Helper()
		if _, err := readParquet(data, o); !errors.Is(err, train.ErrData) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	raw := pack(t, plain, format.Lz4Raw, block)
	at := bytes.Index(raw, block(t, []byte("\x04\x00\x00\x00open\x04\x00\x00\x00shut"))) // the dictionary
	if at < 0 {
		t.Fatal("there is no dictionary")
	}
	flipped := bytes.Clone(raw)
	flipped[at+2] ^= 0xff
	bad("a flipped byte", flipped, `the file is damaged: the checksum of a page is wrong`)
	bad("too little", pack(t, plain, format.Lz4Raw, func(tb testing.TB, b []byte) []byte { return block(tb, b[:len(b)/2]) }), "the file is damaged")
	bad("no LZ4", pack(t, plain, format.Lz4, func(_ testing.TB, b []byte) []byte { return bytes.Repeat([]byte{0xff}, len(b)) }), "the file is damaged")
	bad("nothing", pack(t, plain, format.Lz4Raw, func(testing.TB, []byte) []byte { return nil }), "the file is damaged")
}
