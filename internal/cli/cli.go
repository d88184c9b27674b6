// Package cli is the millrace command: flags, the environment and files become calls of the packages below, and what
// they answer becomes lines, JSON and exit codes. What a node is made of is left to package app.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/millrace/millrace/fault"
)

// A Process is what a command has of the process that it runs in.
type Process struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Environ        []string // as of os.Environ
}

// Main runs the command that args (without the program's name) ask for until it is done or ctx ends, and returns the
// exit code.
func Main(ctx context.Context, args []string, p Process) int {
	c := &command{Process: p}
	root := c.root()
	root.SetArgs(args)
	err := unknownCommand(root, args)
	if err == nil {
		_, err = root.ExecuteContextC(ctx)
	}
	code := exitCode(err, c.started)
	if code != exitOK {
		report(p.Stderr, err, code)
	}
	return code
}

// command is what all commands share.
type command struct {
	Process
	started bool // the arguments were understood, and the command itself has begun
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "A real-time machine-learning pipeline in one program",
		Long: `Millrace runs data through a neural network the moment it arrives: an entry that is put into
a cache of the data grid goes through a model, and the result is an entry that listeners see at once.`,
		Example:           "  millrace demo\n  millrace serve -c millrace.yaml",
		SilenceErrors:     true,
		SilenceUsage:      true,
		PersistentPreRun:  func(*cobra.Command, []string) { c.started = true },
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetIn(c.Stdin)
	root.SetOut(c.Stdout)
	root.SetErr(c.Stderr)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(flagError(err)) })
	root.AddGroup(
		&cobra.Group{ID: "node", Title: "Run a node:"},
		&cobra.Group{ID: "client", Title: "Ask a running node:"},
		&cobra.Group{ID: "local", Title: "Models and engines on this machine:"},
		&cobra.Group{ID: "other", Title: "Other:"},
	)
	root.SetHelpCommand(help())
	root.AddCommand(c.demo(), c.serve(), c.cache(), c.pipeline(), c.cluster(), c.apply(), c.store(), c.train(), c.runs(), c.data(), c.model(), c.engine(), c.bench(), c.doctor(), c.backup(), c.restore(), c.completion(root), c.version())
	groups(root)
	return root
}

// groups makes groups of cmd and of what is below it, as far as they have commands.
func groups(cmd *cobra.Command) {
	if !cmd.HasSubCommands() {
		return
	}
	group(cmd)
	for _, sub := range cmd.Commands() {
		groups(sub)
	}
}

// group makes a command that has only subcommands refuse to be called without one, or with one that is not there.
func group(cmd *cobra.Command) {
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			cmd.SetOut(cmd.ErrOrStderr())
			if err := cmd.Help(); err != nil {
				return err
			}
			return usagef("%s: a command is missing; choose one of those above", cmd.CommandPath())
		}
		return noCommand(cmd, args[0])
	}
}

// unknownCommand refuses a word of args that stands where a command does and is none. It looks before the flags are read, which are those of the
// command that was meant, and before --help is heeded.
func unknownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 || args[0] == cobra.ShellCompRequestCmd || args[0] == cobra.ShellCompNoDescRequestCmd {
		return nil
	}
	root.InitDefaultHelpCmd()
	cmd, rest, err := root.Find(args)
	if err != nil || !cmd.HasSubCommands() {
		return err
	}
	cmd.InitDefaultHelpFlag()
	for i := 0; i < len(rest); i++ {
		if !strings.HasPrefix(rest[i], "-") {
			return noCommand(cmd, rest[i])
		}
		name, _, has := strings.Cut(strings.TrimLeft(rest[i], "-"), "=")
		flag := cmd.Flag(name)
		if flag == nil && len(name) == 1 {
			flag = cmd.Flags().ShorthandLookup(name)
		}
		if flag == nil {
			return nil // what follows may be its value; it is the fault
		}
		if !has && flag.NoOptDefVal == "" {
			i++
		}
	}
	return nil
}

// noCommand says that a command has no such subcommand, and which it has.
func noCommand(cmd *cobra.Command, name string) error {
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	return usagef("there is no command %q of %s, which has %s%s", name, cmd.CommandPath(), strings.Join(names, ", "), didYouMean(name, names))
}

