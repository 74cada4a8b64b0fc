//go:build race

package batch

// million is a tenth of it where the race detector makes everything ten times
// as slow.
const million = 100_000
