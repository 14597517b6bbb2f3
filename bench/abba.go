package main

import (
	"errors"
	"os/exec"
	"strings"
	"time"
)

// abba measures two things in the order A, B, B, A, and so in every round. Then neither profits from a machine that becomes
// faster or slower. run measures the one with this index. It returns the mean of the two results for each of them and round.
func abba[T any](rounds int, run func(i int) (T, error), mean func(x, y T) T) ([2][]T, error) {
	var results [2][]T
	for range rounds {
		var got [2][]T
		for _, i := range []int{0, 1, 1, 0} {
			result, err := run(i)
			if err != nil {
				return results, err
			}
			got[i] = append(got[i], result)
		}
		for i := range got {
			results[i] = append(results[i], mean(got[i][0], got[i][1]))
		}
	}
	return results, nil
}

// fresh returns a run of abba that starts and ends the contestant each time.
func fresh[T any](b *bench, bouts [2]bout, measure func(x *bout, url string, processes []*exec.Cmd) (T, error)) func(i int) (T, error) {
	return func(i int) (result T, err error) {
		x := &bouts[i]
		err = b.serve(x.contestant, x.setup(), func(url string, processes []*exec.Cmd) (err error) {
			result, err = measure(x, url, processes)
			return err
		})
		return result, err
	}
}

// standing starts both contestants, lets each serve for a second, and calls use with a run of abba that measures path with
// wrk. The contestant that is not measured is at rest.
func (b *bench) standing(bouts [2]bout, path string, use func(run func(i int) (load, error)) error) error {
	return b.serve(bouts[0].contestant, bouts[0].setup(), func(first string, ofFirst []*exec.Cmd) error {
		return b.serve(bouts[1].contestant, bouts[1].setup(), func(second string, ofSecond []*exec.Cmd) (err error) {
			urls, processes := [2]string{first, second}, [2][]*exec.Cmd{ofFirst, ofSecond}
			for i, x := range bouts {
				if _, err := b.wrk(urls[i]+path, x.connections, 1); err != nil {
					return err
				}
				if x.guests > 0 {
					leave := entertain(strings.TrimPrefix(urls[i], "http://"), x.guests)
					defer func() { err = errors.Join(err, leave()) }()
				}
			}
			return use(func(i int) (load, error) {
				// What the last run's clients left in the queue is answered before.
				if err := waitUntilServing(urls[i] + path); err != nil {
					return load{}, err
				}
				before, err := ownTime(processes[i])
				if err != nil {
					return load{}, err
				}
				l, err := b.wrk(urls[i]+path, bouts[i].connections, b.seconds)
				if err != nil {
					return l, err
				}
				after, err := ownTime(processes[i])
				l.own = time.Duration(float64(after-before) / max(l.rate*float64(b.seconds), 1))
				return l, err
			})
		})
	})
}

// meanLoad is the mean of two loads.
func meanLoad(x, y load) load {
	return load{(x.rate + y.rate) / 2, x.errors + y.errors, (x.p50 + y.p50) / 2, (x.p99 + y.p99) / 2, (x.cpu + y.cpu) / 2, (x.own + y.own) / 2}
}
