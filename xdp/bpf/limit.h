/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How many segments a gateway passes to user space: what a flood of SYNs costs is
 * bounded by it.
 */
#ifndef FINWAIT_LIMIT_H
#define FINWAIT_LIMIT_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "ledger.h"
#include "parse.h"
#include "segment.h"
#include "standing.h"

/*
 * How many segments may be passed in a window of time. Those without an entry in the
 * flow table, which is what a flood of SYNs makes, take from a reserve besides: it gains
 * so much with every window, and more where connections are really opened, and holds so
 * many windows' worth.
 */
#define WINDOW_SHIFT	26 /* 2^26 ns are 67 ms */
#define RESERVE_WINDOWS 16
#define OPENING_GAIN	4 /* a connection's SYN and SYN-ACK, and as much for growth */

const volatile __u64 segments_per_window = 0;
const volatile __u64 openings_per_window = 0;

/* The present window, for all CPUs and interfaces. */
struct budget {
	__u64 window;
	__u64 segments;
	__u64 opened;  /* entries made */
	__s64 reserve; /* for segments without an entry */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct budget);
} budgets SEC(".maps");

/*
 * Begins the window of a time. Two CPUs that do it at once may both gain what one
 * should: the limit is then missed by as much.
 */
static __always_inline void turn_window(struct budget *b, __u64 window)
{
	__s64 passed = window - b->window;
	__s64 most = RESERVE_WINDOWS * openings_per_window;
	__s64 reserve = b->reserve;

	if (passed <= 0) /* below 0 where another CPU was faster */
		return;
	if (passed > RESERVE_WINDOWS)
		passed = RESERVE_WINDOWS;
	if (reserve < 0)
		reserve = 0;
	reserve += passed * openings_per_window + b->opened * OPENING_GAIN;
	b->window = window;
	b->segments = 0;
	b->opened = 0;
	b->reserve = reserve < most ? reserve : most;
}

/* Tells whether the limit is reached. */
static __always_inline int is_held_back(const struct standing *t)
{
	struct budget *b;
	__u32 zero = 0;

	b = bpf_map_lookup_elem(&budgets, &zero);
	if (!b)
		return 1;
	turn_window(b, t->now >> WINDOW_SHIFT);
	if (t->marks & SEGMENT_OPENED)
		__sync_fetch_and_add(&b->opened, 1);
	if (!(t->marks & SEGMENT_COUNTED) &&
	    (b->reserve <= 0 || __sync_fetch_and_add(&b->reserve, -1) <= 0))
		return 1;
	return __sync_fetch_and_add(&b->segments, 1) >= segments_per_window;
}

/*
 * Counts a SYN at once that would be held back, so that a flood of them costs no look-up
 * in the flow table. An entry that it would have ended goes on then. Returns 0 where it
 * is none, or would not be held back.
 */
static __always_inline int shed(struct ledger *l, const struct frame *f, const struct packet *p)
{
	struct budget *b;
	__u32 zero = 0;

	if ((p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_FIN | TCP_RST)) != TCP_SYN)
		return 0;
	b = bpf_map_lookup_elem(&budgets, &zero);
	if (!b || b->reserve > 0 || b->window != (__u64)tick(l) >> WINDOW_SHIFT)
		return 0;
	l->octets += f->length;
	l->ends[END_HELD_BACK]++;
	return 1;
}

#endif
