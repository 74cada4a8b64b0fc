//go:build !race

package batch

const million = 1_000_000
