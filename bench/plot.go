package main

import (
	"bytes"
	"fmt"
	"math"
	"time"
)

// The size of a plot and of its parts, in pixels.
const (
	plotWidth  = 800
	plotHeight = 150
	plotLeft   = 70
	plotRight  = 20
	plotTop    = 28
	plotBottom = 28
)

// plot draws curves below each other, each with its own axis from 0, as SVG.
func plot(curves []curve, samples []sample) []byte {
	var svg bytes.Buffer
	height := len(curves) * plotHeight
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&svg, `<rect width="%d" height="%d" fill="white"/>`+"\n", plotWidth, height)
	whole := samples[len(samples)-1].at
	for i, c := range curves {
		top, bottom := float64(i*plotHeight+plotTop), float64((i+1)*plotHeight-plotBottom)
		highest := 0.0
		for _, s := range samples {
			highest = max(highest, c.value(s))
		}
		step := axisStep(highest, 3)
		highest = step * math.Max(1, math.Ceil(highest/step))
		x := func(at time.Duration) float64 {
			return plotLeft + (plotWidth-plotLeft-plotRight)*at.Seconds()/whole.Seconds()
		}
		y := func(value float64) float64 { return bottom - (bottom-top)*value/highest }

		fmt.Fprintf(&svg, `<text x="%d" y="%.0f" font-weight="bold">%s</text>`+"\n", plotLeft, top-10, label(c))
		for value := 0.0; value <= highest*1.001; value += step {
			fmt.Fprintf(&svg, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
				plotLeft, y(value), plotWidth-plotRight, plotLeft-6, y(value)+4, value)
		}
		for minutes, every := 0.0, axisStep(whole.Minutes(), 10); minutes <= whole.Minutes(); minutes += every {
			at := x(time.Duration(minutes * float64(time.Minute)))
			fmt.Fprintf(&svg, `<path d="M%.1f %.1fv4" stroke="#888"/><text x="%.1f" y="%.1f" text-anchor="middle">%.3g min</text>`+"\n",
				at, bottom, at, bottom+17, minutes)
		}
		fmt.Fprintf(&svg, `<path fill="none" stroke="#06c" stroke-width="1.5" d="`)
		for j, s := range samples {
			command := 'L'
			if j == 0 {
				command = 'M'
			}
			fmt.Fprintf(&svg, "%c%.1f %.1f", command, x(s.at), y(c.value(s)))
		}
		fmt.Fprintln(&svg, `"/>`)
	}
	fmt.Fprintln(&svg, "</svg>")
	return svg.Bytes()
}

func label(c curve) string {
	if c.unit == "" {
		return c.name
	}
	return c.name + ", " + c.unit
}

// axisStep returns 1, 2 or 5 times a power of ten so that about so many steps reach
// the highest value.
func axisStep(highest float64, steps int) float64 {
	if highest <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(highest/float64(steps))))
	for _, factor := range []float64{1, 2, 5} {
		if power*factor*float64(steps) >= highest {
			return power * factor
		}
	}
	return power * 10
}
