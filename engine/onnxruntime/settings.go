package onnxruntime

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace/millrace/fault"
)

// configPrefix begins settings that go to the library as they are, such as config.session.disable_prepacking.
const configPrefix = "config."

// settingRules are the settings of a session, with what their values may be. They are known without the library.
var settingRules = map[string]func(value string) error{
	"graph_optimization": word("disable", "basic", "extended", "all"),
	"execution_mode":     word("sequential", "parallel"),
	"cpu_mem_arena":      word("true", "false"),
	"mem_pattern":        word("true", "false"),
	"spinning":           word("true", "false"),
	"inter_op_threads": func(v string) error {
		if n, err := strconv.Atoi(v); err != nil || n < 1 || n > 1024 {
			return errors.New("must be a number from 1 to 1024")
		}
		return nil
	},
}

func word(words ...string) func(string) error {
	return func(v string) error {
		if !slices.Contains(words, v) {
			return fmt.Errorf("must be %s or %s", strings.Join(words[:len(words)-1], ", "), words[len(words)-1])
		}
		return nil
	}
}

// ValidateSettings reports every fault of engine.Options.Settings for this engine, as fault.Errors whose paths are the settings'
// names. What begins with "config." is the library's business.
func ValidateSettings(settings map[string]string) error {
	var l fault.Errors
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if key, raw := strings.CutPrefix(name, configPrefix); raw {
			l.Check(key != "", name, "has no name of the library's behind it")
			continue
		}
		rule, ok := settingRules[name]
		if !ok {
			l.Add(name, "onnxruntime has no such setting (there is %s)", strings.Join(settingNames(), ", "))
			continue
		}
		if err := rule(settings[name]); err != nil {
			l.Add(name, "%q %v", settings[name], err)
		}
	}
	return l.Err()
}

func settingNames() []string {
	names := append(slices.Collect(maps.Keys(settingRules)), configPrefix+"*")
	slices.Sort(names)
	return names
}
