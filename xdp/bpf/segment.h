/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What the kernel program and user space share: the key of a flow, its
 * counters, and the segment that takes a frame's place. The Go side is
 * flowtable/segment; a test compares both field by field through BTF.
 */
#ifndef FINWAIT_SEGMENT_H
#define FINWAIT_SEGMENT_H

#include <linux/types.h>

/* TCP flag bits as they stand in the header (RFC 9293 section 3.1). */
enum tcp_flag {
	TCP_FIN = 1 << 0,
	TCP_SYN = 1 << 1,
	TCP_RST = 1 << 2,
	TCP_ACK = 1 << 4,
};

/* How a segment stands to its flow's entry. */
enum segment_mark {
	SEGMENT_COUNTED = 1 << 0,
	SEGMENT_HAS_ENTRY = 1 << 1,
	SEGMENT_OPENED = 1 << 2,
	SEGMENT_FINAL = 1 << 3,
	SEGMENT_NO_ROOM = 1 << 4,
	SEGMENT_PER_INTERFACE = 1 << 5,
	SEGMENT_OWNED = 1 << 6,
	SEGMENT_RAISED = 1 << 7,
};

enum direction_mark {
	DIRECTION_STARTED = 1 << 0,
	DIRECTION_ACKED = 1 << 1,
	DIRECTION_FINISHED = 1 << 2,
	DIRECTION_AWAITED = 1 << 3,
};

/* Layers stripped before the connection's IP header; an identifier from LAYER_ERSPAN on. */
enum layer {
	LAYER_NONE,
	LAYER_VLAN,
	LAYER_QINQ,
	LAYER_PPPOE,
	LAYER_MPLS,
	LAYER_IPIP,
	LAYER_GRE,
	LAYER_ERSPAN_TYPE_I,
	LAYER_ERSPAN,
	LAYER_VXLAN,
	LAYER_GENEVE,
	LAYER_GTPU,
};

#define MAX_LAYERS 4

/* What was stripped, outermost first. */
struct encapsulation {
	__u8 layers[MAX_LAYERS]; /* enum layer */
	__u32 identifier;	 /* of the outermost layer that has one */
};

/* What a stack of VLAN tags says. */
struct tags {
	__u16 outermost;
	enum layer layer;
};

/* An IPv6 address in network order; IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2). */
union address {
	__u8 octets[16];
	__be32 word[4];
	__be64 half[2];
};

/*
 * A flow's tuple, the lower (address, port) pair first. The scope is user space's:
 * a flow table of the kernel is of one scope.
 */
struct key {
	union address low;
	union address high;
	__u16 low_port; /* host order */
	__u16 high_port;
	__u32 scope;
};

/*
 * What was counted in one direction. One receive queue writes it, except for
 * awaited and its mark, which the FIN of the other direction sets from
 * wherever it arrives; hence marks change by atomic operations only.
 */
struct direction {
	__u64 packets;
	__u64 octets;
	__u64 payload;
	__s64 first_at; /* ns, CLOCK_MONOTONIC */
	__s64 last_at;
	__u32 base;
	__u32 high;
	__u32 max_ack;
	__u32 first_ack;
	__u32 awaited;
	__u8 tcp_flags;
	__u8 marks;
	__u8 unused[2];
};

/* One entry of the flow table: the direction from low to high first. */
struct counters {
	struct direction direction[2];
};

struct segment {
	__s64 at; /* ns, CLOCK_MONOTONIC */
	union address src;
	union address dst;
	__u16 src_port; /* host order, as all numbers below */
	__u16 dst_port;
	__u32 seq;
	__u32 ack;
	__u32 octets;
	__u32 payload;
	__u32 wire_length;
	__u32 interface;
	__u16 vlan;
	__u8 tcp_flags;
	__u8 marks;
	struct encapsulation encapsulation;
	struct direction own;
	struct direction other;
};

#define SEGMENT_SIZE 208

/* With what is told of a segment's sender, where SEGMENT_OWNED says so. */
struct owned_segment {
	struct segment segment;
	__u64 owner; /* the socket's control group (cgroup v2) */
};

#define OWNED_SEGMENT_SIZE 216

_Static_assert(sizeof(struct key) == 40, "struct key is 40 octets");
_Static_assert(sizeof(struct direction) == 64, "struct direction is 64 octets");
_Static_assert(sizeof(struct segment) == SEGMENT_SIZE, "struct segment is 208 octets");
_Static_assert(sizeof(struct owned_segment) == OWNED_SEGMENT_SIZE,
	       "struct owned_segment is 216 octets");

#endif
