package cli

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/internal/app"
)

func (c *command) model() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Look at models, draw, import, run, check, measure and differentiate them, and push them to a running node",
		Example: `  millrace model inspect digits.onnx
  millrace model run digits.onnx --in docs/seven.png
  millrace model push digits digits.onnx`,
		GroupID: "local",
	}
	cmd.AddCommand(c.modelInspect(), c.modelGraph(), c.modelProfile(), c.modelImport(), c.modelRun(), c.modelPreview(), c.modelCheck(), c.modelEval(), c.modelGradient(), c.modelPush(), c.modelList(),
		c.modelVersions(), c.modelUse(), c.modelDiff(), c.modelRemove())
	return cmd
}

// engineFlag adds --engine to a command that runs models here, and returns what opens the engines with the environment's
// settings.
func (c *command) engineFlag(cmd *cobra.Command) func() (*app.Engines, string, error) {
	name := cmd.Flags().String("engine", "auto", "engine that runs it: auto, native or onnxruntime")
	return func() (*app.Engines, string, error) {
		if err := oneOf("engine", *name, "auto", "native", "onnxruntime"); err != nil {
			return nil, "", err
		}
		config, err := loadConfig("", c.Environ, nil, c.warn)
		if err != nil {
			return nil, "", err
		}
		return app.OpenEngines(config, slog.New(slog.DiscardHandler)), *name, nil
	}
}

// deviceFlags adds the flags that say where and how a model runs here, and returns what reads them.
func deviceFlags(cmd *cobra.Command) func() (engine.Options, error) {
	var o engine.Options
	var limit sizeFlag
	f := cmd.Flags()
	f.StringVar(&o.Device, "device", "", "cpu or cuda:N (default: as the engine is configured)")
	f.BoolVar(&o.TF32, "tf32", false, "let products on a CUDA device round their operands to 10 bits, for speed")
	f.StringVar(&o.Precision, "precision", "", "what convolutions and matrix products compute in: float32 or float16 (default float32)")
	f.Var(&limit, "memory-limit", "the most bytes of a CUDA device's memory, such as 4GiB (default: no limit)")
	return func() (engine.Options, error) {
		o.MemoryLimit = int64(limit)
		return o, flagFaults(o.Validate())
	}
}
