package report

import (
	"bytes"
	"fmt"
	"image/color"
	"math"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	chartWidth  = 660 // points
	chartHeight = 360
	chartMargin = 14
	barsWidth   = 0.7 // of the room that a group of bars has
	axisRoom    = 80  // points beside the bars
)

// theme is the colours of a chart.
type theme struct {
	paper, ink, grid color.Color
	series           []color.Color
}

// The series are told apart by Okabe and Ito's palette, which is made for
// every kind of colour vision (https://jfly.uni-koeln.de/color/); their
// yellow is left out since it vanishes on white, and glyphs differ, too.
var (
	onLight = []color.Color{
		color.RGBA{0x00, 0x72, 0xb2, 0xff}, // blue
		color.RGBA{0xd5, 0x5e, 0x00, 0xff}, // vermilion
		color.RGBA{0x00, 0x9e, 0x73, 0xff}, // bluish green
		color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // reddish purple
		color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
		color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky blue
	}
	onDark = []color.Color{
		color.RGBA{0x56, 0xb4, 0xe9, 0xff}, // sky blue
		color.RGBA{0xe6, 0x9f, 0x00, 0xff}, // orange
		color.RGBA{0x00, 0xb8, 0x86, 0xff}, // bluish green, lighter
		color.RGBA{0xcc, 0x79, 0xa7, 0xff}, // reddish purple
		color.RGBA{0xf0, 0xe4, 0x42, 0xff}, // yellow
		color.RGBA{0xe8, 0x77, 0x22, 0xff}, // vermilion, lighter
	}
	light = theme{
		paper: color.White, ink: color.RGBA{0x1d, 0x23, 0x2b, 0xff}, grid: color.RGBA{0xdd, 0xe1, 0xe6, 0xff}, series: onLight,
	}
	dark = theme{
		paper: color.RGBA{0x16, 0x1b, 0x22, 0xff}, ink: color.RGBA{0xe2, 0xe6, 0xeb, 0xff}, grid: color.RGBA{0x37, 0x3e, 0x47, 0xff}, series: onDark,
	}
	glyphs = []draw.GlyphDrawer{
		draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}, draw.RingGlyph{}, draw.SquareGlyph{}, draw.TriangleGlyph{},
	}
)

// rendered is a chart in the forms that a directory needs.
type rendered struct {
	Chart
	file        []byte // an SVG document
	light, dark []byte // SVG elements to stand in a page
}

// render draws all charts.
func (r *Report) render() ([]rendered, error) {
	var list []rendered
	for _, c := range joinCharts(r.Charts) {
		day, err := c.draw(&light)
		if err != nil {
			return nil, fmt.Errorf("chart %q: %w", c.Name, err)
		}
		night, err := c.draw(&dark)
		if err != nil {
			return nil, fmt.Errorf("chart %q: %w", c.Name, err)
		}
		list = append(list, rendered{c, day, element(day), element(night)})
	}
	return list, nil
}

// element is an SVG document without its prologue.
func element(document []byte) []byte {
	if at := bytes.Index(document, []byte("<svg")); at > 0 {
		return document[at:]
	}
	return document
}

// draw makes an SVG document.
func (c *Chart) draw(t *theme) ([]byte, error) {
	p := plot.New()
	c.furnish(p, t)
	var err error
	if len(c.Series) > 0 {
		err = c.addSeries(p, t)
	} else {
		err = c.addBars(p, t)
	}
	if err != nil {
		return nil, err
	}
	c.scale(p)
	canvas := vgsvg.New(chartWidth, chartHeight)
	p.Draw(draw.Crop(draw.New(canvas), chartMargin, -chartMargin, chartMargin, -chartMargin))
	var document bytes.Buffer
	if _, err := canvas.WriteTo(&document); err != nil {
		return nil, err
	}
	return document.Bytes(), nil
}

// furnish gives a plot its words and the theme's colours.
func (c *Chart) furnish(p *plot.Plot, t *theme) {
	p.BackgroundColor = t.paper
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = c.Title, c.XLabel, c.YLabel
	p.Title.TextStyle.Font.Size, p.Title.Padding = 13, 8
	for _, style := range []*text.Style{
		&p.Title.TextStyle, &p.Legend.TextStyle, &p.X.Label.TextStyle, &p.Y.Label.TextStyle, &p.X.Tick.Label, &p.Y.Tick.Label,
	} {
		style.Color, style.Font.Variant = t.ink, "Sans"
	}
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Color, axis.Tick.Color = t.ink, t.ink
		axis.Label.TextStyle.Font.Size, axis.Tick.Label.Font.Size = 11, 10
		axis.Label.Padding, axis.Padding = 4, 8
		axis.Tick.Marker = readableTicks{plot.DefaultTicks{}}
	}
	p.Legend.TextStyle.Font.Size = 11
	p.Legend.Top, p.Legend.Left = true, true
	p.Legend.XOffs, p.Legend.YOffs, p.Legend.Padding = 10, -6, 3
	p.Legend.ThumbnailWidth = 22
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = t.grid, t.grid
	grid.Vertical.Width, grid.Horizontal.Width = 0.6, 0.6
	if len(c.Bars) > 0 {
		grid.Vertical.Color = nil
	}
	p.Add(grid)
}