// help shows the help of a command, and refuses one that is not there.
func help() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND...]",
		Short:   "Show the help of a command",
		GroupID: "other",
		RunE: func(cmd *cobra.Command, args []string) error {
			at := cmd.Root()
			for _, name := range args {
				i := slices.IndexFunc(at.Commands(), func(sub *cobra.Command) bool { return sub.Name() == name || sub.HasAlias(name) })
				if i < 0 {
					if !at.HasSubCommands() {
						return usagef("%s has no commands, so there is no %q", at.CommandPath(), name)
					}
					return noCommand(at, name)
				}
				at = at.Commands()[i]
			}
			at.InitDefaultHelpFlag()
			return at.Help()
		},
	}
}

// env returns the value of an environment variable, empty where it is not set.
func (c *command) env(name string) string { return getenv(c.Environ, name) }

// warn tells the user what does not stop the command.
func (c *command) warn(msg string) { fmt.Fprintln(c.Stderr, "millrace: "+msg) }

// isTerminal reports whether w is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// args checks the number of arguments and says which are missing. A name in brackets may be left out, and the last one may repeat
// where it ends with "...".
func args(names ...string) cobra.PositionalArgs {
	needed := 0
	for _, n := range names {
		if !strings.HasPrefix(n, "[") {
			needed++
		}
	}
	repeat := len(names) > 0 && strings.HasSuffix(names[len(names)-1], "...")
	return func(cmd *cobra.Command, given []string) error {
		if len(given) < needed {
			return usagef("%s: %s is missing", cmd.CommandPath(), strings.Join(names[len(given):needed], " and "))
		}
		if len(given) > len(names) && !repeat {
			return unexpected(cmd, given[len(names)])
		}
		return nil
	}
}

// unexpected refuses an argument that is too much, and names the flag that was probably meant: that of a file or folder, if one alone is not given or it is
// the input's.
func unexpected(cmd *cobra.Command, arg string) error {
	file, folder := strings.Contains(filepath.Base(arg), "."), false
	if info, err := os.Stat(arg); err == nil {
		file, folder = !info.IsDir(), info.IsDir()
	}
	var input string
	var others []string
	cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
		kind, _ := pflag.UnquoteUsage(f)
		switch {
		case f.Changed || f.Hidden || !file && !folder:
		case slices.Contains([]string{"in", "data", "config"}, f.Name):
			input = f.Name
		case file && kind == "file", folder && kind == "folder":
			others = append(others, f.Name)
		}
	})
	if input == "" && len(others) == 1 {
		input = others[0]
	}
	hint := ""
	if input != "" {
		hint = fmt.Sprintf("; did you mean --%s %s?", input, arg)
	}
	return usagef("%s: unexpected argument %q%s", cmd.CommandPath(), arg, hint)
}

// oneOf checks a flag that takes one of a few words.
func oneOf(flag, value string, allowed ...string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return usagef("--%s %q must be one of %s%s", flag, value, strings.Join(allowed, ", "), didYouMean(value, allowed))
}

// flagFaults makes wrong use of the faults of a configuration that came from flags, whose names are its fields'.
func flagFaults(err error) error {
	var l fault.Errors
	l.Take(err, func(path string) (string, bool) { return "--" + strings.ReplaceAll(path, "_", "-"), true })
	if err := l.Err(); err != nil {
		return usage(err)
	}
	return nil
}

// errUsage marks what the user typed wrong, as against what failed.
var errUsage = errors.New("wrong use")

type usageError struct{ err error }

func (e usageError) Error() string        { return e.err.Error() }
func (e usageError) Unwrap() error        { return e.err }
func (e usageError) Is(target error) bool { return target == errUsage }

// flagError says what a flag takes where its value is not of that kind.
func flagError(err error) error {
	var bad *pflag.InvalidValueError
	if !errors.As(err, &bad) {
		return err
	}
	kinds := map[string]string{"int": "a whole number", "int64": "a whole number", "float64": "a number", "duration": "a duration, such as 30s or 24h", "bool": "true or false"}
	if kind := kinds[bad.GetFlag().Value.Type()]; kind != "" {
		return fmt.Errorf("--%s: %q is not %s", bad.GetFlag().Name, bad.GetValue(), kind)
	}
	return fmt.Errorf("--%s: %w", bad.GetFlag().Name, bad.Unwrap())
}

func usage(err error) error { return usageError{err} }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }
