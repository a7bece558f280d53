// Package query answers questions about connections: which, how many, how long.
//
// Terms. A filter is what must fit; it looks at columns of a history.Block and
// narrows a selection, the numbers of the rows that still fit. A quantity is a
// number that a connection has or has not, such as close_wait: it can be
// bounded, sorted by and added up. A group is the connections that have the
// same values of up to two fields.
//
// Connections that are still followed are put into a block of their own and
// asked the same way.
//
// Ownership. A Filter is read-only once made and may be shared; everything else
// belongs to one question. No function holds a history's block while it waits
// for anything.
package query
