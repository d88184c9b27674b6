package app_test

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/millrace/millrace/internal/app"
)

// paths reads the paths of the node's OpenAPI document, with the methods of each and the actions that it names for them.
func paths(t *testing.T, url string) map[string]map[string]any {
	t.Helper()
	status, body := send(t, "GET", url+"openapi.yaml", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	var d struct {
		Paths map[string]map[string]any `yaml:"paths"`
	}
	if err := yaml.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	return d.Paths
}

// words are the texts in the sources of what answers HTTP that may be a part of a path: whatever a handler compares a path with is among them.
func words(t *testing.T) []string {
	t.Helper()
	part := regexp.MustCompile(`^[/:]?[a-z0-9][a-z0-9._-]*(/[a-z0-9._-]+)*/?$`)
	all := map[string]bool{}
	for _, dir := range []string{"../../serve/rest", "../../serve/oip", "../../serve/admin"} {
		files, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", dir, len(files), err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n.(type) {
				case *ast.ImportSpec, *ast.Field:
					return false
				}
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if s, err := strconv.Unquote(lit.Value); err == nil && part.MatchString(s) {
						all[s] = true
					}
				}
				return true
			})
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// code is what an answer says is wrong.
func code(t *testing.T, body string) string {
	t.Helper()
	var e struct{ Code string }
	if body != "" && json.Unmarshal([]byte(body), &e) != nil {
		return ""
	}
	return e.Code
}

// The document has what a whole node serves and nothing else. Of what the handlers know no list is kept, so that every path that can be made of the
// texts in their sources is asked for, with a method that nothing has: 405 says that there is such a path.
func TestDocumentHasEveryRoute(t *testing.T) {
	url := run(t, func(c *app.Config) {
		c.HTTP.Debug = true
		c.Models = map[string]app.ModelConfig{"m": {Path: app.Builtin + "digits"}}
		c.Pipelines = map[string]app.PipelineConfig{"p": {From: "c", Model: "m", To: "d"}}
	})
	documented := paths(t, url)
	names := strings.NewReplacer("{cache}", "c", "{key}", "k", "{model}", "m", "{version}", "1", "{profile}", "goroutine", "{pipeline}", "p")
	var patterns []*regexp.Regexp
	for template := range documented {
		pattern := regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllStringFunc(regexp.QuoteMeta(template), func(name string) string {
			if name == `\{key\}` || name == `\{profile\}` {
				return ".*"
			}
			return "[^/]*"
		})
		patterns = append(patterns, regexp.MustCompile("^"+pattern+"/?$"))
	}
	known := func(path string) bool {
		return slices.ContainsFunc(patterns, func(p *regexp.Regexp) bool { return p.MatchString(path) })
	}
	bases := map[string]bool{"": true}
	for template := range documented {
		for path := names.Replace(template); path != ""; path = path[:strings.LastIndexByte(path, '/')] {
			bases[path] = true
		}
	}
	found, asked, parts := 0, 0, words(t)
	for base := range bases {
		for _, word := range parts {
			if !strings.HasPrefix(word, "/") && !strings.HasPrefix(word, ":") {
				word = "/" + word
			}
			path := base + word
			if strings.HasPrefix(path, ":") || base != "" && strings.HasPrefix(word, "/rest/") || strings.HasPrefix(base, "/rest/v2/caches/c/") || strings.HasPrefix(base, "/debug/pprof/") {
				continue // what follows is a key or a profile, whatever it is
			}
			asked++
			status, body := send(t, "LOCK", strings.TrimSuffix(url, "/")+path, nil)
			if status == http.StatusMethodNotAllowed && code(t, body) == "method_not_allowed" {
				found++
				if !known(path) {
					t.Errorf("%s is served and not in the document", path)
				}
			}
		}
	}
	if found < len(documented)/2 || asked < 1000 {
		t.Errorf("only %d of %d paths were found", found, asked)
	}
	for template, item := range documented {
		path := strings.TrimSuffix(url, "/") + names.Replace(template)
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "LOCK"} {
			if _, is := item[strings.ToLower(method)]; is {
				continue // serve/rest asks for each
			}
			if status, body := send(t, method, path, nil); status != http.StatusMethodNotAllowed {
				t.Errorf("%s %s is not in the document, and answers %d %s", method, template, status, body)
			}
		}
		if status, body := send(t, "LOCK", path, nil); status != http.StatusMethodNotAllowed || code(t, body) != "method_not_allowed" {
			t.Errorf("%s is in the document, and nothing answers there: %d %s", template, status, body)
		}
	}
	documentHasActions(t, strings.TrimSuffix(url, "/"), documented, names, parts)
}

var requestID = regexp.MustCompile(`"request_id":"[^"]*"`)

// documentHasActions holds the values of the parameter action against what the handlers take.
func documentHasActions(t *testing.T, url string, documented map[string]map[string]any, names *strings.Replacer, parts []string) {
	t.Helper()
	const nothing = "no-such-action"
	for template, item := range documented {
		for method, op := range item {
			op, ok := op.(map[string]any)
			if !ok || method == "delete" || method == "head" || method == "parameters" {
				continue
			}
			var actions []string
			params, _ := op["parameters"].([]any)
			for _, p := range params {
				if p := p.(map[string]any); p["name"] == "action" {
					actions = strings.Fields(strings.Trim(fmt.Sprint(p["schema"].(map[string]any)["enum"]), "[]"))
				}
			}
			if actions == nil {
				continue
			}
			ask := func(action string) (status int, body string) {
				status, body = send(t, strings.ToUpper(method), url+names.Replace(template)+"?limit=x&lastEventId=x&action="+action, []byte("?"))
				return status, requestID.ReplaceAllString(strings.ReplaceAll(body, `\"`+action+`\"`, nothing), "")
			}
			_, unknown := ask(nothing)
			for _, word := range parts {
				if strings.ContainsAny(word, "/:") {
					continue
				}
				if _, body := ask(word); (body != unknown) != slices.Contains(actions, word) {
					t.Errorf("%s %s?action=%s: in the document: %v; it answers %.200s", method, template, word, slices.Contains(actions, word), body)
				}
			}
		}
	}
}
