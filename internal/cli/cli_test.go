package cli_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/cli"
)

// Every command says what it does, shows an example that begins with its own words, and has no flag without a meaning.
func TestEveryCommandHasHelp(t *testing.T) {
	commands := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		commands++
		path := cmd.CommandPath()
		if cmd.Short == "" || cmd.RunE == nil && cmd.Run == nil {
			t.Errorf("%s: has no description, or does nothing", path)
		}
		if cmd.Name() != "help" && !strings.Contains(cmd.Example, path) {
			t.Errorf("%s: has no example of its own", path)
		}
		for _, flag := range strings.Split(cmd.LocalFlags().FlagUsages(), "\n") {
			if fields := strings.Fields(flag); len(fields) == 1 {
				t.Errorf("%s: flag %s has no meaning", path, fields[0])
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(cli.Root())
	if commands < 30 {
		t.Errorf("only %d commands were looked at", commands)
	}
}

// A word that no command has is an error at every level, which names what there is; so it is where help is asked for. A command that takes no
// arguments refuses it too.
func TestUnknownCommands(t *testing.T) {
	const word = "no-such-command"
	groups := 0
	refused := func(args []string, parts ...string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		code := cli.Main(t.Context(), args, cli.Process{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
		if code != 2 || stdout.Len() > 0 {
			t.Errorf("%q: code %d with %d bytes on stdout", args, code, stdout.Len())
		}
		for _, part := range append(parts, word) {
			if !strings.Contains(stderr.String(), part) {
				t.Errorf("%q does not say %q: %s", args, part, stderr.String())
			}
		}
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		refused(slices.Concat([]string{"help"}, path, []string{word}))
		if !cmd.HasSubCommands() {
			return
		}
		groups++
		var names []string
		for _, sub := range cmd.Commands() {
			walk(sub)
			names = append(names, sub.Name())
		}
		refused(slices.Concat(path, []string{word}), names...)
		refused(slices.Concat(path, []string{word, "--help"}), names...)
		refused(slices.Concat(path, []string{word, "more", "--flag"}), names...)
	}
	walk(cli.Root())
	if groups < 6 {
		t.Errorf("only %d groups of commands were looked at", groups)
	}
}

func TestExitCodes(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name   string
		ctx    context.Context
		args   []string
		code   int
		stderr string
	}{
		{"success", t.Context(), []string{"version"}, 0, ""},
		{"help", t.Context(), []string{"cache", "put", "--help"}, 0, ""},
		{"no command", t.Context(), nil, 2, "a command is missing"},
		{"unknown command", t.Context(), []string{"servee"}, 2, "did you mean serve?"},
		{"unknown command of a command", t.Context(), []string{"cache", "foo"}, 2, `no command "foo" of millrace cache, which has clear, create, `},
		{"unknown command with flags", t.Context(), []string{"pipeline", "--server", "127.0.0.1:1", "lss"}, 2, "did you mean ls?"},
		{"unknown command with arguments", t.Context(), []string{"model", "foo", "bar"}, 2, "which has check, "},
		{"unknown command with a flag and help", t.Context(), []string{"store", "-c", "x.yaml", "lss", "--help"}, 2, "did you mean ls?"},
		{"unknown flag before a command", t.Context(), []string{"--chek", "serve"}, 2, "unknown flag: --chek"},
		{"help of an unknown command", t.Context(), []string{"help", "foo"}, 2, "which has apply, backup, bench, "},
		{"help of an unknown command of a command", t.Context(), []string{"help", "cache", "foo"}, 2, `no command "foo" of millrace cache`},
		{"help of what has no commands", t.Context(), []string{"help", "version", "foo"}, 2, "millrace version has no commands"},
		{"help of a command", t.Context(), []string{"help", "cache", "put"}, 0, ""},
		{"unknown flag", t.Context(), []string{"serve", "--chek"}, 2, "unknown flag: --chek"},
		{"bad flag value", t.Context(), []string{"cache", "create", "c", "--max-bytes", "big"}, 2, "is not a size"},
		{"missing argument", t.Context(), []string{"cache", "get", "c"}, 2, "KEY is missing"},
		{"bad address", t.Context(), []string{"cache", "ls", "--server", "ftp://x"}, 2, "is not an address"},
		{"bad configuration", t.Context(), []string{"serve", "--check", "--http", "nowhere"}, 2, "http.listen"},
		{"failed", t.Context(), []string{"model", "inspect", "/no/such/file"}, 1, "/no/such/file"},
		{"interrupted", ended, []string{"cache", "ls", "--server", "127.0.0.1:1"}, 1, "interrupted"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := cli.Main(tc.ctx, tc.args, cli.Process{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
			if code != tc.code || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("code %d, want %d; stderr:\n%s", code, tc.code, stderr.String())
			}
			if (code == 0) != (stdout.Len() > 0) || (code == 0) != (stderr.Len() == 0) {
				t.Errorf("code %d with %d bytes on stdout and %d on stderr", code, stdout.Len(), stderr.Len())
			}
		})
	}
}
