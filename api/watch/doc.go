// Package watch is a live view of an appliance for a terminal.
//
// Terms. A snapshot is what the appliance said at one moment; the window is how
// far back its rates and percentiles reach. The view of a snapshot is lines that
// fit the terminal, from 80 columns and 24 lines on; in fewer, what matters
// least is left out.
//
// Ownership. The model belongs to Bubble Tea's event loop. Snapshots are made
// beside it, one at a time, and never changed.
package watch
