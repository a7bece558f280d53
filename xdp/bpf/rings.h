/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a segment leaves a gateway's traffic without touching it: it is written into a
 * ring buffer of the kernel that user space has mapped (kernel/bpf/ringbuf.c). The reader
 * comes by itself: nobody is woken for a segment, which would cost more than the rest.
 */
#ifndef FINWAIT_RINGS_H
#define FINWAIT_RINGS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "ledger.h"
#include "owner.h"
#include "parse.h"
#include "segment.h"
#include "standing.h"

/* The interface's number among those of the gateway, from 1. */
const volatile __u32 interface_number = 0;

/* How many rings there are, and what a flow's hash is mixed with to find one. */
const volatile __u32 queues = 1;
const volatile __u64 queue_secret = 0;

/* The loader sets the size, in octets. */
struct ring {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1);
};

/* By queue. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct ring);
} rings SEC(".maps");

/* The same for both directions of a flow. Odd numbers of random bits. */
static __always_inline __u32 queue_of(const struct packet *p)
{
	__u64 h = (p->src.half[0] ^ p->dst.half[0]) * 0xd6e8feb86659fd93;

	h ^= (p->src.half[1] + p->dst.half[1]) ^ queue_secret;
	h = (h ^ (__u64)(p->src_port ^ p->dst_port) << 32) * 0x9e3779b97f4a7c15;
	return (h >> 32) * queues >> 32;
}

/* Writes a segment into its flow's ring, and returns how the frame ended. */
static __always_inline enum end write_segment(struct __sk_buff *ctx, const struct packet *p,
					      const struct standing *t)
{
	__u32 queue = queues > 1 ? queue_of(p) : 0;
	struct segment *s;
	void *ring;

	ring = bpf_map_lookup_elem(&rings, &queue);
	if (!ring)
		return END_RING_FULL;
	s = bpf_ringbuf_reserve(ring, owners ? OWNED_SEGMENT_SIZE : SEGMENT_SIZE, 0);
	if (!s)
		return END_RING_FULL;
	fill(s, p, t);
	s->marks |= SEGMENT_PER_INTERFACE;
	s->interface = interface_number;
	if (owners)
		own(ctx, (struct owned_segment *)s);
	bpf_ringbuf_submit(s, BPF_RB_NO_WAKEUP);
	return END_PASSED;
}

#endif
