package cli

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/internal/app"
	"github.com/millrace/millrace/train"
)

// evaluated says how well a model does on a data set.
type evaluated struct {
	Engine    string   `json:"engine"`
	Examples  int      `json:"examples"`
	Correct   int      `json:"correct"`
	Accuracy  float64  `json:"accuracy"`
	Loss      float64  `json:"loss"`
	Labels    []string `json:"labels"`
	Confusion [][]int  `json:"confusion"` // by label, then by the model's answer

	Classes     []classOut     `json:"classes"`
	Calibration calibrationOut `json:"calibration"`
}

// classOut says how well a model does on one label against all others; an area is null where all examples have the label, or none.
type classOut struct {
	Label string `json:"label"`
	train.ClassMetrics
}

// calibrationOut says whether probabilities are what they say: by tenths of the first choice's.
type calibrationOut struct {
	Error float64  `json:"error"`
	Bins  []binOut `json:"bins"`
}

type binOut struct {
	From float64 `json:"from"`
	To   float64 `json:"to"`
	train.Bin
}

func classesOut(labels []string, classes []train.ClassMetrics) []classOut {
	out := make([]classOut, len(classes))
	for i, c := range classes {
		out[i] = classOut{labels[i], c}
	}
	return out
}

func calibrationOf(c *train.Calibration) (out calibrationOut) {
	out.Error, out.Bins = c.Error, make([]binOut, len(c.Bins))
	for i, b := range c.Bins {
		out.Bins[i] = binOut{float64(i) / 10, float64(i+1) / 10, b}
	}
	return out
}

// measured says how far a regression's numbers are off.
type measured struct {
	Engine   string  `json:"engine"`
	Examples int     `json:"examples"`
	RMSE     float64 `json:"rmse"`
	MAE      float64 `json:"mae"`
	R2       float64 `json:"r2"`
}

func (c *command) modelEval() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "eval FILE --data DATA",
		Short: "Measure a classifier or a regression on a data set",
		Long: `Runs a model on every example of a data set (or with --part on what train keeps of it by --eval) and prints the share that a classifier gets
right, for each label how often it gave which answer, precision, recall and the areas under the ROC and the precision-recall curve, and how far its probabilities are from what is right
(the expected calibration error); of a regression how far its numbers are off. A model that was trained on a table takes its columns by name.`,
		Example: `  millrace model eval digits.onnx --data mnist --part 10000
  millrace model eval builtin:digits --data photos/ --engine onnxruntime --json`,
		Args: args("FILE"),
	}
	f := cmd.Flags()
	data := f.String("data", "", "the data set: a `folder`, or a CSV or Parquet file, as for train")
	part := f.String("part", "", "only this part: a number of examples (the last ones) or a percentage at random")
	seed := f.Uint64("seed", 0, "seed of a percentage")
	var o train.Options
	readFlags(cmd, &o)
	tableFlags(cmd, &o)
	engines := c.engineFlag(cmd)
	options := deviceFlags(cmd)
	opts := tensorFlowFlags(cmd)
	asJSON := jsonFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, given []string) error {
		if *data == "" {
			return usagef("--data is missing")
		}
		if err := flagFaults(o.Validate()); err != nil {
			return err
		}
		how, err := options()
		if err != nil {
			return err
		}
		all, name, err := engines()
		if err != nil {
			return err
		}
		splitInputs(opts)
		m, notes, err := app.OpenModel(cmd.Context(), given[0], *opts)
		if err != nil {
			return err
		}
		e, err := all.For(name, m.Graph, how)
		if err != nil {
			return err
		}
		c.note(notes)
		set, err := train.Open(*data, o.Of(m))
		if err != nil {
			return err
		}
		for _, n := range set.Notes() {
			c.notice(n.Text, n.Warning)
		}
		if validation, test := set.Parts(); test != nil || validation != nil {
			kept, name := test, "test"
			if test == nil {
				kept, name = validation, "validation"
			}
			if set = kept; *part == "" {
				c.notice(fmt.Sprintf("measured on the part for %s alone", name), false)
			}
		}
		if *part != "" {
			if _, set, err = set.Split(*part, *seed); err != nil {
				return err
			}
			if set == nil {
				return usagef("--part %s leaves nothing", *part)
			}
		}
		result, err := train.Evaluate(cmd.Context(), e, all.Options(e.Name(), how), m.Graph, set)
		if err != nil {
			return fmt.Errorf("evaluate %s: %w", given[0], err)
		}
		return c.printEvaluation(e.Name(), set.Labels(), result, *asJSON)
	}
	return cmd
}

func (c *command) printEvaluation(engine string, labels []string, r train.Metrics, asJSON bool) error {
	if e := r.Errors; e != nil {
		if asJSON {
			return printJSON(c.Stdout, measured{Engine: engine, Examples: r.Examples, RMSE: e.RMSE, MAE: e.MAE, R2: e.R2})
		}
		_, err := fmt.Fprintf(c.Stdout, "%s, of %d examples, on %s\n", errorsText(*e), r.Examples, engine)
		return err
	}
	if asJSON {
		return printJSON(c.Stdout, evaluated{
			Engine: engine, Examples: r.Examples, Correct: r.Correct, Accuracy: r.Accuracy(), Loss: r.Loss, Labels: labels, Confusion: r.Confusion,
			Classes: classesOut(labels, r.Classes), Calibration: calibrationOf(r.Calibration),
		})
	}
	if _, err := fmt.Fprintf(c.Stdout, "%.2f %% of %d examples, loss %.4f, calibration error %.2f %%, on %s\n\n", 100*r.Accuracy(), r.Examples, r.Loss, 100*r.Calibration.Error, engine); err != nil {
		return err
	}
	const most = 20
	if len(labels) > most {
		return nil // a table that wide tells nobody anything; --json has it
	}
	rows := make([][]string, len(r.Confusion))
	for i, counts := range r.Confusion {
		rows[i] = []string{labels[i]}
		for _, n := range counts {
			rows[i] = append(rows[i], strconv.Itoa(n))
		}
	}
	if err := printRows(c.Stdout, append([][]string{append([]string{`is \ said`}, labels...)}, rows...)); err != nil {
		return err
	}
	share := func(v float64) string { return train.Area(v).String() }
	table := [][]string{{"LABEL", "EXAMPLES", "PRECISION", "RECALL", "F1", "ROC AREA", "PR AREA"}}
	for i, k := range r.Classes {
		table = append(table, []string{labels[i], strconv.Itoa(k.Examples), share(k.Precision), share(k.Recall), share(k.F1), k.ROC.String(), k.PR.String()})
	}
	if _, err := fmt.Fprintln(c.Stdout); err != nil {
		return err
	}
	return printRows(c.Stdout, table)
}
