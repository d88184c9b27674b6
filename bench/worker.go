package main

import (
	"context"
	"fmt"
	"os"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/millrace/millrace/engine"
	"github.com/millrace/millrace/media"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tensor"
)

// runWorker is the Redis side's worker: it reads what is queued, runs the model on it as one batch, adds the results to
// the other stream, and acknowledges its inputs after that. It does the work of a pipeline with the same decoder, engine and
// scores, and the same JSON but for the source's revision.
func runWorker(ctx context.Context, addr, path string, e engine.Engine) error {
	server := redisServer{addr: addr}
	c, err := server.client()
	if err != nil {
		return err
	}
	defer c.Close()
	m, err := model.Open(path)
	if err != nil {
		return err
	}
	s, err := e.Open(ctx, m.Graph, engine.Options{})
	if err != nil {
		return err
	}
	defer s.Close()
	spec, err := m.Spec()
	if err != nil {
		return err
	}
	decoder, err := media.NewDecoder(spec)
	if err != nil {
		return err
	}
	scores, _, err := m.Scores()
	if err != nil {
		return err
	}
	input, err := tensor.New(spec.DType, append([]int{readCount}, spec.Shape...)...)
	if err != nil {
		return err
	}
	name := "worker-" + strconv.Itoa(os.Getpid())
	out := make([]*tensor.Tensor, 1)
	row := make([]float32, len(m.Labels))
	for {
		streams, err := c.Do(ctx, c.B().Xreadgroup().Group(group, name).Count(readCount).Block(1000).Streams().Key(inputStream).Id(">").Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return err
		}
		entries := streams[inputStream]
		for i, entry := range entries {
			if err := decoder.DecodeInto(input, i, "application/octet-stream", []byte(entry.FieldValues["v"])); err != nil {
				return err
			}
		}
		batch, err := input.Slice(0, len(entries))
		if err != nil {
			return err
		}
		out[0] = nil
		if err := s.Run(ctx, []*tensor.Tensor{batch}, out); err != nil {
			return err
		}
		commands := make(rueidis.Commands, 0, len(entries))
		ack := c.B().Xack().Key(inputStream).Group(group).Id(entries[0].ID)
		for i, entry := range entries {
			if err := model.Row(row, out[scores.Output], i, len(entries)); err != nil {
				return err
			}
			if err := scores.Probabilities(row); err != nil {
				return err
			}
			key := entry.FieldValues["k"]
			commands = append(commands, c.B().Xadd().Key(resultStream).Id("*").FieldValue().FieldValue("k", key).
				FieldValue("v", rueidis.BinaryString(encode(m, key, row))).Build())
			if i > 0 {
				ack = ack.Id(entry.ID)
			}
		}
		for _, r := range c.DoMulti(ctx, commands...) {
			if err := r.Error(); err != nil {
				return err
			}
		}
		if err := c.Do(ctx, ack.Build()).Error(); err != nil {
			return err
		}
	}
}

// encode writes a result as a pipeline does.
func encode(m *model.Model, key string, row []float32) []byte {
	best := 0
	for i, s := range row {
		if s > row[best] {
			best = i
		}
	}
	b := make([]byte, 0, 512)
	b = fmt.Appendf(b, `{"label":%q,"score":`, m.Labels[best])
	b = strconv.AppendFloat(b, float64(row[best]), 'g', -1, 32)
	b = append(b, `,"scores":{`...)
	for i, s := range row {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, m.Labels[i])
		b = append(b, ':')
		b = strconv.AppendFloat(b, float64(s), 'g', -1, 32)
	}
	b = append(b, `},"source":{"key":`...)
	b = strconv.AppendQuote(b, key)
	return append(b, `}}`...)
}
