// Package batch turns what a person names (files, directories, patterns, lists)
// into single transfers, side by side.
//
// It owns trees and globs on both sides, the filter, the connections that a
// command uses at a time (Links), the plan of a sync and the stages of a move. It
// refuses to know how a file is moved (transfer.Run and Relay do), what a failure
// means (package policy does) and how it is told to the person.
//
//	expand.go walk.go   arguments and trees → entries, in order
//	filter.go           which of them are wanted
//	links.go ordered.go connections, and the work that is spread over them
//	plan.go sync.go     what makes a directory like another
//	overlap.go          source and target must not be one
//	ready.go move.go    what is complete, and how it is delivered exactly once
//	once.go             copies that are not delivered twice
//	remove.go           trees that are deleted
//	schedule.go window.go watch.go   when something is to be done
//	hook.go manifest.go who is told, and what became of a list
//
// Memory does not grow with a tree: it holds the listings of the directories on
// the way down, 56 bytes and the name for each entry, and a few thousand results
// that wait to be told in order.
package batch
