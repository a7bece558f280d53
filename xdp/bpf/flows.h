/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table, and what one segment does to the counters of its flow.
 */
#ifndef FINWAIT_FLOWS_H
#define FINWAIT_FLOWS_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "parse.h"
#include "segment.h"

/*
 * Preallocated, so that a full table refuses new flows and the established
 * ones stay exact. The loader sets the number of entries.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct key);
	__type(value, struct counters);
} flows SEC(".maps");

static __always_inline int is_lower(const union address *a, __u16 a_port, const union address *b,
				    __u16 b_port)
{
	if (a->half[0] != b->half[0])
		return bpf_be64_to_cpu(a->half[0]) < bpf_be64_to_cpu(b->half[0]);
	if (a->half[1] != b->half[1])
		return bpf_be64_to_cpu(a->half[1]) < bpf_be64_to_cpu(b->half[1]);
	return a_port <= b_port;
}

/* Returns 0 where the sender is the key's low end, else 1. */
static __always_inline __u32 key_of(const struct packet *p, struct key *key)
{
	key->unused = 0;
	if (is_lower(&p->src, p->src_port, &p->dst, p->dst_port)) {
		key->low = p->src;
		key->high = p->dst;
		key->low_port = p->src_port;
		key->high_port = p->dst_port;
		return 0;
	}
	key->low = p->dst;
	key->high = p->src;
	key->low_port = p->dst_port;
	key->high_port = p->src_port;
	return 1;
}

/* Serial number arithmetic modulo 2^32 (RFC 9293 section 3.4). */
static __always_inline int covers(__u32 ack, __u32 end)
{
	return (__s32)(ack - end) >= 0;
}

/* Set where both directions of a flow may be counted on two CPUs at once. */
const volatile __u8 crossing = 0;

static __always_inline __u32 *mark_word(struct direction *d)
{
	return (__u32 *)&d->tcp_flags;
}

/* marks is the second octet of a little-endian word that begins with tcp_flags. */
static __always_inline void set_mark(struct direction *d, enum direction_mark mark)
{
	__sync_fetch_and_or(mark_word(d), (__u32)mark << 8);
}

static __always_inline void clear_mark(struct direction *d, enum direction_mark mark)
{
	__sync_fetch_and_and(mark_word(d), ~((__u32)mark << 8));
}

static __always_inline void advance(struct direction *own, const struct packet *p)
{
	__u32 syn = p->tcp_flags & TCP_SYN ? 1 : 0;
	__u32 end = p->seq + p->payload + syn;

	if (!(own->marks & DIRECTION_STARTED)) {
		own->base = p->seq + syn;
		own->high = end;
		own->payload += p->payload;
		set_mark(own, DIRECTION_STARTED);
	} else if (!(own->marks & DIRECTION_FINISHED) && (__s32)(end - own->high) > 0) {
		own->payload += end - own->high;
		own->high = end;
	}
}

/*
 * Returns whether the segment is the one that acknowledges the other direction's
 * FIN. Where that direction may be counted by another CPU at this moment, max_ack
 * must be visible before the mark is read, as in finish() the mark before max_ack:
 * so at least one of the two sees the other. The atomic addition of nothing is the
 * full barrier.
 */
static __always_inline int acknowledge(struct direction *own, const struct packet *p)
{
	int moved = 1;

	if (!(own->marks & DIRECTION_ACKED)) {
		own->max_ack = p->ack;
		set_mark(own, DIRECTION_ACKED);
	} else if ((__s32)(p->ack - own->max_ack) > 0) {
		own->max_ack = p->ack;
	} else {
		moved = 0;
	}
	if (crossing && moved)
		__sync_fetch_and_add(mark_word(own), 0);
	if (!(*(volatile __u8 *)&own->marks & DIRECTION_AWAITED) || !covers(p->ack, own->awaited))
		return 0;
	clear_mark(own, DIRECTION_AWAITED);
	return 1;
}

/*
 * The other direction now owes an acknowledgement, unless that overtook the FIN
 * on another queue. One that is counted at this moment finds the mark, or is found
 * by whoever describes the FIN.
 */
static __always_inline void finish(struct direction *own, struct direction *other,
				   const struct packet *p)
{
	__u32 end = p->seq + p->payload + 1;

	set_mark(own, DIRECTION_FINISHED);
	if ((other->marks & DIRECTION_ACKED) && covers(other->max_ack, end)) {
		clear_mark(other, DIRECTION_AWAITED);
		other->awaited = end;
		return;
	}
	other->awaited = end;
	if (crossing)
		__sync_fetch_and_add(mark_word(other), 0);
	set_mark(other, DIRECTION_AWAITED);
	if (crossing)
		__sync_fetch_and_add(mark_word(other), 0);
}

/*
 * Adds the segment to its direction, all but the times. Returns whether it is
 * the awaited acknowledgement of a FIN; that of a RST does not count.
 */
static __always_inline int count(struct direction *own, struct direction *other,
				 const struct packet *p)
{
	int answered = 0;

	if (!own->packets)
		own->first_ack = p->ack;
	own->packets++;
	own->octets += p->octets;
	own->tcp_flags |= p->tcp_flags;
	if (p->tcp_flags & TCP_RST)
		return 0;
	advance(own, p);
	if (p->tcp_flags & TCP_ACK)
		answered = acknowledge(own, p);
	if (p->tcp_flags & TCP_FIN)
		finish(own, other, p);
	return answered;
}

/*
 * When a segment that is likely to end in the kernel was seen. It is to the tick,
 * but where one that acknowledges something new may have overtaken a FIN on another
 * queue: then this is the only record of that wave's time.
 */
static __always_inline __s64 time_of(const struct direction *own, const struct packet *p)
{
	if (crossing && (p->tcp_flags & TCP_ACK) &&
	    (!(own->marks & DIRECTION_ACKED) || (__s32)(p->ack - own->max_ack) > 0))
		return bpf_ktime_get_ns();
	return bpf_ktime_get_coarse_ns();
}

/* The coarse clock lags by up to a tick: a time once noted is not taken back. */
static __always_inline void touch(struct direction *own, __s64 now)
{
	if (!own->first_at)
		own->first_at = now;
	if (now > own->last_at)
		own->last_at = now;
}

/* Tells whether both sides have closed, and owe no acknowledgement. */
static __always_inline int is_closed(const struct counters *flow)
{
	const struct direction *a = &flow->direction[0], *b = &flow->direction[1];

	return (a->marks & b->marks & DIRECTION_FINISHED) &&
	       !((a->marks | b->marks) & DIRECTION_AWAITED);
}

/* Tells whether all that an entry counted began before a time. */
static __always_inline int is_older(const struct counters *flow, __s64 time)
{
	__s64 a = flow->direction[0].first_at, b = flow->direction[1].first_at;

	return (a || b) && a < time && b < time;
}

/* Makes an entry; NULL where the table has no room. */
static __always_inline struct counters *open_flow(const struct key *key)
{
	struct counters zero = {};

	/* A failure with EEXIST means that the other direction was faster. */
	bpf_map_update_elem(&flows, key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&flows, key);
}

#endif
