package main

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// aim is what pagi-bridge is to reach in a case: beside a rival, or with an amount of memory.
type aim struct {
	name  string // on the command line
	title string
	pair  *pair
	size  *size
}

// pair is pagi-bridge and a rival. Both serve the same application and are measured in turn.
type pair struct {
	ours, rival bout
	app         func(*bench) (string, error) // writes or finds what is served; nil: the contestants know
	path        string                       // that is asked for
	least       float64                      // rate, of the rival's
	tail        bool                         // the p99 may not be greater than the rival's
}

// size is a measure of memory.
type size struct {
	unit    string
	of      float64 // bytes
	most    float64
	subject string
	// begin prepares the measurement, and end takes it. Other cases are measured between the two.
	begin func(b *bench) (end func() ([]float64, error), err error)
}

// verdict is what a case has come to.
type verdict struct {
	Case  string `json:"case"`
	Title string `json:"title"`
	Ours  string `json:"ours"`
	Rival string `json:"rival,omitempty"`
	Aim   string `json:"aim"`
	Met   bool   `json:"met"`
	// Problem says why there is no value.
	Problem string    `json:"problem,omitempty"`
	Value   float64   `json:"value,omitempty"` // the median of the rounds
	Unit    string    `json:"unit,omitempty"`
	Range   []float64 `json:"range,omitempty"` // the least and the greatest of a round
	// TailRatio is the median of the rounds' ratios of p99 to the rival's.
	TailRatio float64 `json:"p99_ratio,omitempty"`
	// CPURatio is that of the processes' own time for a request. It moves less with what else the machine does.
	CPURatio float64 `json:"cpu_ratio,omitempty"`

	loads [2][]load // ours, the rival's
}

// aims measures the cases that have an aim, all of them or those that are named, and prints a line for each.
func (b *bench) aims() error {
	chosen, err := b.chosenAims()
	if err != nil {
		return err
	}
	fmt.Printf("%d rounds of twice %d s for each contestant, wrk -t1; medians, and in brackets the rounds' range\n\n", b.rounds, b.seconds)
	fmt.Println("| case | pagi-bridge | the other | aim | reached | p99 | CPU | errors | met |")
	fmt.Println("| --- | ---: | ---: | --- | ---: | ---: | ---: | ---: | --- |")
	ends := make([]func() ([]float64, error), len(chosen))
	begun := make([]error, len(chosen))
	for i, a := range chosen {
		if a.size != nil {
			ends[i], begun[i] = a.size.begin(b)
		}
	}
	var failed []string
	missed := 0
	for i, a := range chosen {
		v := verdict{Case: a.name, Title: a.title}
		var err error
		switch {
		case begun[i] != nil:
			err = begun[i]
		case a.size != nil:
			err = a.size.weigh(&v, ends[i])
		default:
			err = b.match(a.pair, &v)
		}
		if err != nil {
			v.Problem = strings.ReplaceAll(err.Error(), "\n", "; ")
			failed = append(failed, a.name)
		}
		if err == nil && !v.Met {
			missed++
		}
		fmt.Println(v.line())
		b.report.Aims = append(b.report.Aims, v)
	}
	fmt.Printf("\n%d aims are met, %d are missed, %d were not measured.\n", len(chosen)-missed-len(failed), missed, len(failed))
	if len(failed) > 0 {
		return fmt.Errorf("not measured: %s", strings.Join(failed, ", "))
	}
	return nil
}

