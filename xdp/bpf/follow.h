/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What becomes of a segment that is counted by flow: which ones end here, and which
 * are passed to user space. How they get there is the program's.
 */
#ifndef FINWAIT_FOLLOW_H
#define FINWAIT_FOLLOW_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flows.h"
#include "ledger.h"
#include "parse.h"
#include "segment.h"
#include "standing.h"
#include "tunnel.h"

/* Pass SYN, FIN and RST alone. */
const volatile __u8 control_only = 0;

/* Pass every TCP segment. */
const volatile __u8 describe_all = 0;

/* The last counters of an entry that was deleted. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct counters);
} scratch SEC(".maps");

static __always_inline int finish_frame(struct ledger *l, enum end end, int action)
{
	l->ends[end]++;
	return action;
}

/*
 * Counts a segment that is no plain data, and that nobody is to look at any further,
 * and returns whether it did.
 */
static __always_inline int shed(struct ledger *l, const struct frame *f, const struct packet *p);

/* Passes a segment to user space, and returns the program's verdict. */
static __always_inline int pass(struct frame_context *ctx, struct ledger *l,
				const struct packet *p, const struct standing *t);

/*
 * Tells whether a segment begins another connection: a SYN without ACK, and a SYN-ACK on
 * an entry that is over, for it overtook its SYN on another queue.
 */
static __always_inline int begins(const struct packet *p, const struct counters *flow)
{
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return 1;
	return flow && (p->tcp_flags & TCP_SYN) && is_closed(flow);
}

/* What an entry held goes with the segment that begins another connection on its tuple. */
static __always_inline void replace(const struct key *key, struct standing *t)
{
	struct counters *flow, *last;
	__u32 zero = 0;
	int older;

	/* Before the look-up, so that whatever uses the entry again is later. */
	t->now = bpf_ktime_get_ns();
	flow = find_flow(key);
	last = bpf_map_lookup_elem(&scratch, &zero);
	if (!flow || !last)
		return;
	/* Read before it is deleted: a free entry may be another flow's at once. */
	*last = *flow;
	older = is_older(last, t->now);
	/*
	 * A SYN and its SYN-ACK may do this on two CPUs at once. Both take the
	 * counters along, where it is sure that they are still this flow's.
	 */
	if (!remove_flow(key) || older) {
		t->marks = SEGMENT_HAS_ENTRY | SEGMENT_FINAL;
		t->flow = last;
	}
}

/*
 * Takes along what is of a connection before the one that a segment begins. One that has
 * nothing to take along is later than who took it, so its time is read when that is known.
 */
static __always_inline void begin(const struct packet *p, const struct key *key,
				  const struct counters *flow, struct standing *t)
{
	if (flow && is_overtaken(flow, t->side, p)) {
		t->marks = SEGMENT_HAS_ENTRY;
		t->flow = flow;
	} else if (flow) {
		replace(key, t);
	}
	if (!(t->marks & SEGMENT_FINAL))
		t->now = bpf_ktime_get_ns();
}

/*
 * Counts a segment in its flow, of which it may be the first, and returns whether it is
 * to be passed.
 */
static __always_inline int account(struct frame_context *ctx, struct ledger *l,
				   const struct packet *p, const struct key *key,
				   struct counters *flow, struct standing *t)
{
	int wanted = (p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) || describe_all;
	struct direction *own;
	int first = 0;

	if (!flow && !(p->tcp_flags & (TCP_SYN | TCP_RST))) {
		flow = open_flow(key);
		t->marks = flow ? SEGMENT_OPENED : SEGMENT_NO_ROOM;
		wanted |= flow && !control_only;
	}
	if (flow) {
		own = &flow->direction[t->side & 1];
		first = !own->first_at;
		/* Before it is counted: a FIN that finds itself acknowledged takes this time. */
		if (!wanted && !first)
			touch(own, time_of(l, own, p));
		if (count(own, &flow->direction[(t->side & 1) ^ 1], p, segments_of(ctx, p->payload),
			  &t->marks))
			wanted |= !control_only;
		t->marks |= SEGMENT_HAS_ENTRY | SEGMENT_COUNTED;
		t->flow = flow;
	}
	if (wanted || first) {
		t->now = bpf_ktime_get_ns();
		if (flow)
			touch(own, t->now);
	}
	return wanted;
}

/* Tells whether a segment acknowledges and does no more but carry data. */
static __always_inline int is_data(const struct packet *p)
{
	return (p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST | TCP_ACK)) == TCP_ACK;
}

/*
 * Counts a data segment of a flow that goes on. Returns 0 where it is anything else;
 * what was done to the flow by then does no harm a second time.
 */
