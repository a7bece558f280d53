/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table, and what one segment does to the counters of its flow.
 */
#ifndef FINWAIT_FLOWS_H
#define FINWAIT_FLOWS_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "ledger.h"
#include "parse.h"
#include "segment.h"

/* struct key of a flow over IPv4: a third of the octets to hash and to compare. */
struct ipv4_key {
	__be32 low;
	__be32 high;
	__u16 low_port; /* host order */
	__u16 high_port;
};

/*
 * Preallocated, so that a full table refuses new flows and the established ones stay
 * exact. In the kernel's memory an entry is 192 octets: what the look-up reads is one
 * cache line (struct htab_elem and the key), each direction another. The loader sets
 * the number of entries.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct ipv4_key);
	__type(value, struct counters);
} flows_ipv4 SEC(".maps");

/*
 * All other flows, as many again. The memory of an entry is taken when it is made,
 * lest a machine that sees none reserve it for nothing.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 1);
	__type(key, struct key);
	__type(value, struct counters);
} flows_ipv6 SEC(".maps");

static __always_inline int is_ipv4(const union address *a)
{
	return !a->half[0] && a->word[2] == bpf_htonl(0x0000ffff);
}

/* Returns whether the flow is one of flows_ipv4, and its key there. */
static __always_inline int narrow(const struct key *key, struct ipv4_key *narrow)
{
	narrow->low = key->low.word[3];
	narrow->high = key->high.word[3];
	narrow->low_port = key->low_port;
	narrow->high_port = key->high_port;
	return is_ipv4(&key->low) && is_ipv4(&key->high);
}

/*
 * Keeps the compiler from making one call of two that differ in the map alone: the
 * verifier replaces a call by that of the map's own function, but for a call of one map.
 */
#define OF_ONE_MAP(map) asm volatile("# " #map)

static __always_inline struct counters *find_flow(const struct key *key)
{
	struct counters *flow;
	struct ipv4_key ipv4;

	if (likely(narrow(key, &ipv4))) {
		flow = bpf_map_lookup_elem(&flows_ipv4, &ipv4);
		OF_ONE_MAP(flows_ipv4);
	} else {
		flow = bpf_map_lookup_elem(&flows_ipv6, key);
		OF_ONE_MAP(flows_ipv6);
	}
	return flow;
}

/* Returns 0 where it was there. */
static __always_inline long remove_flow(const struct key *key)
{
	struct ipv4_key ipv4;

	if (narrow(key, &ipv4))
		return bpf_map_delete_elem(&flows_ipv4, &ipv4);
	return bpf_map_delete_elem(&flows_ipv6, key);
}

/* What an entry begins with; here, since the stack is short. */
const struct counters fresh_counters = {};

/* Makes an entry; NULL where the table has no room. */
static __always_inline struct counters *open_flow(const struct key *key)
{
	struct ipv4_key ipv4;

	/* A failure with EEXIST means that the other direction was faster. */
	if (narrow(key, &ipv4)) {
		bpf_map_update_elem(&flows_ipv4, &ipv4, &fresh_counters, BPF_NOEXIST);
		OF_ONE_MAP(flows_ipv4);
	} else {
		bpf_map_update_elem(&flows_ipv6, key, &fresh_counters, BPF_NOEXIST);
		OF_ONE_MAP(flows_ipv6);
	}
	return find_flow(key);
}

static __always_inline int is_lower(const union address *a, __u16 a_port, const union address *b,
				    __u16 b_port)
{
	if (a->half[0] != b->half[0])
		return bpf_be64_to_cpu(a->half[0]) < bpf_be64_to_cpu(b->half[0]);
	if (a->half[1] != b->half[1])
		return bpf_be64_to_cpu(a->half[1]) < bpf_be64_to_cpu(b->half[1]);
	return a_port <= b_port;
}

/*
 * key_of for the packets of parse_plain_ipv4. Which end is the lower one cannot be
 * guessed, so there is no branch for it: an end is (address, port) as a number of
 * 48 bits.
 */
static __always_inline __u32 ipv4_key_of(const struct packet *p, struct ipv4_key *key)
{
	__u64 own = (__u64)bpf_ntohl(p->src.word[3]) << 16 | p->src_port;
	__u64 other = (__u64)bpf_ntohl(p->dst.word[3]) << 16 | p->dst_port;
	__s64 above = other - own; /* from here on all ones where own > other, or 0 */
	__u64 swap;

	asm volatile("" : "+r"(above)); /* or the compiler makes a branch of it */
	above >>= 63;
	swap = (own ^ other) & above;
	own ^= swap;
	other ^= swap;
	key->low = bpf_htonl(own >> 16);
	key->high = bpf_htonl(other >> 16);
	key->low_port = own;
	key->high_port = other;
	return above & 1;
}

