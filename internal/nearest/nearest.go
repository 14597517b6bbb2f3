// Package nearest finds the name that a user meant when mistyping it.
package nearest

// Of returns the candidate nearest to word, or "" when none is near enough to be
// worth a suggestion: more than a third of the longer word would have to change.
func Of(word string, candidates []string) string {
	best, distance := "", 0
	for _, c := range candidates {
		d := Distance(word, c)
		if d > max(1, max(len(word), len(c))/3) {
			continue
		}
		if best == "" || d < distance || d == distance && c < best {
			best, distance = c, d
		}
	}
	return best
}

// Suggestion returns `; did you mean "x"?` for the nearest candidate, with prefix in front of it.
// It returns "" when no candidate is near enough.
func Suggestion(word, prefix string, candidates []string) string {
	if near := Of(word, candidates); near != "" {
		return `; did you mean "` + prefix + near + `"?`
	}
	return ""
}

// Distance counts the insertions, deletions, replacements and swaps of neighbours
// that turn a into b.
func Distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
