package diagram

import (
	"bufio"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/millrace/millrace/graph/diagram/layered"
)

// fills are the colours of closed boxes by class. They are attributes, which the style of a page that has the picture in it goes over.
var fills = map[string]string{
	"heavy": "#cfe0f5", "norm": "#e6dcf3", "act": "#f8dfcf", "pool": "#d6ecd8", "move": "#ececec", "control": "#f6ecc4", "math": "#ffffff",
	"scope": "#f4f6f8", "input": "#d9eeee", "output": "#d9eeee",
}

// classes are those of operators that stand out; the others are "math".
var classes = classesOf(map[string]string{
	"heavy": "Conv ConvTranspose ConvInteger DeformConv QLinearConv Gemm MatMul MatMulInteger QLinearMatMul Einsum LSTM GRU RNN Attention RotaryEmbedding TreeEnsemble TreeEnsembleClassifier TreeEnsembleRegressor SVMClassifier SVMRegressor",
	"norm":  "BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization LRN LpNormalization MeanVarianceNormalization Dropout",
	"act":   "Relu LeakyRelu PRelu Elu Selu Celu Gelu Sigmoid HardSigmoid HardSwish Swish Mish Tanh Softmax LogSoftmax Softplus Softsign ThresholdedRelu Clip Erf",
	"pool":  "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool GlobalLpPool ReduceMean ReduceSum ReduceMax ReduceMin ReduceProd ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceSumSquare ArgMax ArgMin TopK",
	"move": "Reshape Flatten Transpose Concat Split Slice Gather GatherElements GatherND Squeeze Unsqueeze Expand Tile Pad Shape Size Cast CastLike Identity DepthToSpace SpaceToDepth " +
		"ScatterElements ScatterND Resize Upsample ConstantOfShape Range",
	"control": "If Loop Scan SequenceMap",
})

func classesOf(words map[string]string) map[string]string {
	of := map[string]string{}
	for class, ops := range words {
		for op := range strings.FieldsSeq(ops) {
			of[op] = class
		}
	}
	return of
}

func (b *box) class() string {
	switch b.kind {
	case input:
		return "input"
	case output:
		return "output"
	case operator:
		if class := classes[b.node().OpType]; class != "" {
			return class
		}
		return "math"
	}
	return "scope"
}

// WriteSVG writes the picture: well-formed XML that stands alone and holds no style and no script. Classes begin with "g-", so that they are not those of a page. Boxes are groups of class "g-box" with a data-key (see Options), data-open where they can be opened ("false") or closed ("true"),
// and data-nodes with the nodes of the model's graph that they stand for, such as "0-3,7". The error is that of w.
func (d *Drawing) WriteSVG(w io.Writer) error {
	p := &pen{w: bufio.NewWriter(w)}
	p.f(`<svg xmlns="http://www.w3.org/2000/svg" class="g-picture" viewBox="0 0 %v %v" width="%v" height="%v" data-depth="%d" font-family="Helvetica, Arial, 'DejaVu Sans', sans-serif" role="img" aria-label="%s">`+"\n",
		num(d.Width), num(d.Height), num(d.Width), num(d.Height), d.Depth, escape("Graph "+short(d.title, maxHint)))
	p.f("<title>%s</title>\n", escape(short(d.title, maxHint)))
	p.f(`<defs><marker id="diagram-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path class="g-arrow" d="M0 0L8 4L0 8Z" fill="#66707a"/></marker></defs>` + "\n")
	p.f(`<rect class="g-paper" width="100%%" height="100%%" fill="#fff"/>` + "\n")
	p.inside(d.root, layered.Point{})
	p.f("</svg>\n")
	if p.err != nil {
		return p.err
	}
	return p.w.Flush()
}

// A pen writes until the first error.
type pen struct {
	w   *bufio.Writer
	err error
}

func (p *pen) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// inside draws what is in an open box that is at a place: lines below labels, and boxes over both.
func (p *pen) inside(b *box, at layered.Point) {
	for _, w := range b.order {
		p.wire(w, at)
	}
	for _, c := range b.ports {
		x := num(at.X + c.at.X + portWidth/2)
		if b.outs[value{c.level, c.title}] == c {
			p.f(`<path class="g-wire" d="M%s %sV%s" fill="none" stroke="#66707a"/>`+"\n", x, num(at.Y+c.at.Y), num(at.Y+b.height))
		} else {
			p.f(`<path class="g-wire" d="M%s %sV%s" fill="none" stroke="#66707a"/>`+"\n", x, num(at.Y), num(at.Y+c.at.Y))
		}
	}
	for _, w := range b.order {
		p.label(w, at)
	}
	for _, c := range b.children {
		place := layered.Point{X: at.X + c.at.X, Y: at.Y + c.at.Y}
		if c.open {
			p.open(c, place)
		} else {
			p.closed(c, place)
		}
	}
}

// begin opens the group of a box.
func (p *pen) begin(b *box, state string) {
	p.f(`<g class="g-box g-%s"`, b.class())
	if b.kind == operator || b.kind == scope {
		p.f(` data-key="%s"`, escape(b.key))
		if b.level.outer == nil {
			p.f(` data-nodes="%s"`, ranges(b.nodes))
		}
	}
	if state != "" {
		p.f(` data-open="%s"`, state)
	}
	p.f(`><title>%s</title>`, escape(b.hint()))
}

