package media

import (
	"path"
	"slices"
	"strings"
)

// leftovers are names, in lower case, that systems and programs leave in the folders that they show or copy.
var leftovers = []string{
	"__macosx", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information",
	"recycler", "lost+found", "@eadir", "#recycle", "icon\r", "__pycache__", "network trash folder", "temporary items",
}

// leftoverEnds are ends of names, in lower case, of backups and of files in progress.
var leftoverEnds = []string{"~", ".bak", ".tmp", ".temp", ".swp", ".part", ".partial", ".crdownload"}

// Leftover reports whether a file or folder, by its path with slashes, is one that a system or an editor leaves behind and nobody means: .DS_Store
// and ._name of macOS and what is in __MACOSX, Thumbs.db and desktop.ini of Windows, backups such as name~, and every other hidden name.
func Leftover(name string) bool {
	for part := range strings.SplitSeq(strings.TrimSuffix(name, "/"), "/") {
		if part == "." || part == ".." {
			continue
		}
		low := strings.ToLower(part)
		if strings.HasPrefix(low, ".") || strings.HasPrefix(low, "~$") || slices.Contains(leftovers, low) {
			return true
		}
	}
	low := strings.ToLower(path.Base(name))
	return len(low) > 2 && strings.HasPrefix(low, "#") && strings.HasSuffix(low, "#") ||
		slices.ContainsFunc(leftoverEnds, func(end string) bool { return strings.HasSuffix(low, end) })
}
