package cuda

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Loader finds shared libraries where the dynamic loader of Linux does, without loading them: in LD_LIBRARY_PATH, then in its cache (which ldconfig makes of
// /etc/ld.so.conf), then in the system's folders. What it leaves out are folders for particular processors (glibc-hwcaps) and RPATHs, which nothing here has. The zero value
// has the system's places and no LD_LIBRARY_PATH.
type Loader struct {
	// Path is the value of LD_LIBRARY_PATH.
	Path string
	// Cache is the cache's file; /etc/ld.so.cache if empty.
	Cache string
	// Machine is what the library is for.
	Machine elf.Machine
	cached  map[string][]string
}

// systemDirs are the folders that loaders of distributions look in without being told.
var systemDirs = map[elf.Machine][]string{
	elf.EM_X86_64:  {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"},
	elf.EM_AARCH64: {"/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"},
}

// Find returns the path of the library of that name (its SONAME), or "" where the loader would find none.
func (l *Loader) Find(name string) (string, error) {
	if l.cached == nil {
		cache := l.Cache
		if cache == "" {
			cache = "/etc/ld.so.cache"
		}
		var err error
		if l.cached, err = readCache(cache); err != nil {
			return "", err
		}
	}
	var candidates []string
	if l.Path != "" {
		for _, dir := range strings.FieldsFunc(l.Path, func(r rune) bool { return r == ':' || r == ';' }) {
			candidates = append(candidates, filepath.Join(dir, name))
		}
	}
	candidates = append(candidates, l.cached[name]...)
	for _, dir := range systemDirs[l.Machine] {
		candidates = append(candidates, filepath.Join(dir, name))
	}
	for _, path := range candidates {
		if l.fits(path) {
			return path, nil
		}
	}
	return "", nil
}

// fits reports whether path is a library for the machine.
func (l *Loader) fits(path string) bool {
	f, err := elf.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return f.Type == elf.ET_DYN && f.Machine == l.Machine
}

// The loader's cache in the form that glibc writes since 2.2 (elf/cache.c, sysdeps/generic/dl-cache.h): a magic of 20 bytes, the number of entries, and entries of 24
// bytes whose second and third number say where in the file the name and the path are. An older table may stand before it.
const (
	cacheMagic  = "glibc-ld.so.cache1.1"
	cacheHeader = 48
	cacheEntry  = 24
	maxCache    = 64 << 20
)

// readCache returns the paths by name. A system without a cache has none.
func readCache(path string) (map[string][]string, error) {
	all := map[string][]string{}
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return all, nil
	}
	if err == nil && info.Size() > maxCache {
		err = fmt.Errorf("%d bytes are more than the limit of %d", info.Size(), maxCache)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the loader's cache %s: %w", path, err)
	}
	start := bytes.Index(data, []byte(cacheMagic))
	if start < 0 || len(data)-start < cacheHeader {
		return nil, fmt.Errorf("read the loader's cache %s: it has no table of the form %s", path, cacheMagic)
	}
	data = data[start:]
	text := func(offset uint32) (string, bool) {
		if int(offset) >= len(data) {
			return "", false
		}
		end := bytes.IndexByte(data[offset:], 0)
		if end < 0 {
			return "", false
		}
		return string(data[offset : int(offset)+end]), true
	}
	n := int(binary.NativeEndian.Uint32(data[len(cacheMagic):]))
	if n > (len(data)-cacheHeader)/cacheEntry {
		return nil, fmt.Errorf("read the loader's cache %s: it names %d libraries and has room for fewer", path, n)
	}
	for i := range n {
		entry := data[cacheHeader+i*cacheEntry:]
		name, ok := text(binary.NativeEndian.Uint32(entry[4:]))
		value, ok2 := text(binary.NativeEndian.Uint32(entry[8:]))
		if !ok || !ok2 {
			return nil, fmt.Errorf("read the loader's cache %s: entry %d lies outside of it", path, i)
		}
		all[name] = append(all[name], value)
	}
	return all, nil
}
