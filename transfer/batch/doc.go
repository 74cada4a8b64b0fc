// Package batch turns what a person names (files, directories, patterns) into
// single transfers, one after the other.
//
// It owns trees and globs on both sides. It refuses to know how a file is moved
// (transfer.Run does), what a failure means (package policy does) and how it is
// told to the person.
package batch
