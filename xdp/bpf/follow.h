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
 * Passes a segment that begins a connection. One that has nothing to take along is later
 * than who took it, so its time is read when that is known.
 */
static __always_inline int begin(struct frame_context *ctx, struct ledger *l, const struct packet *p,
				 const struct key *key, const struct counters *flow,
				 struct standing *t)
{
	if (flow && is_overtaken(flow, t->side, p)) {
		t->marks = SEGMENT_HAS_ENTRY;
		t->flow = flow;
	} else if (flow) {
		replace(key, t);
	}
	if (!(t->marks & SEGMENT_FINAL))
		t->now = bpf_ktime_get_ns();
	return pass(ctx, l, p, t);
}

static __always_inline int follow(struct frame_context *ctx, struct ledger *l, const struct packet *p,
				  const struct key *key, struct standing *t)
{
	int control = p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST);
	struct counters *flow = find_flow(key);
	int wanted = control || describe_all;
	struct direction *own;
	int first;

	if (begins(p, flow))
		return begin(ctx, l, p, key, flow, t);
	if (!flow && !(p->tcp_flags & (TCP_SYN | TCP_RST))) {
		flow = open_flow(key);
		t->marks = flow ? SEGMENT_OPENED : SEGMENT_NO_ROOM;
		wanted |= flow && !control_only;
	}
	if (!flow) {
		if (!wanted)
			return finish_frame(l, END_FLOW_TABLE_FULL, FRAME_OVER);
		t->now = bpf_ktime_get_ns();
		return pass(ctx, l, p, t);
	}

	own = &flow->direction[t->side & 1];
	first = !own->first_at;
	/* Before it is counted: a FIN that finds itself acknowledged takes this time. */
	if (!wanted && !first)
		touch(own, time_of(l, own, p));
	if (count(own, &flow->direction[(t->side & 1) ^ 1], p, segments_of(ctx, p->payload),
		  &t->marks))
		wanted |= !control_only;
	if (wanted || first) {
		t->now = bpf_ktime_get_ns();
		touch(own, t->now);
	}
	if (!wanted)
		return finish_frame(l, END_COUNTED, FRAME_OVER);
	t->marks |= SEGMENT_HAS_ENTRY | SEGMENT_COUNTED;
	t->flow = flow;
	return pass(ctx, l, p, t);
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
 * The short way of plain data segments: what nearly all segments are, so that nothing
 * else may stand in the way of them. Returns 0 for any other, which then goes the
 * general way.
 */
static __always_inline int count_plain(struct frame_context *ctx, struct ledger *l,
				       const struct frame *f)
{
	struct packet ipv4 = {}, ipv6 = {};
	struct ipv4_key narrow;
	struct key wide;
	__u32 side;

	if (likely(parse_plain_ipv4(f, &ipv4))) {
		if (!likely(is_data(&ipv4)))
			return shed(l, f, &ipv4);
		side = ipv4_key_of(&ipv4, &narrow);
		return count_data(ctx, l, f, bpf_map_lookup_elem(&flows_ipv4, &narrow), side,
				  &ipv4);
	}
	if (!parse_plain_ipv6(f, &ipv6) || is_ipv4(&ipv6.src))
		return 0;
	if (!is_data(&ipv6))
		return shed(l, f, &ipv6);
	side = key_of(&ipv6, &wide);
	return count_data(ctx, l, f, bpf_map_lookup_elem(&flows_ipv6, &wide), side, &ipv6);
}

/*
 * Counts a segment in its flow, whatever it is, and passes it where it is wanted. It is
 * global to the verifier, as the functions of tunnel.h: what a segment may be does not
 * depend on how its headers were found.
 */
__noinline int count_any(struct frame_context *ctx, struct packet *p, __u32 wire_length)
{
	struct standing standing = {.wire_length = wire_length};
	struct ledger *l;
	struct key key;
	__u32 zero = 0;

	l = bpf_map_lookup_elem(&ledger, &zero);
	if (!p || !l)
		return FRAME_OVER;
	standing.side = key_of(p, &key);
	return follow(ctx, l, p, &key, &standing);
}

/*
 * Reads a frame that was no plain data, as one with plain headers first: what opens and
 * closes connections mostly has these, too. Nothing is kept of what the short way has
 * read, for data would pay for that. p is zero.
 */
static __always_inline enum outcome read_again(struct frame_context *ctx, struct packet *p,
					       __u32 length)
{
	struct tags tags = tags_beside(ctx);
	enum outcome outcome;
	struct frame f;

	open_frame(ctx, &f);
	if (!bare_type(ctx) &&
	    (parse_plain_ipv4(&f, p) || (parse_plain_ipv6(&f, p) && !is_ipv4(&p->src)))) {
		p->vlan = tags.outermost;
		p->encapsulation.layers[0] = tags.layer;
		return OUTCOME_TCP;
	}
	outcome = outcome_of(read_general(ctx, p, length));
	if (outcome == OUTCOME_UNDECODABLE && pull_headers(ctx)) {
		__builtin_memset(p, 0, sizeof(*p));
		outcome = outcome_of(read_general(ctx, p, length));
	}
	return outcome;
}

/* The general way, of whatever is not plain data. */
static __always_inline int count_general(struct frame_context *ctx, struct ledger *l)
{
	__u32 length = length_of(ctx);
	struct packet packet = {};
	enum outcome outcome;

	outcome = read_again(ctx, &packet, length);
	if (outcome == OUTCOME_TCP)
		length = wire_octets(length, packet.payload, segments_of(ctx, packet.payload));
	l->octets += length;
	if (outcome != OUTCOME_TCP)
		return finish_frame(l, (enum end)outcome, FRAME_OVER);
	return count_any(ctx, &packet, length);
}

#endif
