package cli

import "strings"

// nearest is the name that somebody who typed text is most likely to have meant; empty when none is close.
func nearest(text string, names []string) string {
	best, closest := "", len(text)/2+1
	for _, name := range names {
		if d := distance(strings.ToLower(text), strings.ToLower(name)); d < closest {
			best, closest = name, d
		}
	}
	return best
}

// distance is how many letters must be added, taken away, replaced or swapped with their neighbour to make b of a.
// Source: the optimal string alignment distance.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			change := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
