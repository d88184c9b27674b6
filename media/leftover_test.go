package media_test

import (
	"testing"

	"github.com/millrace/millrace/media"
)

func TestLeftover(t *testing.T) {
	for _, name := range []string{
		"._1.png", ".DS_Store", "__MACOSX", "__MACOSX/a/._x.npy", "a/__MACOSX/", "Thumbs.db", "THUMBS.DB", "desktop.ini", "Icon\r", ".ipynb_checkpoints",
		".ipynb_checkpoints/1-checkpoint.png", "1.png~", "~$labels.csv", "#1.png#", "1.png.bak", ".hidden/1.png", "@eaDir/1.png", "$RECYCLE.BIN", ".git",
		"System Volume Information", "lost+found", "1.png.part", ".nfs000000001",
	} {
		if !media.Leftover(name) {
			t.Errorf("%q is taken for a file that somebody means", name)
		}
	}
	for _, name := range []string{
		"1.png", "a/1.png", "./1.png", "../a/1.png", "MACOSX", "Thumbs.png", "_1.png", "1~2.png", "#1", "#1.png", "desktop.png", "a.b.c", "lost", "~1.png", "tmp", "bak", "..",
	} {
		if media.Leftover(name) {
			t.Errorf("%q is taken for a leftover", name)
		}
	}
}
