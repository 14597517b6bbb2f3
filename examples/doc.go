// Package examples has no code of its own: its tests run the applications of the directories below, all in one
// test program, because linking one for each takes longer than running them.
package examples
