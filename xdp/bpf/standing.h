/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is told of a segment that is passed.
 */
#ifndef FINWAIT_STANDING_H
#define FINWAIT_STANDING_H

#include "parse.h"
#include "segment.h"

/* What is known of the segment beside its headers. */
struct standing {
	const struct counters *flow; /* NULL where it has no entry */
	__u64 now;
	__u32 side; /* of the sender in the flow's key */
	__u32 wire_length;
	__u8 marks;
};

static __always_inline void fill(struct segment *s, const struct packet *p,
				 const struct standing *t)
{
	s->src = p->src;
	s->dst = p->dst;
	s->src_port = p->src_port;
	s->dst_port = p->dst_port;
	s->seq = p->seq;
	s->ack = p->ack;
	s->octets = p->octets;
	s->payload = p->payload;
	s->wire_length = t->wire_length;
	s->vlan = p->vlan;
	s->tcp_flags = p->tcp_flags;
	s->marks = t->marks;
	s->encapsulation = p->encapsulation;
	s->at = t->now;
	if (t->flow) {
		s->own = t->flow->direction[t->side & 1];
		s->other = t->flow->direction[(t->side & 1) ^ 1];
	} else {
		__builtin_memset(&s->own, 0, sizeof(s->own));
		__builtin_memset(&s->other, 0, sizeof(s->other));
	}
}

#endif