func (b *bench) chosenAims() (chosen []aim, err error) {
	all := b.allAims()
	if len(b.args) == 0 {
		return all, nil
	}
	for _, name := range b.args {
		i := slices.IndexFunc(all, func(a aim) bool { return a.name == name })
		if i < 0 {
			var names []string
			for _, a := range all {
				names = append(names, a.name)
			}
			return nil, fmt.Errorf("there is no case %q; there are %s", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

// match measures a pair. It sets Problem if a contestant is missing, or answered with errors: one that does seems fast.
func (b *bench) match(p *pair, v *verdict) (err error) {
	both := [2]bout{p.ours, p.rival}
	v.Ours, v.Rival, v.Unit = both[0].title(), both[1].title(), "x"
	v.Aim = fmt.Sprintf("at least %vx", p.least)
	if p.tail {
		v.Aim += ", p99 no worse"
	}
	for _, x := range both {
		if what := x.contestant.lacks(); what != "" {
			v.Problem = fmt.Sprintf("%s is missing: %s", x.title(), what)
			return nil
		}
	}
	if p.app != nil {
		if both[0].app, err = p.app(b); err != nil {
			return err
		}
		both[1].app = both[0].app
	}
	err = b.standing(both, p.path, func(run func(i int) (load, error)) (err error) {
		v.loads, err = abba(b.rounds, run, meanLoad)
		return err
	})
	if err != nil {
		return err
	}
	v.judge(p)
	b.report.add(row{Case: v.Case, Name: v.Rival, Connections: both[1].connections, Workers: both[1].workers}, v.loads[1], nil)
	b.report.add(row{Case: v.Case, Name: v.Ours, Connections: both[0].connections, Workers: both[0].workers, Rival: v.Rival}, v.loads[0], v.loads[1])
	return nil
}

// judge compares the loads with the aim.
func (v *verdict) judge(p *pair) {
	for i, name := range []string{v.Ours, v.Rival} {
		if n := sumErrors(v.loads[i]); n > 0 {
			v.Problem = fmt.Sprintf("%s answered %.0f requests with errors", name, n)
			return
		}
	}
	rates := ratios(v.loads[0], v.loads[1], func(l load) float64 { return l.rate })
	v.Value, v.Range = median(rates, itself), []float64{slices.Min(rates), slices.Max(rates)}
	v.TailRatio = ratio(v.loads[0], v.loads[1], func(l load) float64 { return float64(l.p99) })
	v.CPURatio = ratio(v.loads[0], v.loads[1], func(l load) float64 { return float64(l.own) })
	v.Met = v.Value >= p.least && (!p.tail || v.TailRatio <= 1)
}

// weigh takes a measure of memory and compares it with the aim.
func (s *size) weigh(v *verdict, end func() ([]float64, error)) error {
	v.Ours, v.Unit, v.Aim = s.subject, " "+s.unit, fmt.Sprintf("at most %v %s", s.most, s.unit)
	list, err := end()
	if err != nil {
		return err
	}
	for i := range list {
		list[i] /= s.of
	}
	v.Value, v.Range = median(list, itself), []float64{slices.Min(list), slices.Max(list)}
	v.Met = v.Value <= s.most
	return nil
}

// line is the verdict as a line of the table.
func (v *verdict) line() string {
	side := func(i int, name string) string {
		if len(v.loads[i]) == 0 {
			return name
		}
		return fmt.Sprintf("%s: %.0f/s", name, median(v.loads[i], func(l load) float64 { return l.rate }))
	}
	reached, tail, cpu, faults := v.Problem, "", "", ""
	if v.Value != 0 {
		reached = fmt.Sprintf("%.2f%s", v.Value, v.Unit)
		if v.Range[0] != v.Range[1] {
			reached += fmt.Sprintf(" (%.2f to %.2f)", v.Range[0], v.Range[1])
		}
	}
	times := func(of func(l load) time.Duration, ratio float64) string {
		return fmt.Sprintf("%v, %v: %.2fx", medianTime(v.loads[0], of), medianTime(v.loads[1], of), ratio)
	}
	if v.Rival != "" && v.Value != 0 {
		tail = times(func(l load) time.Duration { return l.p99 }, v.TailRatio)
		cpu = times(func(l load) time.Duration { return l.own }, v.CPURatio)
	}
	if v.loads[0] != nil {
		faults = fmt.Sprintf("%.0f, %.0f", sumErrors(v.loads[0]), sumErrors(v.loads[1]))
	}
	met := "no"
	if v.Met {
		met = "yes"
	}
	return fmt.Sprintf("| %s: %s | %s | %s | %s | %s | %s | %s | %s | %s |", v.Case, v.Title, side(0, v.Ours), side(1, v.Rival), v.Aim, reached, tail, cpu, faults, met)
}
