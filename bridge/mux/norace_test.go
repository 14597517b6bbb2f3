//go:build !race

package mux_test

const raceDetector = false
