package onnxruntime

import "context"

// Doubtful are the operators that Doubts knows.
var Doubtful = doubtful

// InstallFrom installs from archives that have files by member, each with the checksum that is given for it.
func InstallFrom(ctx context.Context, wanted []Archive, from []string, dir string) error {
	all := make([]archive, len(wanted))
	for i, a := range wanted {
		all[i] = archive{name: a.Name, version: "1.0.0", integrity: a.Integrity, files: a.Files}
	}
	return install(ctx, all, from, dir)
}

// Archive is an archive that Install reads.
type Archive struct {
	Name, Integrity string
	Files           map[string]string
}

// Checksum is an archive's.
var Checksum = checksum