/* Returns 0 where the sender is the key's low end, else 1. */
static __always_inline __u32 key_of(const struct packet *p, struct key *key)
{
	key->scope = 0;
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
		add(&own->payload, p->payload);
		set_mark(own, DIRECTION_STARTED);
	} else if (!(own->marks & DIRECTION_FINISHED)) {
		__u32 gain = move_forward(&own->high, end);

		if (gain)
			add(&own->payload, gain);
	}
}

/*
 * Notes what the segment acknowledges. Where the other direction may be counted by
 * another CPU at this moment, max_ack must be visible before the mark is read, as in
 * finish() the mark before max_ack: so at least one of the two sees the other. The
 * atomic addition of nothing is the full barrier. Returns whether it is more than was
 * acknowledged before.
 */
static __always_inline int acknowledge(struct direction *own, const struct packet *p)
{
	if (!(own->marks & DIRECTION_ACKED)) {
		own->max_ack = p->ack;
		set_mark(own, DIRECTION_ACKED);
	} else if ((__s32)(p->ack - own->max_ack) > 0) {
		own->max_ack = p->ack;
	} else {
		return 0;
	}
	if (crossing)
		__sync_fetch_and_add(mark_word(own), 0);
	return 1;
}

static __always_inline int is_awaited(const struct direction *own)
{
	return *(volatile __u8 *)&own->marks & DIRECTION_AWAITED;
}

/* Returns whether the segment is the one that acknowledges the other direction's FIN. */
static __always_inline int answers(struct direction *own, const struct packet *p)
{
	if (!is_awaited(own) || !covers(p->ack, own->awaited))
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

/* The octets of a packet as segments of the wire, each with the headers of the whole. */
static __always_inline __u64 wire_octets(__u32 octets, __u32 payload, __u32 segments)
{
	return octets + (__u64)(segments - 1) * (octets - payload);
}

/*
 * Adds the segment to its direction, all but the times; a super-packet is as many as it
 * stands for. Returns whether it is the awaited acknowledgement of a FIN; that of a RST
 * does not count. Of a FIN, marks tells whether it acknowledges more than all before it;
 * of plain data that is not known here, since count_data has noted it already.
 */
static __always_inline int count(struct direction *own, struct direction *other,
				 const struct packet *p, __u32 segments, __u8 *marks)
{
	int answered = 0;

	if (!own->packets)
		own->first_ack = p->ack;
	add(&own->packets, segments);
	add(&own->octets, wire_octets(p->octets, p->payload, segments));
	own->tcp_flags |= p->tcp_flags;
	if (p->tcp_flags & TCP_RST)
		return 0;
	advance(own, p);
	if (p->tcp_flags & TCP_ACK) {
		if (acknowledge(own, p) && (p->tcp_flags & TCP_FIN))
			*marks |= SEGMENT_RAISED;
		answered = answers(own, p);
	}
	if (p->tcp_flags & TCP_FIN)
		finish(own, other, p);
	return answered;
}

/*
 * When a segment that is likely to end in the kernel was seen. It is to the tick,
 * but where one that acknowledges something new may have overtaken a FIN on another
 * queue: then this is the only record of that wave's time.
 */
static __always_inline __s64 time_of(struct ledger *l, const struct direction *own,
				     const struct packet *p)
{
	if (crossing && (p->tcp_flags & TCP_ACK) &&
	    (!(own->marks & DIRECTION_ACKED) || (__s32)(p->ack - own->max_ack) > 0))
		return bpf_ktime_get_ns();
	return tick(l);
}

/* The clock of ticks lags: a time once noted is not taken back. */
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

/* How far, in octets, the first answer to a SYN and to what came with it may go. */
#define FIRST_ANSWER 0x100000

/*
 * Tells whether an entry is of the very connection that a SYN begins, whose answers
 * overtook it on another queue: one of them is just making it, or all that it counted is
 * from the other side and began by acknowledging that SYN.
 */
static __always_inline int is_overtaken(const struct counters *flow, __u32 side,
					const struct packet *syn)
{
	const struct direction *own = &flow->direction[side & 1];
	const struct direction *other = &flow->direction[(side & 1) ^ 1];

	return crossing && !(syn->tcp_flags & TCP_ACK) && !own->packets &&
	       (!other->packets || other->first_ack - syn->seq - 1 < FIRST_ANSWER);
}

/* Tells whether all that an entry counted began before a time. */
static __always_inline int is_older(const struct counters *flow, __s64 time)
{
	__s64 a = flow->direction[0].first_at, b = flow->direction[1].first_at;

	return (a || b) && a < time && b < time;
}

#endif