static __always_inline int count_data(struct frame_context *ctx, struct ledger *l,
				      const struct frame *f, struct counters *flow, __u32 side,
				      const struct packet *p)
{
	struct direction *own;
	__u32 segments;

	if (!likely(flow) || describe_all)
		return 0;
	own = &flow->direction[side & 1];
	if (!likely((own->marks & DIRECTION_STARTED) && (own->marks & DIRECTION_ACKED)))
		return 0;
	touch(own, time_of(l, own, p));
	acknowledge(own, p);
	if (!likely(!is_awaited(own)))
		return 0;
	segments = segments_of(ctx, p->payload);
	add(&own->packets, segments);
	add(&own->octets, wire_octets(p->octets, p->payload, segments));
	own->tcp_flags |= p->tcp_flags;
	advance(own, p);
	l->octets += wire_octets(f->length, p->payload, segments);
	l->ends[END_COUNTED]++;
	return 1;
}

/*
 * Counts a segment in its flow, whatever it is, and passes it where it is wanted: the one
 * place where that is done, for code that few segments need is seldom in the cache. It is
 * global to the verifier, as the functions of tunnel.h: what a segment may be does not
 * depend on how its headers were found.
 */
__noinline int count_any(struct frame_context *ctx, struct packet *p, __u32 wire_length)
{
	struct standing standing = {.wire_length = wire_length};
	struct counters *flow;
	struct ledger *l;
	struct key key;
	__u32 zero = 0;

	l = bpf_map_lookup_elem(&ledger, &zero);
	if (!p || !l)
		return FRAME_OVER;
	standing.side = key_of(p, &key);
	flow = find_flow(&key);
	if (begins(p, flow)) {
		begin(p, &key, flow, &standing);
	} else if (!account(ctx, l, p, &key, flow, &standing)) {
		return finish_frame(l, standing.flow ? END_COUNTED : END_FLOW_TABLE_FULL,
				    FRAME_OVER);
	}
	return pass(ctx, l, p, &standing);
}

/* Reads a frame whose headers are not plain; returns an enum outcome. */
static __always_inline enum outcome read_frame(struct frame_context *ctx, struct packet *p,
					       __u32 length)
{
	enum outcome outcome;

	__builtin_memset(p, 0, sizeof(*p));
	outcome = outcome_of(read_general(ctx, p, length));
	if (outcome == OUTCOME_UNDECODABLE && pull_headers(ctx)) {
		__builtin_memset(p, 0, sizeof(*p));
		outcome = outcome_of(read_general(ctx, p, length));
	}
	return outcome;
}

/* How far count_plain came. */
enum progress {
	PLAIN_COUNTED,
	PLAIN_READ, /* the segment's fields are known */
	NOT_PLAIN,
};

/*
 * Counts plain data at once: that is what nearly all segments are, so that nothing else
 * may stand in the way of them. Of another segment with plain headers it fills p.
 */
static __always_inline enum progress count_plain(struct frame_context *ctx, struct ledger *l,
						 const struct frame *f, struct packet *p)
{
	/* Of their own, so that those of data may live in registers. */
	struct packet ipv4 = {}, ipv6 = {};
	struct ipv4_key narrow;
	struct key wide;
	__u32 side;

	if (likely(parse_plain_ipv4(f, &ipv4))) {
		if (likely(is_data(&ipv4))) {
			side = ipv4_key_of(&ipv4, &narrow);
			if (likely(count_data(ctx, l, f, bpf_map_lookup_elem(&flows_ipv4, &narrow),
					      side, &ipv4)))
				return PLAIN_COUNTED;
		} else if (shed(l, f, &ipv4)) {
			return PLAIN_COUNTED;
		}
		*p = ipv4;
		return PLAIN_READ;
	}
	if (!parse_plain_ipv6(f, &ipv6) || is_ipv4(&ipv6.src))
		return NOT_PLAIN;
	if (is_data(&ipv6)) {
		side = key_of(&ipv6, &wide);
		if (count_data(ctx, l, f, bpf_map_lookup_elem(&flows_ipv6, &wide), side, &ipv6))
			return PLAIN_COUNTED;
	} else if (shed(l, f, &ipv6)) {
		return PLAIN_COUNTED;
	}
	*p = ipv6;
	return PLAIN_READ;
}

/* What becomes of a frame: the whole way of one that arrives. */
static __always_inline int count_frame(struct frame_context *ctx, struct ledger *l)
{
	enum progress progress = NOT_PLAIN;
	enum outcome outcome = OUTCOME_TCP;
	struct packet packet;
	struct frame frame;
	struct tags tags;
	__u32 length;

	open_frame(ctx, &frame);
	if (!bare_type(ctx))
		progress = count_plain(ctx, l, &frame, &packet);
	if (likely(progress == PLAIN_COUNTED))
		return FRAME_OVER;
	length = length_of(ctx);
	if (progress == NOT_PLAIN) {
		outcome = read_frame(ctx, &packet, length);
	} else {
		tags = tags_beside(ctx);
		packet.vlan = tags.outermost;
		packet.encapsulation.layers[0] = tags.layer;
	}
	if (outcome == OUTCOME_TCP)
		length = wire_octets(length, packet.payload, segments_of(ctx, packet.payload));
	l->octets += length;
	if (outcome != OUTCOME_TCP)
		return finish_frame(l, (enum end)outcome, FRAME_OVER);
	return count_any(ctx, &packet, length);
}

#endif
