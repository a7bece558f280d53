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

/* The index of the near end of the veth pair. */
const volatile __u32 near_end = 0;

/* The pair's queues, and what a flow's hash is mixed with to find one. */
const volatile __u32 queues = 1;
const volatile __u64 queue_secret = 0;

/* How many clones a window of time may have, and how many of segments without an entry. */
#define WINDOW_SHIFT 26 /* 2^26 ns are 67 ms */

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

/* The clones of the present window, of all CPUs and interfaces. */
struct budget {
	__u64 window;
	__u64 clones;
	__u64 openings; /* of segments without an entry, as those of a SYN flood */
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
 * Tells whether the limit is reached. Two CPUs that begin a window at once may both
 * reset it: the limit is then missed by what one of them had counted.
 */
static __always_inline int is_held_back(const struct standing *t)
{
	__u64 window = t->now >> WINDOW_SHIFT;
	struct budget *b;
	__u32 zero = 0;

	b = bpf_map_lookup_elem(&budgets, &zero);
	if (!b)
		return 1;
	if (b->window != window) {
		b->window = window;
		b->clones = 0;
		b->openings = 0;
	}
	if (!(t->marks & SEGMENT_COUNTED) &&
	    __sync_fetch_and_add(&b->openings, 1) >= openings_per_window)
		return 1;
	return __sync_fetch_and_add(&b->clones, 1) >= clones_per_window;
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
	bpf_clone_redirect(ctx, near_end, 0);
	if (!parcel->ready)
		return END_PASSED;
	/* It never came there: no memory, or the pair is gone. */
	parcel->ready = 0;
	return END_CLONE_ERROR;
}

#endif
