package top

import (
	"strconv"

	"github.com/pagi-go/pagi-bridge/internal/terminal"
	"github.com/pagi-go/pagi-bridge/internal/vitals"
)

// field is a column of the tables of services and jobs. As many are shown, from the left, as the terminal is wide.
type field[T any] struct {
	title string
	width int
	left  bool
	text  func(of *T) (text, style string)
}

var serviceFields = []field[vitals.Service]{
	{"SERVICE", 20, true, func(s *vitals.Service) (string, string) { return terminal.Safe(s.Service), styleBold }},
	{"STATE", 8, true, func(s *vitals.Service) (string, string) { return s.State, serviceStyle(s.State) }},
	{"FOR", 7, false, func(s *vitals.Service) (string, string) { return plain(ageOf(s.For)) }},
	{"RESTARTS", 8, false, func(s *vitals.Service) (string, string) { return plain(some(int64(s.Restarts))) }},
	{"STARTS IN", 9, false, func(s *vitals.Service) (string, string) { return plain(ageOf(s.StartsIn)) }},
	{"PID", 8, false, func(s *vitals.Service) (string, string) { return plain(pid(s.PID)) }},
}

var jobFields = []field[vitals.Job]{
	{"JOB", 20, true, func(j *vitals.Job) (string, string) { return terminal.Safe(j.Job), styleBold }},
	{"STATE", 8, true, func(j *vitals.Job) (string, string) { return j.State, mark(j.State == "running", styleGood) }},
	{"FOR", 7, false, func(j *vitals.Job) (string, string) { return plain(ageOf(j.For)) }},
	{"NEXT IN", 8, false, func(j *vitals.Job) (string, string) { return plain(ageOf(j.NextIn)) }},
	{"RUNS", 5, false, func(j *vitals.Job) (string, string) { return plain(some(int64(j.Runs))) }},
	{"FAILED", 6, false, func(j *vitals.Job) (string, string) {
		return some(int64(j.Failures)), mark(j.Failures > 0, styleBad)
	}},
	{"LAST AGO", 8, false, func(j *vitals.Job) (string, string) { return plain(ageOf(j.LastRun)) }},
	{"TOOK", 7, false, func(j *vitals.Job) (string, string) { return plain(took(j.LastTook)) }},
	{"SKIPPED", 8, false, func(j *vitals.Job) (string, string) {
		return some(int64(j.Skipped)), mark(j.Skipped > 0, styleWarn)
	}},
	{"PID", 8, false, func(j *vitals.Job) (string, string) { return plain(pid(j.PID)) }},
}

func serviceStyle(state string) string {
	switch state {
	case "running":
		return styleGood
	case "ended":
		return styleBad
	}
	return styleWarn
}

func ageOf(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	return age(*seconds)
}

// took is a duration of seconds in seven characters or less.
func took(seconds *float64) string {
	if seconds == nil {
		return "-"
	}
	ms := *seconds * 1000
	return duration(&ms)
}

func pid(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

// besideRows are the tables of services and jobs, each below an empty line.
func (s *State) besideRows(v *vitals.View) []string {
	return append(fieldRows(s, serviceFields, v.Services), fieldRows(s, jobFields, v.Jobs)...)
}

// fieldRows is a table: an empty line, the titles, and a line for each of list. There is none for an empty list.
func fieldRows[T any](s *State, fields []field[T], list []T) []string {
	if len(list) == 0 {
		return nil
	}
	fits, taken := 1, fields[0].width
	for ; fits < len(fields); fits++ {
		if taken += fields[fits].width + 1; s.Columns > 0 && taken > s.Columns {
			break
		}
	}
	fields = fields[:fits]
	line := func(cell func(f *field[T]) (text, style string)) (row string) {
		for i := range fields {
			text, style := cell(&fields[i])
			c := column{width: fields[i].width, left: fields[i].left}
			if i > 0 {
				row += " "
			}
			row += s.style(style, s.cut(aligned(text, c)))
		}
		return row
	}
	rows := []string{"", s.style(styleTitle, line(func(f *field[T]) (string, string) { return plain(f.title) }))}
	for i := range list {
		rows = append(rows, line(func(f *field[T]) (string, string) { return f.text(&list[i]) }))
	}
	return rows
}
