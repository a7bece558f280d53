/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a segment leaves a gateway's traffic without touching it: a clone of the packet
 * goes to a veth pair of finwait's own, and on its way out there becomes the struct
 * segment that the program has written beside it.
 */
#ifndef FINWAIT_CLONE_H
#define FINWAIT_CLONE_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "ledger.h"
#include "parse.h"
#include "segment.h"
#include "standing.h"

/* The interface's number among those of the gateway, from 1. */
const volatile __u32 interface_number = 0;

/* The index of the near end of the veth pair, and where a hook's clones go to get there. */
const volatile __u32 near_end = 0;
const volatile __u32 first_step = 0;

/* The pair's queues, and what a flow's hash is mixed with to find one. */
const volatile __u32 queues = 1;
const volatile __u64 queue_secret = 0;

/*
 * How many clones a window of time may have. Those of segments without an entry in the
 * flow table, which is what a flood of SYNs makes, take from a reserve besides: it gains
 * so much with every window, and more where connections are really opened, and holds so
 * many windows' worth.
 */
#define WINDOW_SHIFT	26 /* 2^26 ns are 67 ms */
#define RESERVE_WINDOWS 16
#define OPENING_GAIN	4 /* a connection's SYN and SYN-ACK, and as much for growth */

const volatile __u64 clones_per_window = 0;
const volatile __u64 openings_per_window = 0;

/*
 * What the clone under way is to become. bpf_clone_redirect runs the program at the
 * near end before it returns, on the same CPU and with nothing between: so this needs
 * no mark in the packet, and no clone can be taken for another.
 */
struct parcel {
	struct segment segment;
	__u32 queue;
	__u32 ready;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct parcel);
} parcels SEC(".maps");

/* The present window, for all CPUs and interfaces. */
struct budget {
	__u64 window;
	__u64 clones;
	__u64 opened;  /* entries made */
	__s64 reserve; /* for segments without an entry */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct budget);
} budgets SEC(".maps");

/* What became of clones, per CPU. */
struct passage {
	__u64 described;     /* by the program at the near end */
	__u64 cut_errors;    /* not described: no memory, or headers that cannot be cut */
	__u64 foreign;	     /* dropped: what others sent to the near end */
	__u64 arrived;	     /* at the far end */
	__u64 no_socket;     /* of these, the queue had none */
	__u64 describe_error; /* of these, no struct segment */
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct passage);
} passages SEC(".maps");

/*
 * Begins the window of a time. Two CPUs that do it at once may both gain what one
 * should: the limit is then missed by as much.
 */
static __always_inline void turn_window(struct budget *b, __u64 window)
{
	__u64 passed = window - b->window;
	__s64 most = RESERVE_WINDOWS * openings_per_window;
	__s64 reserve = b->reserve;

	if (!passed)
		return;
	if (passed > RESERVE_WINDOWS)
		passed = RESERVE_WINDOWS;
	if (reserve < 0)
		reserve = 0;
	reserve += passed * openings_per_window + b->opened * OPENING_GAIN;
	b->window = window;
	b->clones = 0;
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
	return __sync_fetch_and_add(&b->clones, 1) >= clones_per_window;
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

/* The same for both directions of a flow. Odd numbers of random bits. */
static __always_inline __u32 queue_of(const struct packet *p)
{
	__u64 h = (p->src.half[0] ^ p->dst.half[0]) * 0xd6e8feb86659fd93;

	h ^= (p->src.half[1] + p->dst.half[1]) ^ queue_secret;
	h = (h ^ (__u64)(p->src_port ^ p->dst_port) << 32) * 0x9e3779b97f4a7c15;
	return (h >> 32) * queues >> 32;
}

/* Returns how the frame ended. Its own octets are the same afterwards, and all its marks. */
static __always_inline enum end clone(struct __sk_buff *ctx, const struct packet *p,
				      const struct standing *t)
{
	struct parcel *parcel;
	__u32 zero = 0;

	if (is_held_back(t))
		return END_HELD_BACK;
	parcel = bpf_map_lookup_elem(&parcels, &zero);
	if (!parcel)
		return END_CLONE_ERROR;
	fill(&parcel->segment, p, t);
	parcel->segment.marks |= SEGMENT_PER_INTERFACE;
	parcel->segment.interface = interface_number;
	parcel->queue = queue_of(p);
	parcel->ready = 1;
	bpf_clone_redirect(ctx, first_step, 0);
	if (!parcel->ready)
		return END_PASSED;
	/* It never came there: no memory, or the pair is gone. */
	parcel->ready = 0;
	return END_CLONE_ERROR;
}

#endif
