// Package browser drives Chromium for the tests of the page: it opens it, notes
// what the page asks for and complains of, and tells what it shows.
//
// Ownership. A Browser may be used from many goroutines, a Tab by one at a time.
package browser
