package schema

import "strings"

// nearest finds the name that a person most likely meant by word; empty when none is near.
func nearest(word string, names []string) string {
	best, distance := "", 1+max(1, len(word)/3)
	for _, n := range names {
		if strings.EqualFold(n, word) {
			return n
		}
		if d := editDistance(strings.ToLower(word), strings.ToLower(n), distance); d < distance {
			best, distance = n, d
		}
	}
	return best
}

// editDistance counts the insertions, deletions, substitutions and swaps of neighbours that turn a into b (optimal
// string alignment); limit is what it gives when the lengths alone are that far apart.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) >= limit || len(b)-len(a) >= limit {
		return limit
	}
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
