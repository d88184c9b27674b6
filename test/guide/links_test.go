package guide

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

var (
	// A link or picture of Markdown, without a title: [text](target).
	linkTarget = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	codeSpan   = regexp.MustCompile("`[^`]*`")
)

// TestLinks follows every link of the documents that stays within the repository, its anchor too.
func TestLinks(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	err = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && (e.Name() == "testdata" || e.Name() == "node_modules" || path != root && strings.HasPrefix(e.Name(), ".")) {
			return filepath.SkipDir
		}
		if e.IsDir() || filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		for _, target := range links(string(text)) {
			checked++
			if err := follows(path, target); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 30 {
		t.Errorf("only %d links were found", checked)
	}
}

// links returns the targets of a document's links that stay within the repository. What is code is none.
func links(text string) (out []string) {
	for _, line := range prose(text) {
		for _, m := range linkTarget.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, ""), -1) {
			if !strings.Contains(m[1], "://") && !strings.HasPrefix(m[1], "mailto:") {
				out = append(out, m[1])
			}
		}
	}
	return out
}

// prose returns the lines of a document that are in no fenced block.
func prose(text string) (out []string) {
	fenced := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
		} else if !fenced {
			out = append(out, strings.TrimRight(line, "\r\n"))
		}
	}
	return out
}

// follows returns an error where a document's link leads to nothing.
func follows(from, target string) error {
	file, anchor, _ := strings.Cut(target, "#")
	path := from
	if file != "" {
		path = filepath.Join(filepath.Dir(from), file)
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("%s: there is no such file", target)
	}
	if anchor == "" || filepath.Ext(path) != ".md" {
		return nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if !anchors(string(text))[anchor] {
		return fmt.Errorf("%s: no heading has this anchor", target)
	}
	return nil
}

// anchors are those of a document's headings, as GitHub makes them.
func anchors(text string) map[string]bool {
	out := map[string]bool{}
	for _, line := range prose(text) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		slug := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title))
		one := slug
		for n := 1; out[one]; n++ {
			one = fmt.Sprintf("%s-%d", slug, n)
		}
		out[one] = true
	}
	return out
}

func TestFollows(t *testing.T) {
	dir := t.TempDir()
	doc := filepath.Join(dir, "a.md")
	const text = "# A `guide`: one, two\n\n## Same\n\n## Same\n\n```sh\n# no heading\n[no](link.md)\n```\n\n[a](#same-1), ![b](b.png) and `[c](c.md)`, [d](https://example.com)\n"
	if err := os.WriteFile(doc, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(links(text), " "); got != "#same-1 b.png" {
		t.Errorf("links are %q", got)
	}
	for target, want := range map[string]bool{
		"#a-guide-one-two": true, "#same": true, "a.md#same-1": true, "a.md": true, "#same-2": false, "b.png": false, "#no-heading": false, "b.md#same": false,
	} {
		if err := follows(doc, target); err == nil != want {
			t.Errorf("%s: %v", target, err)
		}
	}
}