func (p *pen) open(b *box, at layered.Point) {
	state := "true"
	if b.kind == body {
		state = ""
	}
	p.inside(b, at)
	p.begin(b, state)
	p.f(`<rect class="g-frame" x="%s" y="%s" width="%s" height="%s" rx="6" fill="none" stroke="#9aa5b1" stroke-dasharray="%s"/>`, num(at.X), num(at.Y), num(b.width), num(b.height),
		map[kind]string{scope: "none", operator: "none", body: "5 3"}[b.kind])
	p.f(`<text class="g-title" x="%s" y="%s" font-size="%d" font-weight="bold" fill="#44505c" stroke="#fff" stroke-width="3" paint-order="stroke">%s</text></g>`+"\n", num(at.X+padding), num(at.Y+titleSize+padding/2), titleSize, escape(b.title))
}

func (p *pen) closed(b *box, at layered.Point) {
	state := ""
	if b.kind == scope || len(b.node().Subgraphs()) > 0 {
		state = "false"
	}
	p.begin(b, state)
	round := 4
	if b.kind == input || b.kind == output {
		round = 14
	}
	stroke := "#7b8794"
	if state != "" { // another sheet behind it
		p.f(`<rect class="g-behind" x="%s" y="%s" width="%s" height="%s" rx="4" fill="#fff" stroke="%s"/>`, num(at.X+3), num(at.Y+3), num(b.width), num(b.height), stroke)
	}
	p.f(`<rect class="g-face" x="%s" y="%s" width="%s" height="%s" rx="%d" fill="%s" stroke="%s"/>`, num(at.X), num(at.Y), num(b.width), num(b.height), round, fills[b.class()], stroke)
	y := at.Y + padding - lineSpace/2
	for _, t := range b.lines {
		y += t.size
		weight, colour := "normal", "#52606d"
		if t.class == "title" {
			weight, colour = "bold", "#1f2933"
		}
		p.f(`<text class="g-%s" x="%s" y="%s" font-size="%v" font-weight="%s" fill="%s" text-anchor="middle">%s</text>`, t.class, num(at.X+b.width/2), num(y), t.size, weight, colour, escape(t.string))
		y += lineSpace
	}
	p.f("</g>\n")
}

// wire draws a line: straight through ranks, and bent between them.
func (p *pen) wire(w *wire, at layered.Point) {
	points := slices.Compact(slices.Clone(w.route.Points)) // a piece of no length would turn the arrow
	var d strings.Builder
	fmt.Fprintf(&d, "M%s %s", num(at.X+points[0].X), num(at.Y+points[0].Y))
	for i := 1; i < len(points); i++ {
		a, b := points[i-1], points[i]
		switch {
		case a.X == b.X && i+1 < len(points) && points[i+1].X == b.X: // goes on straight
		case a.X == b.X:
			fmt.Fprintf(&d, "V%s", num(at.Y+b.Y))
		default:
			middle := num(at.Y + (a.Y+b.Y)/2)
			fmt.Fprintf(&d, "C%s %s %s %s %s %s", num(at.X+a.X), middle, num(at.X+b.X), middle, num(at.X+b.X), num(at.Y+b.Y))
		}
	}
	arrow, dashes := "", ""
	if w.to.kind != port && w.toPort == nil {
		arrow = ` marker-end="url(#diagram-arrow)"`
	}
	if w.route.Direct {
		dashes = ` stroke-dasharray="2 4"`
	}
	p.f(`<path class="g-wire" d="%s" fill="none" stroke="#66707a"%s%s><title>%s</title></path>`+"\n", d.String(), arrow, dashes, escape(w.hint()))
}

func (p *pen) label(w *wire, at layered.Point) {
	t := w.label()
	if t.string == "" || w.route.Direct {
		return
	}
	x, y := at.X+w.route.Label.X, at.Y+w.route.Label.Y
	p.f(`<g class="g-label"><title>%s</title><rect class="g-paper" x="%s" y="%s" width="%s" height="%s" fill="#fff"/><text class="g-shape" x="%s" y="%s" font-size="%v" fill="#52606d" text-anchor="middle">%s</text></g>`+"\n",
		escape(w.hint()), num(x-t.width()/2-2), num(y-t.size/2-1), num(t.width()+4), num(t.size+2), num(x), num(y+t.size*0.36), t.size, escape(t.string))
}

// num writes a number with at most one place after the point.
func num(v float64) string {
	return strings.TrimSuffix(strconv.FormatFloat(v, 'f', 1, 64), ".0")
}

// ranges lists rising numbers, those that follow each other as one.
func ranges(nodes []int32) string {
	var b strings.Builder
	for i := 0; i < len(nodes); {
		k := i
		for k+1 < len(nodes) && nodes[k+1] == nodes[k]+1 {
			k++
		}
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprint(&b, nodes[i])
		if k > i {
			fmt.Fprintf(&b, "-%d", nodes[k])
		}
		i = k + 1
	}
	return b.String()
}

// escape makes text of anybody's names: what XML cannot hold, and what would turn the direction of the text around it, becomes a mark.
func escape(s string) string {
	s = strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return '\uFFFD'
		}
		return r
	}, s)
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "" // a Builder never fails
	}
	return b.String()
}
