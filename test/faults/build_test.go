//go:build linux

package faults

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const program = "github.com/millrace/millrace/cmd/millrace"

// build makes the binary.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "millrace")
	return path, goBuild("-o", path, program)
}

// skewVariable is the seconds by which the clock of a binary of buildSkewed is ahead.
const skewVariable = "MILLRACE_TEST_CLOCK_SKEW"

// buildSkewed makes a binary whose clock can be wrong: Linux has one clock for all processes, and Go's programs read it without a library that could be
// replaced. So one line of the standard library's time.Now is another there; everything of Millrace and of the NATS server reads the clock by it.
func buildSkewed(dir string) (string, error) {
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	original := filepath.Join(strings.TrimSpace(string(root)), "src", "time", "time.go")
	text, err := os.ReadFile(original)
	if err != nil {
		return "", err
	}
	const reads = "sec, nsec, mono := runtimeNow()\n"
	if !strings.Contains(string(text), reads) {
		return "", errors.New("time.Now does not read the clock as it did: buildSkewed has to follow " + original)
	}
	changed := strings.ReplaceAll(string(text), reads, reads+"\tsec += clockSkew\n")
	const more = `package time

import "syscall"

var clockSkew = func() (n int64) {
	s, _ := syscall.Getenv("` + skewVariable + `")
	sign := int64(1)
	for i := range len(s) {
		if s[i] == '-' {
			sign = -1
		} else {
			n = 10*n + int64(s[i]-'0')
		}
	}
	return sign * n
}()
`
	overlay := map[string]map[string]string{"Replace": {
		original: filepath.Join(dir, "time.go"),
		filepath.Join(filepath.Dir(original), "clock_skew.go"): filepath.Join(dir, "clock_skew.go"),
	}}
	list, err := json.Marshal(overlay)
	err = errors.Join(err,
		os.WriteFile(filepath.Join(dir, "time.go"), []byte(changed), 0o600),
		os.WriteFile(filepath.Join(dir, "clock_skew.go"), []byte(more), 0o600),
		os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600))
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "millrace-skewed")
	return path, goBuild("-overlay", filepath.Join(dir, "overlay.json"), "-o", path, program)
}

// goBuild gives way to everything else: the first binary of a changed standard library takes minutes, in which other faults are made.
func goBuild(args ...string) error {
	if out, err := exec.Command("nice", append([]string{"-n", "19", "go", "build"}, args...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}