func (c *Chart) addSeries(p *plot.Plot, t *theme) error {
	for i, s := range c.Series {
		var points plotter.XYs
		for j, x := range s.X {
			if fits(x, c.LogX) && fits(s.Y[j], c.LogY) {
				points = append(points, plotter.XY{X: x, Y: s.Y[j]})
			}
		}
		if len(points) == 0 {
			continue
		}
		line, glyph, err := plotter.NewLinePoints(points)
		if err != nil {
			return fmt.Errorf("series %q: %w", s.Name, err)
		}
		line.Color, line.Width = t.series[i%len(t.series)], 2
		line.Dashes = [][]vg.Length{nil, {6, 3}, {2, 2}}[i/len(t.series)%3]
		glyph.Color, glyph.Shape, glyph.Radius = line.Color, glyphs[i%len(glyphs)], 4
		p.Add(line, glyph)
		p.Legend.Add(s.Name, line, glyph)
	}
	return nil
}

// fits tells whether a value has a place on an axis.
func fits(v float64, log bool) bool {
	return !math.IsNaN(v) && !math.IsInf(v, 0) && (!log || v > 0)
}

func (c *Chart) addBars(p *plot.Plot, t *theme) error {
	labels := make([]string, len(c.Bars))
	width := barsWidth * (chartWidth - axisRoom) / float64(len(c.Bars)*len(c.Legend))
	for i, name := range c.Legend {
		values := make(plotter.Values, len(c.Bars))
		for j, b := range c.Bars {
			labels[j] = b.Label
			if fits(b.Values[i], false) {
				values[j] = b.Values[i]
			}
		}
		bars, err := plotter.NewBarChart(values, vg.Length(width))
		if err != nil {
			return fmt.Errorf("bars %q: %w", name, err)
		}
		bars.Color, bars.Width = t.series[i%len(t.series)], vg.Length(width)
		bars.LineStyle.Width = 0
		bars.Offset = vg.Length(width * (float64(i) - float64(len(c.Legend)-1)/2))
		p.Add(bars)
		if len(c.Legend) > 1 || name != "" {
			p.Legend.Add(name, bars)
		}
	}
	p.NominalX(labels...)
	return nil
}

// scale sets where the axes begin and end: bars and linear values begin at 0,
// and the legend has room above what is highest.
func (c *Chart) scale(p *plot.Plot) {
	if c.LogX && len(c.Series) > 0 {
		logarithmic(&p.X)
	} else if n := len(c.Bars); n > 0 {
		p.X.Min, p.X.Max = -0.5, float64(n)-0.5
	} else if p.X.Min >= p.X.Max {
		p.X.Min, p.X.Max = p.X.Min-1, p.X.Max+1
	}
	entries := len(c.Series) + len(c.Legend)
	above := 1 / (1 - min(0.06*float64(entries)+0.04, 0.5)) // of the chart's height
	if c.LogY && len(c.Series) > 0 {
		logarithmic(&p.Y)
		p.Y.Max *= math.Pow(p.Y.Max/p.Y.Min, above-1)
		return
	}
	p.Y.Min = min(p.Y.Min, 0)
	if p.Y.Max <= p.Y.Min {
		p.Y.Max = p.Y.Min + 1
	}
	p.Y.Max *= above
}

// logarithmic widens an axis to ends that a logarithm can show apart.
func logarithmic(axis *plot.Axis) {
	if axis.Min <= 0 || math.IsInf(axis.Min, 0) { // no point has a place
		axis.Min, axis.Max = 1, 10
	}
	if axis.Max < axis.Min*2 {
		axis.Min, axis.Max = axis.Min/2, axis.Max*2
	}
	axis.Scale = plot.LogScale{}
	axis.Tick.Marker = readableTicks{plot.LogTicks{Prec: -1}}
}

// readableTicks writes large numbers as a reader says them: 100 k, 10 M.
type readableTicks struct{ plot.Ticker }

// Ticks implements plot.Ticker.
func (r readableTicks) Ticks(low, high float64) []plot.Tick {
	ticks := r.Ticker.Ticks(low, high)
	for i := range ticks {
		if !ticks[i].IsMinor() {
			ticks[i].Label = readable(ticks[i].Value)
		}
	}
	return ticks
}

// readable is a number of at most four digits, with the prefix of its unit.
func readable(v float64) string {
	size := math.Abs(v)
	for _, prefix := range []struct {
		name  string
		scale float64
	}{{"G", 1e9}, {"M", 1e6}, {"k", 1e3}} {
		if size >= prefix.scale*0.9995 {
			return digits(v/prefix.scale) + " " + prefix.name
		}
	}
	return digits(v)
}

// digits is a number without digits that nobody reads.
func digits(v float64) string {
	switch size := math.Abs(v); {
	case math.IsNaN(v) || math.IsInf(v, 0):
		return "–"
	case size >= 100:
		return fmt.Sprintf("%.0f", v)
	case size >= 10:
		return trim(fmt.Sprintf("%.1f", v))
	case size >= 1:
		return trim(fmt.Sprintf("%.2f", v))
	case size == 0:
		return "0"
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func trim(number string) string {
	return strings.TrimSuffix(strings.TrimRight(number, "0"), ".")
}
