//go:build race

package mux_test

const raceDetector = true
