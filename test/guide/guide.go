// Package guide does what the guides of docs/guide say, as written, and holds what comes back against what they show. Its test runs with
// the build tag guides: it needs the port that the guides use.
//
// A fenced block of language sh is a list of commands, run by bash in an empty folder with millrace in PATH and an empty HOME. "sh fails" says that it
// ends with an error. A block of language text after it is what was printed: its lines appear in that order, […] in a line stands for anything, and a line
// that is […] alone is passed over. A question that changes nothing is asked again for a while where the answer is another one: results come after their
// entries. A block whose one command ends in & runs on until the end; one that starts a node is waited for. "# Ctrl-C" ends the node that was started last. A yaml block
// that begins with "# file: NAME" is written to that file, and so is every block after a line that is the file's name in backquotes and a colon.
package guide

import (
	"bufio"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// block is a fenced block.
type block struct {
	kind string
	file string // that it is written to
	line int    // of its first line
	text string
}

var (
	fileComment = regexp.MustCompile(`^# file: (\S+)$`)
	fileLine    = regexp.MustCompile("^`([^`\\s]+)`:$")
)

// read returns the blocks of a guide.
func read(r io.Reader) ([]block, error) {
	var out []block
	var open *block
	last := "" // that is not blank
	in := bufio.NewScanner(r)
	for n := 1; in.Scan(); n++ {
		line := in.Text()
		switch fence, is := strings.CutPrefix(line, "```"); {
		case is && open == nil:
			open = &block{kind: strings.TrimSpace(fence), line: n + 1}
			if m := fileLine.FindStringSubmatch(last); m != nil {
				open.file = m[1]
			}
		case is:
			if m := fileComment.FindStringSubmatch(first(open.text)); m != nil {
				open.file = m[1]
			}
			out = append(out, *open)
			open = nil
		case open != nil:
			open.text += line + "\n"
		}
		if strings.TrimSpace(line) != "" {
			last = line
		}
	}
	if err := in.Err(); err != nil {
		return nil, fmt.Errorf("read the guide: %w", err)
	}
	if open != nil {
		return nil, fmt.Errorf("line %d: the block does not end", open.line)
	}
	return out, nil
}

func first(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// anything is what stands for any text in what a guide shows.
const anything = "[…]"

// missing returns the first line of what is shown that the output does not have in its place.
func missing(want, output string) (string, bool) {
	lines := strings.Split(output, "\n")
	for _, w := range strings.Split(strings.TrimRight(want, "\n"), "\n") {
		if w = strings.TrimSpace(w); w == anything || w == "" {
			continue
		}
		parts := strings.Split(w, anything)
		for i := range parts {
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		is := regexp.MustCompile("^" + strings.Join(parts, ".*") + "$")
		found := false
		for len(lines) > 0 && !found {
			found = is.MatchString(strings.TrimSpace(strings.TrimRight(lines[0], "\r")))
			lines = lines[1:]
		}
		if !found {
			return w, true
		}
	}
	return "", false
}

var (
	asking = regexp.MustCompile(`^(curl|millrace (cache|pipeline|model|store|engine) (get|ls|show|stats|versions|verify)|millrace cache get)\b`)
	doing  = regexp.MustCompile(`\s(-T|-X|-d|-F|--data\S*|--upload-file|--request|--json|--form)\b`)
)

// asks reports whether a block only asks, so that it may be asked again.
func asks(text string) bool {
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if !asking.MatchString(line) || strings.HasPrefix(line, "curl") && doing.MatchString(line) {
			return false
		}
	}
	return true
}
