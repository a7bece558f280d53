// Package console writes the API's answers for people at a terminal, and for
// the programs behind a pipe.
//
// Terms. A table is what people read: aligned, durations and sizes with units,
// "-" for what is not known. An element is one member of an answer's list, such
// as a flow or a group. As CSV an element is a line whose columns are the names
// of its JSON, those of nested objects joined by a point.
//
// What is written for a terminal of some width leaves out the columns that
// matter least; what goes through a pipe has all of them, always.
package console
