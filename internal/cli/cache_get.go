package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bulk"
	"github.com/millrace/millrace/internal/client"
)

func (c *command) cacheGet(open opener) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get CACHE KEY",
		Short: "Print the value of an entry",
		Example: `  millrace cache get predictions 1
  millrace cache get digits 1 --out seven.png
  millrace cache get predictions 1 --json`,
		Args: args("CACHE", "KEY"),
	}
	out := cmd.Flags().StringP("out", "o", "", "write the value to this `file`")
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if err := checkOut(*out); err != nil {
			return err
		}
		cl, err := open()
		if err != nil {
			return err
		}
		defer cl.Close()
		e, err := cl.Get(cmd.Context(), given[0], given[1])
		if err != nil {
			return fmt.Errorf("get %s/%s: %w", given[0], given[1], err)
		}
		switch {
		case *out != "":
			return writeBytes(*out, e.Value)
		case *asJSON:
			return printJSON(c.Stdout, entryJSON(e))
		}
		if _, err = c.Stdout.Write(e.Value); err == nil && isTerminal(c.Stdout) && !strings.HasSuffix(string(e.Value), "\n") {
			_, err = fmt.Fprintln(c.Stdout) // so that the prompt does not follow the value
		}
		return err
	}
	return cmd
}

// entryOut is an entry as the commands print it; a value that is JSON stands as it is, text as a string, any other in base64.
type entryOut struct {
	Key         client.Key        `json:"key"`
	Revision    uint64            `json:"revision"`
	Created     *time.Time        `json:"created,omitempty"`
	ContentType string            `json:"contentType,omitempty"`
	Labels      map[string]string `json:"labels,omitempty"`
	Value       json.RawMessage   `json:"value,omitempty"`
	ValueBase64 []byte            `json:"valueBase64,omitempty"`
}

func entryJSON(e client.Entry) entryOut {
	o := entryOut{Key: e.Key, Revision: e.Revision, ContentType: e.ContentType, Labels: e.Labels}
	if !e.Created.IsZero() {
		o.Created = &e.Created
	}
	if e.Value == nil { // of an event that has none
		return o
	}
	if raw, ok := bytes.CutPrefix(bulk.AppendValue(nil, e.ContentType, e.Value, false), []byte(`,"value":`)); ok {
		o.Value = raw
	} else {
		o.ValueBase64 = e.Value
	}
	return o
}
