package main

import "os/exec"

// abba runs two bouts in the order A, B, B, A, each from the contestant's start to its end, and so in
// every round. Then neither profits from a machine that becomes faster or slower. It returns the mean
// of the two results for each bout and round.
func abba[T any](b *bench, bouts [2]bout, measure func(x *bout, url string, processes []*exec.Cmd) (T, error), mean func(x, y T) T) ([2][]T, error) {
	var results [2][]T
	for range b.rounds {
		var got [2][]T
		for _, i := range []int{0, 1, 1, 0} {
			x := &bouts[i]
			err := b.serve(x.contestant, setup{app: x.app, workers: x.workers, preload: x.preload}, func(url string, processes []*exec.Cmd) error {
				result, err := measure(x, url, processes)
				got[i] = append(got[i], result)
				return err
			})
			if err != nil {
				return results, err
			}
		}
		for i := range got {
			results[i] = append(results[i], mean(got[i][0], got[i][1]))
		}
	}
	return results, nil
}

// meanLoad is the mean of two loads.
func meanLoad(x, y load) load {
	return load{(x.rate + y.rate) / 2, x.errors + y.errors, (x.p50 + y.p50) / 2, (x.p99 + y.p99) / 2, (x.cpu + y.cpu) / 2}
}
