// Package sharedtest finds the test data that is too large for the repository: data sets, recordings, nets of other frameworks.
// Reading it is left to the tests.
//
// The data is a folder beside the repository, ../shared, or the one that MILLRACE_SHARED names. Nobody has to have it: a test
// that needs it skips where it is not there. Where it is there, all of it has to be: a part that is missing fails its tests.
package sharedtest

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

// Variable is the environment variable that names the folder.
const Variable = "MILLRACE_SHARED"

// parts are the folders under data/ by which a folder beside the repository is known to be ours.
var parts = []string{"mnist", "oip", "pytorch"}

// Data returns the path of a file or folder of the shared data, such as Data(t, "mnist"). It skips the test where there is no
// shared data, and fails it where this one part of it is missing.
func Data(tb testing.TB, elem ...string) string {
	tb.Helper()
	wd, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	path, skip, err := find(os.Getenv(Variable), wd, elem...)
	switch {
	case err != nil:
		tb.Fatal(err)
	case skip != "":
		tb.Skip(skip)
	}
	return path
}

// find returns the path of elem under the folder that is named, or that stands beside the repository around wd. It returns a
// reason to skip where there is no such folder.
func find(named, wd string, elem ...string) (path, skip string, err error) {
	root := named
	if root == "" {
		repository, err := top(wd)
		if err != nil {
			return "", "", err
		}
		root = filepath.Join(filepath.Dir(repository), "shared")
		if !slices.ContainsFunc(parts, func(part string) bool { return exists(filepath.Join(root, "data", part)) }) {
			return "", fmt.Sprintf("the shared test data is not here: it would be in %s, or where %s says", root, Variable), nil
		}
	}
	path = filepath.Join(append([]string{root, "data"}, elem...)...)
	if _, err := os.Stat(path); err != nil {
		if named != "" {
			return "", "", fmt.Errorf("%s is %q, and a part of the shared test data is not there: %w", Variable, named, err)
		}
		return "", "", fmt.Errorf("the shared test data in %s lacks a part: %w", root, err)
	}
	return path, "", nil
}

// module is the line by which the repository's root is known; modules below it, as bench, have longer names.
var module = regexp.MustCompile(`(?m)^module github\.com/millrace/millrace\s*$`)

// top returns the repository's root.
func top(dir string) (string, error) {
	for at := dir; ; at = filepath.Dir(at) {
		if text, err := os.ReadFile(filepath.Join(at, "go.mod")); err == nil && module.Match(text) {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("no go.mod of Millrace in %s or above it", dir)
		}
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
